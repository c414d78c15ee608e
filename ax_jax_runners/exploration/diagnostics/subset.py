"""Subset simulation: the volume of a region far too small to be hit by chance.

The violation is lowered level by level. Each level keeps the best fifth of a population of points,
copies them, and moves the copies at random within the level; the volume is the product of the kept
shares (Au and Beck 2001, Probabilistic Engineering Mechanics 16:263, eq. 9). A level is the best
violation that is *not* kept, which makes the product unbiased for any size of the population
(Brehier et al. 2016, Annals of Applied Probability 26:3559, theorem 3.2), so that independent
repetitions give its mean and an honest standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ax_jax_runners.exploration.diagnostics.counting import CountedViolation

_KEPT = 0.2
_ACCEPTANCE = 0.25
# Copies are moved until they have forgotten a quarter of where they came from, which is looked at
# every so many moves, or as often as this.
_FORGOTTEN, _LOOK, _MOST_MOVES = 0.25, 4, 40
# Steps are as long as the mean one times a power of two within plus or minus this.
_SPREAD = 1.5
_FLAT_LEVELS = 3
# Kinds of steps: in the shape of the covariance, the difference of two points, along some axes.
_SKEWED, _APART, _STRAIGHT = range(3)


@dataclass(frozen=True)
class SubsetRun:
    """What independent repetitions found.

    Attributes:
        log_volumes: natural logarithm of each repetition's volume, minus infinity for one that got
            stuck outside.
        levels: the largest number of levels.
        stuck_at: the lowest violation of each repetition that got stuck, else NaN.
    """

    log_volumes: NDArray[np.float64]
    levels: int
    stuck_at: NDArray[np.float64]


def simulate_subsets(
    violation: CountedViolation, *, particles: int, repetitions: int, rng: np.random.Generator
) -> SubsetRun:
    """Run independent repetitions side by side, all in the same calls of the violation.

    Args:
        violation: the graded violation, at most 0 inside.
        particles: points of each repetition's population.
        repetitions: how many populations.
        rng: source of all random numbers.

    Raises:
        VolumeNotEstimated: the violation's evaluations are used up.
    """
    d = violation.dimension
    x = rng.random((repetitions, particles, d))
    v = violation(x.reshape(-1, d)).reshape(repetitions, particles)
    log_volumes = np.zeros(repetitions)
    stuck_at = np.full(repetitions, np.nan)
    flat = np.zeros(repetitions, dtype=int)
    clouds = [_Cloud.of_box(d), _Cloud.of_box(d)]
    scale = np.full(3, 1.2 / math.sqrt(d))
    running = np.arange(repetitions)
    levels = 0
    while True:
        kept, bound, ends = _next_level(v)
        with np.errstate(divide="ignore"):
            log_volumes[running] += np.log(kept.mean(axis=1))
        flat[running] = np.where(kept.all(axis=1) & ~ends, flat[running] + 1, 0)
        stuck = ~ends & ((flat[running] >= _FLAT_LEVELS) | np.isinf(bound))
        log_volumes[running[stuck]] = -np.inf
        stuck_at[running[stuck]] = v.min(axis=1)[stuck]
        go_on = ~ends & ~stuck
        running = running[go_on]
        if not running.size:
            return SubsetRun(log_volumes=log_volumes, levels=levels, stuck_at=stuck_at)
        levels += 1
        x, v, kept, bound = x[go_on], v[go_on], kept[go_on], bound[go_on]
        for half in (0, 1):
            mine = running % 2 == half
            if mine.any():
                clouds[half] = _Cloud.of_points(x[mine][kept[mine]])
        for r in range(running.size):
            parents = np.resize(rng.permutation(np.flatnonzero(kept[r])), particles)
            x[r], v[r] = x[r, parents], v[r, parents]
        scale = _move(violation, x, v, bound, running % 2, clouds, scale, rng)


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Symmetric steps in the shape of a cloud of points."""

    points: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def of_box(cls, dimension: int) -> _Cloud:
        return cls(np.eye(2, dimension), np.eye(dimension) / math.sqrt(12))

    @classmethod
    def of_points(cls, points: NDArray[np.float64]) -> _Cloud:
        centred = points - points.mean(axis=0)
        covariance = centred.T @ centred / len(points)
        # A cloud of few points is flat; the ridge keeps all directions open.
        spread = np.diag(covariance)
        ridge = 1e-3 * spread + 1e-6 * spread.max() + 1e-30
        factor = np.linalg.cholesky(covariance + np.diag(ridge))
        return cls(points, np.asarray(factor, dtype=np.float64))

    def steps(self, kind: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """One step of each kind asked for, (n, dimension)."""
        d = self.factor.shape[0]
        normal = rng.standard_normal((len(kind), d))
        skewed = kind == _SKEWED
        normal[skewed] = normal[skewed] @ self.factor.T
        apart = kind == _APART
        i, j = rng.integers(len(self.points), size=(2, int(apart.sum())))
        normal[apart] = (self.points[i] - self.points[j]) * math.sqrt(0.5)
        straight = kind == _STRAIGHT
        n = int(straight.sum())
        share = d ** -rng.random((n, 1))
        chosen = rng.random((n, d)) < share
        chosen[np.arange(n), rng.integers(d, size=n)] = True
        width = np.sqrt((self.factor**2).sum(axis=1))
        normal[straight] *= chosen * width / np.sqrt(share)
        return normal


def _next_level(
    v: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Which points (R, N) are kept, the largest violation allowed (R,), and where it is the last.

    Where more than a fifth share the lowest violation, all of these are kept.
    """
    best = np.partition(v, int(_KEPT * v.shape[1]), axis=1)
    bound = np.nextafter(best[:, int(_KEPT * v.shape[1])], -np.inf)
    bound = np.where((v <= bound[:, None]).any(axis=1), bound, v.min(axis=1))
    ends = bound <= 0
    bound = np.where(ends, 0.0, bound)
    return v <= bound[:, None], bound, ends


def _move(
    violation: CountedViolation,
    x: NDArray[np.float64],
    v: NDArray[np.float64],
    bound: NDArray[np.float64],
    half: NDArray[np.int64],
    clouds: list[_Cloud],
    scale: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Move all points within their levels, in place; return the tuned scale of the steps.

    Each half of the repetitions takes its clouds from the other half: steps in the shape of a
    point's own cloud would favour the way that it came, and lower the violation too fast.
    """
    repetitions, particles, d = x.shape
    start = x[:, :64].copy()
    whiten = [np.linalg.inv(p.factor).T for p in clouds]
    for move in range(_MOST_MOVES):
        kind = rng.integers(3, size=(repetitions, particles))
        step = np.empty_like(x)
        for h in (0, 1):
            mine = half == h
            step[mine] = clouds[1 - h].steps(kind[mine].ravel(), rng).reshape(-1, particles, d)
        length = scale[kind][..., None] * 2.0 ** rng.uniform(
            -_SPREAD, _SPREAD, (repetitions, particles, 1)
        )
        y = x + length * step
        straight = kind == _STRAIGHT
        y[straight] = _reflected(y[straight])
        in_box = ((y >= 0.0) & (y <= 1.0)).all(axis=2)
        w = np.full((repetitions, particles), np.inf)
        w[in_box] = violation(y[in_box])
        accepted = w <= bound[:, None]
        x[accepted] = y[accepted]
        v[accepted] = w[accepted]
        rate = np.array([accepted[kind == k].mean() for k in range(3)])
        scale = np.minimum(scale * np.exp(rate - _ACCEPTANCE), 4.0)
        if (move + 1) % _LOOK == 0:
            # The first 64 stand for all: they were copied from parents drawn at random.
            way = x[:, :64] - start
            moved = np.concatenate([way[half == h].reshape(-1, d) @ whiten[1 - h] for h in (0, 1)])
            if (moved**2).mean() >= 2 * _FORGOTTEN:
                break
    return scale


def _reflected(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates folded back into [0, 1] at its ends."""
    folded = np.abs(x) % 2.0
    return np.where(folded > 1.0, 2.0 - folded, folded)
