"""A violation whose evaluations are counted, bounded, and made in few different batch sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.errors import EvaluationError, VolumeNotEstimated

# A compiled violation is compiled anew for each size; the last batch is filled up.
_BATCH_SIZES = (16384, 2048, 256)


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
                f"The {self.limit} evaluations were used up before the region was reached; the "
                f"lowest violation found is {self.lowest:.6g} (inside is at most 0). Give more "
                f"evaluations, or look whether the constraints can be met at all."
            )
        self.spent += n
        values = np.empty(n)
        start = 0
        while start < n:
            size = next((s for s in _BATCH_SIZES if s <= n - start), _BATCH_SIZES[-1])
            batch = rows[start : start + size]
            filled = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
            found = np.asarray(self._violations(filled), dtype=np.float64)
            if found.shape != (size,):
                raise EvaluationError(
                    f"The violation of {size} rows has the shape {found.shape}; return ({size},), "
                    f"one number a row."
                )
            values[start : start + size] = found[: len(batch)]
            start += size
        values[np.isnan(values)] = np.inf
        if n:
            self.lowest = min(self.lowest, float(values.min()))
        return values
