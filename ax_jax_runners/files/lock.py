"""One writer of a folder at a time: a lock file that names the process which holds it."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt, LeaseHeld, LeaseLost
from ax_jax_runners.files.owner import Owner

_ATTEMPTS = 20
_HALF_WRITTEN_FOR = 0.5
# Only a process of the same host can be seen to be dead; of another one there is but its silence.
_SILENT_FOR = 3600.0


@dataclass(frozen=True)
class WriterLock:
    """The right to write to a folder, held by this process until it is released.

    A lock whose owner died on this host is taken over at once; one of another host when it was
    not confirmed for an hour. Whoever lost it so is told at the next `confirm`.

    Attributes:
        path: The lock file.
        owner: This process.
        token: Tells two locks of the same process apart.
    """

    path: Path
    owner: Owner
    token: str

    @classmethod
    def acquire(cls, path: Path) -> WriterLock:
        """Take the lock, from a dead owner too.

        Raises:
            LeaseHeld: Another writer is alive, maybe in this very process.
            ArtifactCorrupt: The lock file is a symbolic link.
            OSError: The folder is missing or cannot be written.
        """
        lock = cls(path, Owner.current(), secrets.token_hex(8))
        for _ in range(_ATTEMPTS):
            if lock._create() and _read(path) == lock._content():
                return lock
            lock._take_away_if_abandoned()
        raise LeaseHeld(f"{path} changes its owner again and again; start one writer only.")

    def confirm(self) -> None:
        """Say that the owner lives, and make sure that it still is the owner.

        Raises:
            LeaseLost: The lock was removed or taken over, or this is a fork of the owner.
        """
        if os.getpid() != self.owner.pid:
            raise LeaseLost(
                f"{self.path.parent} is written by {self.owner}, this is process {os.getpid()}; "
                "open it in the process that writes."
            )
        if _read(self.path) != self._content():
            raise LeaseLost(
                f"{self.path} was removed or taken over by another process; nothing more is "
                "written there. Open the folder again when no other writer is left."
            )
        os.utime(self.path)

    def release(self) -> None:
        """Let the next writer in; does nothing where the lock is not ours any more."""
        if os.getpid() == self.owner.pid and _read(self.path) == self._content():
            self.path.unlink(missing_ok=True)

    def _content(self) -> bytes:
        return json.dumps({**asdict(self.owner), "token": self.token}, sort_keys=True).encode()

    def _create(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(self._content())
        return True

    def _take_away_if_abandoned(self) -> None:
        found = _read(self.path)
        if found is None:
            return
        owner = _owner(found)
        if owner is None:
            # Its writer is between creating and writing, or died there.
            time.sleep(_HALF_WRITTEN_FOR)
            if _read(self.path) != found:
                return
        elif not (owner.is_dead_here() or _is_silent(self.path, owner)):
            raise LeaseHeld(
                f"{self.path.parent} is being written by {owner}; wait for it or stop it. "
                f"If that process is gone, remove {self.path.name} there."
            )
        aside = self.path.with_name(f".partial-{self.path.name}-{self.token}")
        with suppress(FileNotFoundError):
            os.rename(self.path, aside)
        if _read(aside) not in (found, None):
            # Somebody else was quicker: this is a living lock.
            with suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    if path.is_symlink():
        raise ArtifactCorrupt(f"{path} is a symbolic link; remove it.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _owner(content: bytes) -> Owner | None:
    try:
        about: dict[str, Any] = json.loads(content)
        return Owner(
            str(about["host"]), str(about["machine"]), int(about["pid"]), int(about["started"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def _is_silent(path: Path, owner: Owner) -> bool:
    here = Owner.current()
    if (owner.host, owner.machine) == (here.host, here.machine):
        return False
    try:
        return time.time() - path.stat().st_mtime > _SILENT_FOR
    except FileNotFoundError:
        return False
