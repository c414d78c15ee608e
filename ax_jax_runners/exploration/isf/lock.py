"""One process at a time: a lock file that says who holds it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ax_jax_runners.errors import LeaseHeld

_POLLED_EVERY = 0.005

# The system's record locks keep other processes out; threads of this one are told apart here.
_HELD: dict[str, int] = {}
_GUARD = threading.Lock()


@contextmanager
def alone(path: Path, purpose: str, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file at ``path`` while the block runs.

    The lock is the system's, on the open file: it ends with its process, however that ends, and a
    fork does not inherit it. The file stays; it names its last holder.

    Args:
        path: The lock file; its folder must exist.
        purpose: Says in a message what is locked.
        patience: Seconds to wait for another holder.

    Raises:
        LeaseHeld: Another process, or another thread of this one, holds it.
    """
    key = os.path.realpath(path)
    deadline = time.monotonic() + patience
    while (descriptor := _try(key)) is None:
        if time.monotonic() >= deadline:
            raise LeaseHeld(f"{purpose} is in use by {_holder(key)}; wait until it ends.")
        time.sleep(_POLLED_EVERY)
    try:
        yield
    finally:
        with _GUARD:
            del _HELD[key]
            os.close(descriptor)


def _try(key: str) -> int | None:
    import fcntl

    with _GUARD:
        # Closing any descriptor of the file would end this process's lock, so none is opened.
        if _HELD.get(key) == os.getpid():
            return None
        descriptor = os.open(key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _signature(), 0)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        _HELD[key] = os.getpid()
        return descriptor


def _signature() -> bytes:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()


def _holder(key: str) -> str:
    with _GUARD:
        if _HELD.get(key) == os.getpid():
            return "this process"
        try:
            owner = json.loads(Path(key).read_bytes())
            return f"process {int(owner['pid'])} on {owner['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
