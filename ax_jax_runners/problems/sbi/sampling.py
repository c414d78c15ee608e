"""Exact draws in NumPy: rejection in batches, and normals between bounds however far out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ConfigurationError

HOPELESS = 2**25  # proposals after which at least one must have been accepted
BATCHES = 2**10, 2**19  # fewest and most proposals at once


def collect(propose: Callable[[int], np.ndarray], n: int) -> np.ndarray:
    """Gather n accepted rows.

    Args:
        propose: Makes so many proposals and returns the accepted ones among them, (k, d).
        n: Number of rows, first come, first kept.

    Raises:
        ConfigurationError: No proposal is accepted.
    """
    kept: list[np.ndarray] = []
    found = made = 0
    while found < n or not kept:
        expected = made * (n - found) / found if found else max(2 * made, n)
        # A little too many cost less than another round.
        size = int(min(max(1.2 * expected, BATCHES[0]), BATCHES[1]))
        kept.append(propose(size))
        found, made = found + len(kept[-1]), made + size
        if not found and made >= HOPELESS:
            raise ConfigurationError(
                f"None of {made} proposals for a reference posterior was accepted: nothing in the "
                "prior's support explains the observation; check it."
            )
    return np.concatenate(kept)[:n]


def truncated_normal(
    rng: np.random.Generator, mean: ArrayLike, sd: ArrayLike, lower: float, upper: float, n: int
) -> np.ndarray:
    """Draw independent normals between two bounds by their quantile function.

    Args:
        rng: Source of the draws.
        mean: (d,).
        sd: Scalar or (d,).
        lower: Lower bound of all.
        upper: Upper bound of all.
        n: Number of rows.

    Returns:
        (n, d). Quantiles are taken of logarithmic probabilities in the lower tail, so that bounds
        may lie far from the mean.
    """
    from scipy.special import log_ndtr, ndtri_exp

    low, high, side = _lower_side(mean, sd, lower, upper)
    u = rng.random((n, low.size))
    with np.errstate(divide="ignore"):
        mixed = np.logaddexp(log_ndtr(low) + np.log1p(-u), log_ndtr(high) + np.log(u))
    z = side * np.clip(ndtri_exp(mixed), low, high)
    return np.clip(np.asarray(mean) + np.asarray(sd) * z, lower, upper)


def truncated_normal_log_mass(
    mean: ArrayLike, sd: ArrayLike, lower: float, upper: float
) -> np.ndarray:
    """Logarithm of the probability between two bounds, for each of the means (d,)."""
    from scipy.special import log_ndtr

    low, high, _ = _lower_side(mean, sd, lower, upper)
    return log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))


def _lower_side(
    mean: ArrayLike, sd: ArrayLike, lower: float, upper: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised bounds, mirrored where they lie above the mean, and the sign that undoes it."""
    centre = np.atleast_1d(np.asarray(mean, dtype=np.float64))
    scale = np.asarray(sd, dtype=np.float64)
    low, high = (lower - centre) / scale, (upper - centre) / scale
    mirrored = low + high > 0.0
    return (
        np.where(mirrored, -high, low),
        np.where(mirrored, -low, high),
        np.where(mirrored, -1.0, 1.0),
    )
