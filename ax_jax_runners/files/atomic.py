"""Writing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

_PREFIX = ".partial-"
_ABANDONED_AFTER = 24 * 3600.0


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, durably, replacing what was there in one step.

    The bytes go to a temporary name in the same folder, are flushed to the disk, take the final
    name by a rename, and the folder is flushed too. A process killed at any moment leaves at
    most the temporary file, which `remove_leftovers` takes away.

    Args:
        path: The final name. Its folder must exist.
        data: The whole content.

    Raises:
        OSError: The folder is missing, read-only or full. The old content stays as it was.
    """
    with write_in_parts(path.parent, lambda: path.name) as stream:
        stream.write(data)


@contextmanager
def write_in_parts(folder: Path, name: Callable[[], str]) -> Iterator[BufferedRandom]:
    """Yield a stream whose content becomes a file of ``folder`` at the end, as `write_atomically`.

    For files too large for memory, and for names that follow from the content.

    Args:
        folder: Where the file will be; must exist.
        name: Called when everything is written; returns the file's name.

    Yields:
        A temporary file, open for writing and reading.

    Raises:
        OSError: The folder is missing, read-only or full. What had the name stays as it was.
    """
    temporary = folder / f"{_PREFIX}{_host()}-{os.getpid()}-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, folder / name())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(folder)


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files that a killed writer left in ``folder`` or below it.

    A temporary file of a process that still runs on this host is kept, and so is one of another
    host until it is a day old, because a shared folder may have writers elsewhere.

    Returns:
        How many files were removed.
    """
    removed = 0
    # Folders that another process removes meanwhile are passed over.
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if name.startswith(_PREFIX)):
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _is_abandoned(path: Path) -> bool:
    host, _, rest = path.name.removeprefix(_PREFIX).partition("-")
    process = rest.partition("-")[0]
    if host == _host() and process.isdigit():
        return int(process) != os.getpid() and not _is_running(int(process))
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_AFTER
    except FileNotFoundError:
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return "".join(c for c in socket.gethostname() if c.isalnum()) or "host"


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
