"""Levels of the truth among draws: uniform on [0, 1] where truth and draws are of one law."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError

_MOST_BINS, _LEAST_EXPECTED = 20, 10


def levels_of_truth(truth: ArrayLike, drawn: ArrayLike, *, seed: int) -> NDArray[np.float64]:
    """Return the level of each truth among its draws.

    With r of L draws below the truth it is a uniform number between r / (L + 1) and
    (r + 1) / (L + 1): not a multiple of anything, so that tests for continuous laws hold exactly.
    Draws equal to the truth, and NaN on either side, are below it or not at random.

    Args:
        truth: (B,).
        drawn: (B, L).
        seed: Of the random part.

    Returns:
        (B,), within (0, 1).

    Raises:
        ConfigurationError: Arrays that do not fit together.
    """
    values, draws = np.asarray(truth, np.float64), np.asarray(drawn, np.float64)
    if values.ndim != 1 or draws.ndim != 2 or len(values) != len(draws) or 0 in draws.shape:
        raise ConfigurationError(
            f"Truths of the shape {values.shape} with draws of the shape {draws.shape}; give (B,) "
            "and (B, L)."
        )
    below = (draws < values[:, None]).sum(axis=1)
    above = (draws > values[:, None]).sum(axis=1)
    length = draws.shape[1]
    rng = np.random.default_rng(seed)
    rank = below + rng.integers(0, length - below - above, endpoint=True)
    # Never 0 or 1 themselves.
    place = (rng.integers(0, 2**32, len(values)) + 0.5) / 2**32
    return (rank + place) / (length + 1)


def level_counts(levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many levels lie in each of equal bins: 2 to 20, at least 10 in each if possible.

    Args:
        levels: (B,), within [0, 1].
    """
    bins = int(np.clip(len(levels) // _LEAST_EXPECTED, 2, _MOST_BINS))
    return np.histogram(levels, bins, range=(0, 1))[0]


def kolmogorov_smirnov_p_value(levels: NDArray[np.float64]) -> float:
    """Return the p-value of levels (B,) being uniform by their largest distance from the line."""
    from scipy import stats

    return float(stats.kstest(levels, "uniform").pvalue)


def chi_square_p_value(levels: NDArray[np.float64]) -> float:
    """Return the p-value of levels (B,) being uniform by counts in equal bins."""
    from scipy import stats

    return float(stats.chisquare(level_counts(levels)).pvalue)
