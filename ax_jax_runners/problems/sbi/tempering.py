"""Draws from a posterior under a uniform prior on a box, by sequential Monte Carlo.

Particles start uniform; the likelihood's power grows from 0 to 1 in steps that keep half of the
effective sample, after each of which they are resampled and moved by Metropolis steps (Del Moral,
Doucet and Jasra 2006, Journal of the Royal Statistical Society B 68, 411-436).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

FEWEST = 2000  # particles
KEPT = 0.5  # of the effective sample in each step
MOVES = 20  # Metropolis steps at each power
LAST_MOVES = 400
SHORT = 0.2  # second length of the steps, for posteriors that are no ellipses


def sample_tempered(
    log_likelihood: Callable[[np.ndarray], np.ndarray],
    lower: np.ndarray,
    upper: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw from the likelihood on a box.

    Args:
        log_likelihood: (B, d) to (B,), finite in the box.
        lower: Lower corner, (d,).
        upper: Upper corner, (d,).
        n: Number of draws; at least 2000 particles are moved whatever it is.
        rng: Source of the draws.

    Returns:
        (n, d), each of them moved 420 times since it was last copied.
    """
    count = max(n, FEWEST)
    d = lower.size
    u = rng.random((count, d))
    values = log_likelihood(lower + (upper - lower) * u)
    power = 0.0
    while power < 1.0:
        step = _step(values, 1.0 - power)
        power = min(power + step, 1.0)
        weights = np.exp(step * (values - values.max()))
        chosen = _systematic(weights / weights.sum(), rng)
        u, values = u[chosen], values[chosen]
        for move in range(MOVES + (LAST_MOVES if power == 1.0 else 0)):
            length = 2.38 / math.sqrt(d) * (SHORT if move % 2 else 1.0)
            half = rng.permutation(count)
            # Each half is moved by steps with the other half's covariance.
            for moving, other in (np.array_split(half, 2), np.array_split(half, 2)[::-1]):
                factor = np.linalg.cholesky(np.cov(u[other].T) + 1e-14 * np.eye(d))
                proposal = u[moving] + length * rng.standard_normal((moving.size, d)) @ factor.T
                inside = np.all((proposal >= 0.0) & (proposal <= 1.0), axis=1)
                safe = np.where(inside[:, None], proposal, u[moving])
                value = log_likelihood(lower + (upper - lower) * safe)
                log_ratio = power * (value - values[moving])
                accepted = inside & (np.log1p(-rng.random(moving.size)) < log_ratio)
                u[moving[accepted]] = safe[accepted]
                values[moving[accepted]] = value[accepted]
    return lower + (upper - lower) * u[rng.permutation(count)[:n]]


def _step(values: np.ndarray, longest: float) -> float:
    """Step of the power that leaves the wanted effective sample, by bisection."""

    def effective(step: float) -> float:
        weights = np.exp(step * (values - values.max()))
        return float(weights.sum() ** 2 / (weights**2).sum() / values.size)

    if effective(longest) >= KEPT:
        return longest
    low, high = 0.0, longest
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) >= KEPT else (low, middle)
    return low


def _systematic(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of particles, each about as often as its weight says."""
    at = (np.arange(weights.size) + rng.random()) / weights.size
    return np.minimum(np.searchsorted(np.cumsum(weights), at), weights.size - 1)
