"""What the two ends of a worker process say to each other.

Downwards go pickled objects, in memory and to a child of our own only. Upwards goes one line of
plain JSON a report, so nothing that a task made is ever unpickled by the scheduler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True)
class Start:
    """Run these arms of one trial until they are done."""

    job: int
    requests: Sequence[ArmRequest]


@dataclass(frozen=True)
class Stop:
    """End a job after its slice in flight; nothing happens where it is not running."""

    job: int


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
