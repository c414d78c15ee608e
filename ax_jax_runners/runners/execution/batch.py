"""Arms that share one state of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ax_jax_runners.runners.execution.protocol import ArmRequest
from ax_jax_runners.tasks.freezing import take


@dataclass(frozen=True)
class Batch:
    """Unfinished arms that advance in one call of the task.

    Attributes:
        requests: In the order of the state's arm axis.
        state: The task's state after the last slice.
        slices: Slices done of each arm.
        apart: Whether its arms are not to be joined with others: together they failed.
    """

    requests: list[ArmRequest]
    state: Any
    slices: list[int]
    apart: bool = False

    def without(self, is_done: Callable[[ArmRequest], bool]) -> Batch | None:
        """Return the batch without some arms, itself when none goes, None when none stays."""
        rows = [row for row, request in enumerate(self.requests) if not is_done(request)]
        if len(rows) == len(self.requests):
            return self
        if not rows:
            return None
        return replace(
            self,
            requests=[self.requests[row] for row in rows],
            state=take(self.state, rows, arms=len(self.requests)),
            slices=[self.slices[row] for row in rows],
        )


def begun(requests: Sequence[ArmRequest], state: Any) -> Batch:
    """Return a batch before its first slice."""
    return Batch(list(requests), state, [0] * len(requests))


def singles(batch: Batch) -> list[Batch]:
    """Cut a batch into batches of one arm each, which stay apart."""
    arms = len(batch.requests)
    return [
        Batch([request], take(batch.state, [row], arms=arms), [batch.slices[row]], apart=True)
        for row, request in enumerate(batch.requests)
    ]
