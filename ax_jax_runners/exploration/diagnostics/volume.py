"""Volume of the region of the unit box where the violation is at most 0, with a standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.errors import ConfigurationError, VolumeNotEstimated
from ax_jax_runners.exploration.diagnostics.counting import CountedViolation
from ax_jax_runners.exploration.diagnostics.subset import plan_levels, simulate_subsets

_REPETITIONS = 16
_LEAST_EVALUATIONS = 10_000
# Points of the population that finds the way in: for each dimension, where evaluations are few and
# at most; at least; at most.
_FEW_PILOTS, _PILOTS, _LEAST_PILOTS, _MOST_PILOTS = 25, 100, 250, 4000
_LEAST_HITS = 5
# Coordinates of all populations together, 80 MB an array.
_MOST_COORDINATES = 10_000_000


@dataclass(frozen=True)
class VolumeEstimate:
    """Share of the unit box that is inside.

    Attributes:
        volume: the estimate; 0 where it is below what float64 can hold, see ``log_volume``.
        standard_error: of the volume.
        log_volume: natural logarithm of the volume.
        relative_error: standard error / volume.
        evaluations: rows that were evaluated.
        method: how it was found.
        levels: levels of the subset simulation; 0 for Monte Carlo.
    """

    volume: float
    standard_error: float
    log_volume: float
    relative_error: float
    evaluations: int
    method: Literal["monte carlo", "subset simulation"]
    levels: int


def estimate_volume(
    violations: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    dimension: int,
    *,
    evaluations: int,
    seed: int,
    target: float = 0.1,
) -> VolumeEstimate:
    """Estimate the volume of a region, by chance or level by level.

    Points are drawn uniformly while these give the target; below about 1e-4 of the box, or where
    the evaluations do not suffice, subset simulation takes over: a first population finds the way
    in, and 16 independent ones, larger and larger until the target is met or the evaluations are
    used up, go that way. As a measure of their need for a standard error of 10 %: a ball of volume
    1.5e-5 in 10 dimensions takes about 2e5 evaluations, one of 4e-30 in 40 dimensions 4e7, a needle
    of 5e-75 there 3e8.

    Args:
        violations: unit-box coordinates (n, dimension) to graded violations (n,): at most 0 inside,
            and the lower outside the nearer the region is; NaN and infinity are outside. Called
            with 256, 2048 or 16384 rows, the last call filled up by repeating a row.
        dimension: number of coordinates.
        evaluations: how many rows may be evaluated, at least 10,000.
        seed: of all random numbers.
        target: the standard error aimed at, relative to the volume. The estimate's own may be
            larger: where the evaluations did not suffice.

    Raises:
        VolumeNotEstimated: the region was not reached: the evaluations were used up, or the
            violation is flat outside, so that it shows no way in.
        ConfigurationError: an argument out of range.
    """
    if dimension < 1 or evaluations < _LEAST_EVALUATIONS or not 0 < target < 1:
        raise ConfigurationError(
            f"dimension={dimension}, evaluations={evaluations}, target={target}: give at least 1 "
            f"dimension, {_LEAST_EVALUATIONS} evaluations and a target between 0 and 1."
        )
    rng = np.random.default_rng(seed)
    violation = CountedViolation(violations, dimension, evaluations)
    draws = min(evaluations // 10, 20_000)
    hits = _hits(violation, draws, rng)
    wanted = 1 / target**2
    while _LEAST_HITS <= hits < wanted:
        more = math.ceil(1.2 * draws * (wanted / hits)) - draws
        if more > violation.left:
            break
        hits += _hits(violation, more, rng)
        draws += more
    if hits >= wanted:
        return _by_chance(hits, draws)
    return _by_levels(violation, target, rng)


def _hits(violation: CountedViolation, draws: int, rng: np.random.Generator) -> int:
    hits, chunk = 0, 65_536
    for start in range(0, draws, chunk):
        rows = rng.random((min(chunk, draws - start), violation.dimension))
        hits += int((violation(rows) <= 0).sum())
    return hits


def _by_chance(hits: int, draws: int) -> VolumeEstimate:
    share = hits / draws
    # One more miss than seen, so that a region that fills the box is not known without error.
    error = math.sqrt(share * (draws - hits + 1) / draws**2)
    return VolumeEstimate(
        volume=share,
        standard_error=error,
        log_volume=math.log(share),
        relative_error=error / share,
        evaluations=draws,
        method="monte carlo",
        levels=0,
    )


def _by_levels(
    violation: CountedViolation, target: float, rng: np.random.Generator
) -> VolumeEstimate:
    d = violation.dimension
    pilots = int(np.clip(violation.left // 1000, _FEW_PILOTS * d, _PILOTS * d))
    pilots = int(np.clip(pilots, _LEAST_PILOTS, _MOST_PILOTS))
    levels = plan_levels(violation, particles=pilots, rng=rng)
    each = _REPETITIONS * (1 + sum(level.moves for level in levels))
    most = max(_MOST_COORDINATES // (_REPETITIONS * d), 50)
    particles = max(min(pilots // 10, violation.left // each), 1)
    found, relative = np.empty(0), math.inf
    while violation.left >= each * particles:
        run = simulate_subsets(
            violation, levels, particles=particles, repetitions=_REPETITIONS, rng=rng
        )
        found = np.append(found, run)
        relative = _relative_error(found)
        if relative <= target:
            break
        missing = 1.25 * (relative / target) ** 2 * len(found) / _REPETITIONS
        larger = min(int(min(missing, 8) * particles), violation.left // each, most)
        # Smaller populations scatter more; they only told how large these must be.
        if missing > 2.5 and larger >= 2 * particles:
            particles, found = larger, np.empty(0)
    if math.isinf(relative):
        raise VolumeNotEstimated(
            f"The region was found by a first population of {pilots} points, and none of the later "
            f"ones reached it within {violation.spent} of the {violation.limit} evaluations. Give "
            f"more evaluations."
        )
    highest = float(found.max())
    log_volume = highest + math.log(np.exp(found - highest).mean())
    return VolumeEstimate(
        volume=math.exp(log_volume),
        standard_error=math.exp(log_volume) * relative,
        log_volume=log_volume,
        relative_error=relative,
        evaluations=violation.spent,
        method="subset simulation",
        levels=len(levels),
    )


def _relative_error(log_volumes: NDArray[np.float64]) -> float:
    """Standard error of the mean of the volumes, relative to it; infinite where all are 0."""
    highest = log_volumes.max()
    if math.isinf(highest):
        return math.inf
    volumes = np.exp(log_volumes - highest)
    return float(volumes.std(ddof=1) / math.sqrt(len(volumes)) / volumes.mean())
