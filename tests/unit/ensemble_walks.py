"""Differential evolution Markov chains: a sampler that no reference posterior is drawn with."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def evolve(
    log_density: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int, seed: int
) -> np.ndarray:
    """Move walkers (n, d); each half takes its steps from differences within the other half."""
    rng = np.random.default_rng(seed)
    at = start.copy()
    n, d = at.shape
    values = log_density(at)
    halves = np.arange(n // 2), np.arange(n // 2, n)
    lengths = 2.38 / math.sqrt(2 * d) * np.array([1.0, 1.0, 0.5, 0.15])
    for step in range(steps):
        for moving, other in (halves, halves[::-1]):
            first, second = rng.choice(other, (2, moving.size))
            proposal = at[moving] + lengths[step % 4] * (at[first] - at[second])
            proposal += 1e-9 * rng.standard_normal(proposal.shape)
            value = log_density(proposal)
            taken = np.log1p(-rng.random(moving.size)) < value - values[moving]
            at[moving[taken]], values[moving[taken]] = proposal[taken], value[taken]
    return at
