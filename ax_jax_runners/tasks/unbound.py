"""What stands in a stored runner for a task that was not given again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ax_jax_runners.errors import TaskChanged, TaskNotBound


@dataclass(frozen=True)
class UnboundTask:
    """A task known by name only: it can be shown and stored again, but not run.

    Attributes:
        reference: ``module:qualname`` of the simulator or task, or ``problem:<name>``.
        digest: SHA-256 of the computation that the campaign was started with.
        problem: Name and options of a built-in problem, or None.
        reason: A sentence: why the task is not bound, and what to do.
        changed: Whether a task of that reference was given, but computes something else.
    """

    reference: str
    digest: str
    problem: Mapping[str, Any] | None = None
    reason: str = ""
    changed: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """No output is known."""
        return ()

    def error(self) -> TaskNotBound | TaskChanged:
        """Return the error to raise wherever the task would have to run."""
        if self.changed:
            return TaskChanged(self.reason)
        return TaskNotBound(
            self.reason
            or f"The task {self.reference!r} was not given again, so its runner cannot run; "
            "load with registry_bundle(tasks=[the task])."
        )
