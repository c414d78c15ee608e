"""A violation whose evaluations are counted and bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.errors import VolumeNotEstimated
from ax_jax_runners.exploration.diagnostics.batches import call_in_batches


class CountedViolation:
    """The violation of rows of unit-box coordinates, within a number of evaluations.

    Args:
        violations: (n, dimension) to (n,); at most 0 inside, NaN outside.
        dimension: number of coordinates.
        evaluations: how many rows may be evaluated; rows that fill up a batch are not counted.
    """

    def __init__(
        self,
        violations: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        dimension: int,
        evaluations: int,
    ) -> None:
        self._violations = violations
        self.dimension = dimension
        self.limit = evaluations
        self.spent = 0
        self.lowest = np.inf

    @property
    def left(self) -> int:
        """Evaluations that may still be made."""
        return self.limit - self.spent

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate rows (n, dimension); NaN becomes infinity.

        Raises:
            VolumeNotEstimated: the evaluations are used up.
            EvaluationError: the violation does not return one number a row.
        """
        n = len(rows)
        if n > self.left:
            raise VolumeNotEstimated(
                f"The {self.limit} evaluations were used up on the way to the region; the lowest "
                f"violation found is {self.lowest:.6g} (inside is at most 0). Give more "
                f"evaluations, or look whether the constraints can be met at all."
            )
        self.spent += n
        values = call_in_batches(self._violations, rows).astype(np.float64)
        values[np.isnan(values)] = np.inf
        if n:
            self.lowest = min(self.lowest, float(values.min()))
        return values
