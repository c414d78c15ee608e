"""Subset simulation: the volume of a region far too small to be hit by chance.

The violation is lowered level by level. Each level keeps those points of a population that are
below it, copies them, and moves the copies at random within the level; the volume is the product of
the kept shares (Au and Beck 2001, Probabilistic Engineering Mechanics 16:263, eq. 9).

A first population plans all of it: the levels, so that a fifth is kept at each, the shape and the
length of the steps, and how many there are. What it finds is dropped: levels chosen by the same
points that are counted there are on average too low a share, by a few per cent in many dimensions.
With a plan that is given, the mean of the product is exactly the volume, whatever the size of the
population and however badly the moves mix (Del Moral 2004, "Feynman-Kac formulae", section 7.4.2);
independent populations so give a mean without bias and an honest standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.errors import VolumeNotEstimated
from ax_jax_runners.exploration.diagnostics.clouds import KINDS, STRAIGHT, Cloud
from ax_jax_runners.exploration.diagnostics.counting import CountedViolation

_KEPT = 0.2
_ACCEPTANCE = 0.25
# Copies are moved until they have forgotten a quarter of where they came from, which is looked at
# after every round of all kinds of steps, or for as many moves as this.
_FORGOTTEN, _MOST_MOVES = 0.25, 45
# Steps are as long as the mean one times a power of two within plus or minus this.
_SPREAD = 1.5
_FLAT_LEVELS = 3
# Rows that are moved together.
_BLOCK = 16384


@dataclass(frozen=True, eq=False)
class Level:
    """How one level is entered.

    Attributes:
        bound: the largest violation allowed.
        cloud: the shape of the steps within it.
        scales: the length of each kind of steps.
        moves: how many of them are made.
    """

    bound: float
    cloud: Cloud
    scales: NDArray[np.float64]
    moves: int


def plan_levels(
    violation: CountedViolation, *, particles: int, rng: np.random.Generator
) -> tuple[Level, ...]:
    """Find the way into the region with one population; the last bound is 0.

    Args:
        violation: the graded violation, at most 0 inside.
        particles: points of the population.
        rng: source of all random numbers.

    Raises:
        VolumeNotEstimated: the violation's evaluations are used up, or the population got stuck.
    """
    d = violation.dimension
    x = rng.random((particles, d))
    v = violation(x)
    scales = np.full(len(KINDS), 1.2 / math.sqrt(d))
    levels: list[Level] = []
    flat = 0
    while True:
        bound = _next_bound(v)
        kept = v <= bound
        flat = flat + 1 if kept.all() and bound > 0 else 0
        if math.isinf(bound) or flat >= _FLAT_LEVELS:
            raise VolumeNotEstimated(_stuck(float(v.min()), particles, violation.spent))
        cloud = Cloud.of_points(x[kept], rng)
        if bound <= 0:
            # Nothing is moved in the last one.
            return (*levels, Level(0.0, cloud, scales, 0))
        parents = _parents(kept, rng)
        x, v = x[parents], v[parents]
        start, moves = x.copy(), 0
        while moves < _MOST_MOVES:
            level = Level(bound, cloud, scales, moves)
            rates = [_move(violation, x, v, level, kind, rng) for kind in KINDS]
            moves += len(KINDS)
            scales = np.minimum(scales * np.exp(np.array(rates) - _ACCEPTANCE), 4.0)
            if (cloud.whiten(x - start) ** 2).mean() >= 2 * _FORGOTTEN:
                break
        levels.append(Level(bound, Cloud.of_points(x, rng), scales, moves))


def simulate_subsets(
    violation: CountedViolation,
    levels: Sequence[Level],
    *,
    particles: int,
    repetitions: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the logarithms of the volumes (repetitions,) that independent populations find.

    One of which no point reached the next level found a volume of 0, minus infinity.

    Args:
        violation: the graded violation, at most 0 inside.
        levels: the way in.
        particles: points of each population.
        repetitions: how many populations.
        rng: source of all random numbers.

    Raises:
        VolumeNotEstimated: the violation's evaluations are used up.
    """
    x = rng.random((repetitions, particles, violation.dimension))
    v = violation(x.reshape(-1, violation.dimension)).reshape(repetitions, particles)
    log_volumes = np.zeros(repetitions)
    running = np.arange(repetitions)
    for level in levels:
        kept = v <= level.bound
        with np.errstate(divide="ignore"):
            log_volumes[running] += np.log(kept.mean(axis=1))
        alive = kept.any(axis=1)
        running, kept = running[alive], kept[alive]
        parents = np.array([_parents(row, rng) for row in kept], dtype=int).reshape(-1, particles)
        x = np.take_along_axis(x[alive], parents[..., None], axis=1)
        v = np.take_along_axis(v[alive], parents, axis=1)
        rows, values = x.reshape(-1, violation.dimension), v.reshape(-1)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            for move in range(level.moves):
                kind = KINDS[move % len(KINDS)]
                _move(violation, rows[block], values[block], level, kind, rng)
    return log_volumes


def _next_bound(v: NDArray[np.float64]) -> float:
    """Return the largest violation allowed, so that a fifth of them is; at least 0.

    Where more than a fifth share the lowest violation, all of these are.
    """
    best = np.partition(v, int(_KEPT * len(v)))[int(_KEPT * len(v))]
    below = float(np.nextafter(best, -np.inf))
    return max(below if (v <= below).any() else float(v.min()), 0.0)


def _parents(kept: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return whom each of n points is a copy of: those kept, as often as each other but for one."""
    return np.resize(rng.permutation(np.flatnonzero(kept)), len(kept))


def _move(
    violation: CountedViolation,
    x: NDArray[np.float64],
    v: NDArray[np.float64],
    level: Level,
    kind: int,
    rng: np.random.Generator,
) -> float:
    """Move points within a level by one step each, in place; return the share that moved."""
    n = len(x)
    length = level.scales[kind] * 2.0 ** rng.uniform(-_SPREAD, _SPREAD, (n, 1))
    y = x + length.astype(np.float32) * level.cloud.steps(kind, n, rng)
    if kind == STRAIGHT:
        y = _reflected(y)
    in_box = ((y >= 0.0) & (y <= 1.0)).all(axis=1)
    w = np.full(n, np.inf)
    w[in_box] = violation(y[in_box])
    accepted = w <= level.bound
    x[accepted] = y[accepted]
    v[accepted] = w[accepted]
    return float(accepted.mean())


def _reflected(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates folded back into [0, 1] at its ends."""
    folded = np.abs(x) % 2.0
    return np.where(folded > 1.0, 2.0 - folded, folded)


def _stuck(lowest: float, particles: int, spent: int) -> str:
    if math.isinf(lowest):
        return (
            f"The violation is infinite or NaN at every one of {spent} points of the box, so it "
            f"shows no way to the region; look at the features of a few points, or narrow the box "
            f"to where they are finite."
        )
    return (
        f"A population of {particles} points got stuck outside the region: the violation is the "
        f"same for all of them, at the lowest {lowest:.6g} (inside is at most 0; {spent} "
        f"evaluations). Constrain a feature that varies with the parameters there (a rate or an "
        f"interval instead of a count), or look whether the constraints can be met at all."
    )
