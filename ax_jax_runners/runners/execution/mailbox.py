"""Messages between an execution and the process that runs a trial, as small files in one folder.

The process writes what it knows of the trial's arms, the execution reads it and can ask it to stop.
Every file is written atomically and carries a digest of its content; one that is missing, half
written or damaged says nothing. Two processes that run the same trial write the same outcomes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ax_jax_runners.files import write_atomically
from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.protocol import ArmRequest
from ax_jax_runners.runners.outcome import ArmOutcome

_OUTCOMES = "outcomes.json"


@dataclass(frozen=True)
class RunningProcess:
    """Where an attempt runs.

    Attributes:
        host: Name of the machine.
        number: Process identifier there.
    """

    host: str
    number: int

    @classmethod
    def this(cls) -> RunningProcess:
        """Return the process that asks."""
        return cls(socket.gethostname(), os.getpid())

    @property
    def is_on_this_host(self) -> bool:
        """Whether a signal sent from here would reach it."""
        return self.host == socket.gethostname()


@dataclass(frozen=True)
class Mailbox:
    """The messages of one trial.

    Attributes:
        folder: Its own folder. The execution makes it; while it is missing, nobody waits for the
            trial any more.
    """

    folder: Path

    @classmethod
    def of(cls, requests: Sequence[ArmRequest], frozen: FrozenArms, root: Path) -> Mailbox:
        """Return the mailbox of a trial. Equal computations have the same one, in any process."""
        keys = json.dumps([frozen.key(request) for request in requests])
        return cls(root / hashlib.sha256(keys.encode()).hexdigest())

    def open(self) -> None:
        """Make the folder. Outcomes that a former run left stay, if no arm of theirs failed.

        Raises:
            OSError: The folder cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(outcome.status == "failed" for outcome in self.outcomes() or ()):
            # What failed is to be tried again, not to be read again.
            (self.folder / _OUTCOMES).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything. A process that still runs the trial ends after its slice."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_outcomes(self, outcomes: Sequence[ArmOutcome]) -> None:
        """Write what is known of every arm, in the order of the requests.

        Raises:
            OSError: The folder is gone or cannot be written.
        """
        self._write(_OUTCOMES, [outcome.encode() for outcome in outcomes])

    def outcomes(self) -> list[ArmOutcome] | None:
        """Return what was last written of every arm."""
        try:
            return [ArmOutcome.decode(record) for record in self._read(_OUTCOMES) or ()] or None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def change(self) -> Hashable:
        """Return something that differs whenever new outcomes were written; cheap."""
        try:
            status = (self.folder / _OUTCOMES).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def write_start(self, attempt: str) -> None:
        """Say which process runs an attempt.

        Raises:
            OSError: The folder is gone or cannot be written.
        """
        process = RunningProcess.this()
        self._write(f"start-{attempt}.json", {"host": process.host, "number": process.number})

    def start(self, attempt: str) -> RunningProcess | None:
        """Return where an attempt runs or ran; None before it began."""
        record = self._read(f"start-{attempt}.json")
        return None if record is None else RunningProcess(record["host"], record["number"])

    def withdraw_start(self, attempt: str) -> None:
        """Say that an attempt waits again."""
        (self.folder / f"start-{attempt}.json").unlink(missing_ok=True)

    def write_verdict(self, attempt: str, sentence: str) -> None:
        """Say why a process that exceeds a limit ends itself.

        Raises:
            OSError: The folder is gone or cannot be written.
        """
        self._write(f"verdict-{attempt}.json", sentence)

    def verdict(self, attempt: str) -> str | None:
        """Return why an attempt was ended for good, if it was."""
        return self._read(f"verdict-{attempt}.json")

    def ask_to_stop(self, attempt: str) -> None:
        """Ask an attempt to end after its slice."""
        try:
            (self.folder / f"stop-{attempt}").touch()
        except OSError:
            # Without the folder it ends as well.
            return

    def is_stopped(self, attempt: str) -> bool:
        """Whether nobody waits for an attempt any more."""
        return (self.folder / f"stop-{attempt}").exists() or not self.folder.is_dir()

    def _write(self, name: str, content: Any) -> None:
        text = json.dumps(content, allow_nan=False, sort_keys=True)
        sealed = {"content": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        write_atomically(self.folder / name, json.dumps(sealed).encode())

    def _read(self, name: str) -> Any:
        try:
            sealed = json.loads((self.folder / name).read_bytes())
            text = sealed["content"]
            if hashlib.sha256(text.encode()).hexdigest() != sealed["sha256"]:
                return None
            return json.loads(text, parse_constant=_refuse)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")
