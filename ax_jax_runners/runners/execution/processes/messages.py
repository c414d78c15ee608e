"""What the two ends of a worker process say to each other.

Each message is one line of JSON, both ways. Behind the first one downwards follow the bytes of the
task, the only thing that is unpickled; nothing that a task made ever is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest
from ax_jax_runners.runners.outcome import ArmOutcome


@dataclass(frozen=True)
class Setup:
    """The first message: what a worker needs before its first trial.

    Attributes:
        task: The pickled task.
        seed: Root of all keys.
        directory: Folder of arrays and frozen states, absolute; None keeps none.
        jax: Values of JAX's configuration by name.
        parent: Identifier of the process to end with.
    """

    task: bytes
    seed: int
    directory: str | None
    jax: Mapping[str, Any]
    parent: int

    def encode(self) -> bytes:
        """Return one line of JSON, and the task."""
        about = {name: value for name, value in vars(self).items() if name != "task"}
        return _line({**about, "task": len(self.task)}) + self.task

    @classmethod
    def read(cls, stream: BinaryIO) -> Setup:
        """Read what `encode` wrote.

        Raises:
            EOFError: The stream ends before it does.
        """
        about = _read_line(stream)
        size = about.pop("task")
        task = stream.read(size)
        if len(task) < size:
            raise EOFError
        return cls(task=task, **about)


@dataclass(frozen=True)
class Start:
    """Run these arms of one trial until they are done."""

    job: int
    requests: Sequence[ArmRequest]

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return _line({"job": self.job, "requests": [vars(request) for request in self.requests]})


@dataclass(frozen=True)
class Stop:
    """End a job after its slice in flight; nothing happens where it is not running."""

    job: int

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return _line({"job": self.job})


def read_order(stream: BinaryIO) -> Start | Stop:
    """Read the next order.

    Raises:
        EOFError: The stream has ended.
    """
    record = _read_line(stream)
    if "requests" not in record:
        return Stop(record["job"])
    requests = [
        ArmRequest(**{**request, "trial": tuple(request["trial"])})
        for request in record["requests"]
    ]
    return Start(record["job"], requests)


@dataclass(frozen=True)
class Report:
    """What a worker says.

    Attributes:
        about: "ready" (once, before the first trial), "refused" (the task cannot be loaded; the
            process ends), "progress" or "ended" (nothing more comes of the job).
        job: Number of the job; 0 where it is about none.
        arms: What is known, by arm.
        sentence: Why the task was refused.
    """

    about: Literal["ready", "refused", "progress", "ended"]
    job: int = 0
    arms: Mapping[ArmKey, ArmOutcome] | None = None
    sentence: str = ""

    def encode(self) -> bytes:
        """Return one line of JSON."""
        arms = [[*trial, name, o.encode()] for (trial, name), o in (self.arms or {}).items()]
        record = {"about": self.about, "job": self.job, "arms": arms, "sentence": self.sentence}
        return json.dumps(record, allow_nan=False).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Report:
        """Return what `encode` wrote."""
        record = json.loads(line)
        arms = {
            ((experiment, index), name): ArmOutcome.decode(outcome)
            for experiment, index, name, outcome in record["arms"]
        }
        return cls(record["about"], record["job"], arms, record["sentence"])


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, default=_plain).encode() + b"\n"


def _read_line(stream: BinaryIO) -> dict[str, Any]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return json.loads(line)


def _plain(value: Any) -> Any:
    """Return what JSON takes for a mapping that is no dictionary, and for a NumPy scalar."""
    return dict(value) if isinstance(value, Mapping) else value.item()
