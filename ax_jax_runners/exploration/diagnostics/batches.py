"""Functions of rows, called with few different numbers of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.errors import EvaluationError

# A compiled function is compiled anew for each number of rows.
_SIZES = (16384, 2048, 256)


def call_in_batches(
    function: Callable[[NDArray[np.float64]], Any], rows: NDArray[np.float64]
) -> NDArray[Any]:
    """Call a function of rows with 16384, 2048 or 256 of them, the last ones filled up.

    Args:
        function: (m, k) to (m,).
        rows: shape (n, k).

    Returns:
        One value a row, shape (n,); the rows that fill up are repetitions and are dropped.

    Raises:
        EvaluationError: the function does not return one value a row.
    """
    found: list[NDArray[Any]] = []
    start = 0
    while start < len(rows):
        left = len(rows) - start
        size = next((s for s in _SIZES if s <= left), _SIZES[-1])
        batch = rows[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
        values = np.asarray(function(filled))
        if values.shape != (size,):
            raise EvaluationError(
                f"{size} rows gave values of shape {values.shape}; return ({size},), one a row."
            )
        found.append(values[: len(batch)])
        start += size
    return np.concatenate(found) if found else np.empty(0)
