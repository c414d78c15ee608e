"""Outcomes of arms as they stand in a trial's run_metadata: plain, finite, versioned JSON.

Ax writes run_metadata with ``json.dumps`` after the evaluation; a value that it cannot write would
cost the evaluation. So nothing lands there that has not passed this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ax_jax_runners.errors import ResultNotStorable, SchemaTooNew
from ax_jax_runners.runners.reported import finite, finite_only
from ax_jax_runners.runners.sentences import bounded
from ax_jax_runners.tasks import Progress

KEY = "ax_jax"
VERSION = 1
Status = Literal["running", "completed", "failed"]
Point: TypeAlias = tuple[int, float, float | None]

CURVE_POINTS = 1_000
"""Longest curve that is kept; of a longer one every second point goes, but never the last."""


@dataclass(frozen=True)
class ArmOutcome:
    """What is recorded of one arm.

    Attributes:
        status: "running", "completed" or "failed".
        outputs: Mean and standard error (None: not known) by output name; empty when failed.
        step: Slices done.
        artifacts: SHA-256 of the file that holds an array, by the array's name.
        failure: Why it failed, bounded; None otherwise.
        curves: Points (step, mean, standard error or None) of each output in the order of steps;
            empty where an arm was done after its first slice.
        lost: A sentence for every attempt that ended without a result and was repeated.
        is_cut: Whether it was completed, from outside, before its task was done.
        cached: Where the outcome was taken from instead of being computed, in words; else None.
    """

    status: Status
    outputs: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    step: int = 0
    artifacts: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    is_cut: bool = False
    cached: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come."""
        return self.status != "running"

    @classmethod
    def failed(cls, sentence: str, *, step: int = 0) -> ArmOutcome:
        """Return the outcome of an arm that gave no result."""
        return cls("failed", step=step, failure=bounded(sentence))

    @classmethod
    def from_progress(cls, progress: Any, required: tuple[str, ...]) -> ArmOutcome:
        """Return what a task reports, or a failure that says what is wrong with the report.

        Args:
            progress: A `Progress`; anything else is a failure.
            required: Outputs that a finished arm must have.
        """
        if not isinstance(progress, Progress):
            return cls.failed(
                f"The task reported a {type(progress).__name__}; "
                "its progress method must return one Progress for each arm."
            )
        step = 0
        try:
            step = int(progress.step)
            if progress.failure is not None:
                return cls.failed(str(progress.failure), step=step)
            if not progress.done:
                return cls("running", finite_only(progress.outputs), step)
            missing = [name for name in required if name not in progress.outputs]
            if missing:
                return cls.failed(
                    f"The task reported no value of {', '.join(missing)}; "
                    "report every name of its outputs.",
                    step=step,
                )
            return cls("completed", finite(progress.outputs), step)
        except ResultNotStorable as error:
            return cls.failed(str(error), step=step)
        except (TypeError, ValueError, AttributeError) as error:
            return cls.failed(f"The task's report cannot be read: {error}.")

    def after(self, earlier: ArmOutcome) -> ArmOutcome:
        """Return this outcome with the history of what was known before it.

        An arm that is done at once has no curve; every later report is a point of one.
        """
        if not earlier.step and not earlier.curves and self.is_final:
            return replace(self, lost=earlier.lost or self.lost)
        curves = dict(earlier.curves)
        for name, (mean, sem) in self.outputs.items():
            points = curves.get(name, ())
            if not points or points[-1][0] < self.step:
                curves[name] = _thinned((*points, (self.step, mean, sem)))
        return replace(self, curves=curves, lost=earlier.lost or self.lost)

    def completed(self) -> ArmOutcome:
        """Return the outcome of an arm that ends with what it has."""
        return self if self.is_final else replace(self, status="completed", is_cut=True)

    def given_up(self, sentence: str) -> ArmOutcome:
        """Return the outcome of an arm from which nothing more is expected; a final one stays."""
        return self if self.is_final else ArmOutcome.failed(sentence, step=self.step).after(self)

    def or_further(self, reported: ArmOutcome) -> ArmOutcome:
        """Return what is reported, unless it takes back what is known: attempts begin again."""
        if self.is_final or not (reported.is_final or reported.step >= self.step):
            return self
        return reported

    def encode(self) -> dict[str, Any]:
        """Return the outcome as plain finite JSON."""
        record: dict[str, Any] = {
            "status": self.status,
            "outputs": {name: [mean, sem] for name, (mean, sem) in self.outputs.items()},
            "step": self.step,
            "artifacts": dict(self.artifacts),
        }
        if self.failure is not None:
            record["failure"] = self.failure
        if self.curves:
            record["curves"] = {
                name: [list(point) for point in points] for name, points in self.curves.items()
            }
        if self.lost:
            record["lost"] = list(self.lost)
        if self.is_cut:
            record["is_cut"] = True
        if self.cached is not None:
            record["cached"] = self.cached
        return record

    @classmethod
    def decode(cls, record: Mapping[str, Any]) -> ArmOutcome:
        """Return the outcome that `encode` wrote."""
        return cls(
            record["status"],
            {name: (mean, sem) for name, (mean, sem) in record["outputs"].items()},
            record["step"],
            record["artifacts"],
            record.get("failure"),
            {
                name: tuple((step, mean, sem) for step, mean, sem in points)
                for name, points in record.get("curves", {}).items()
            },
            tuple(record.get("lost", ())),
            record.get("is_cut", False),
            record.get("cached"),
        )


def encode_outcomes(outcomes: Mapping[str, ArmOutcome]) -> dict[str, Any]:
    """Return the run_metadata of a trial from the outcomes of its arms by name."""
    arms = {name: outcome.encode() for name, outcome in outcomes.items()}
    return {KEY: {"version": VERSION, "arms": arms}}


def decode_outcomes(run_metadata: Mapping[str, Any]) -> dict[str, ArmOutcome]:
    """Return the outcomes by arm name; those that are absent or damaged are left out.

    Raises:
        SchemaTooNew: The record was written by a newer version, so it must not be overwritten.
    """
    record = run_metadata.get(KEY)
    if not isinstance(record, Mapping):
        return {}
    version = record.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SchemaTooNew(
            f"A trial's run_metadata has the format {version}, this package knows {VERSION}; "
            "upgrade ax_jax_runners."
        )
    outcomes = {}
    arms = record.get("arms")
    for name, encoded in arms.items() if isinstance(arms, Mapping) else ():
        try:
            outcomes[name] = ArmOutcome.decode(encoded)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return outcomes


def _thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    if len(points) <= CURVE_POINTS:
        return points
    return (*points[:-1][::2], points[-1])
