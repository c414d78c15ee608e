"""Walks with a uniform kernel leave the uniform distribution on a region as it is.

Particles begin uniformly inside, walk far, and only the last state of each is looked at: these are
independent, of a distribution that is known exactly. Each walk gives several p-values; together
with all other walks of this file the chance of a false alarm is 1e-4.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.exploration import Constraint, RandomWalk
from ax_jax_runners.problems.regions import (
    AnalyticRegion,
    Ball,
    Banana,
    Box,
    Needle,
    Shell,
    Simplex,
)

LEVEL = 1e-4
KERNELS = ("self_loop", "reflect", "hit_and_run")
DIMENSIONS = (2, 5, 10, 40)
#: Given steps need no case everywhere: their law is that of the tuned ones.
FIXED = {False: (2, 10), True: (5,)}
EDGE = 0.05
_REFERENCE = 100_000


@dataclass(frozen=True)
class Case:
    """One walk of the suite.

    Attributes:
        region: Where it walks.
        kernel: How it proposes.
        adapt: Whether its warm-up learns the region's shape.
        tuned: Whether its step is tuned, or the whole chord; else it is given.
        dtype: Of its coordinates.
    """

    region: AnalyticRegion
    kernel: str
    adapt: bool = False
    tuned: bool = True
    dtype: str = "float64"

    def __str__(self) -> str:
        words = [type(self.region).__name__, str(self.region.dimension), self.kernel]
        words += ["adapt"] * self.adapt + ["tuned" if self.tuned else "fixed", self.dtype]
        return "-".join(words)

    @property
    def isotropic(self) -> bool:
        # The shapes of reflected steps are parallel to the axes; the needle is not.
        return not self.adapt or self.kernel == "reflect"


def all_cases() -> list[Case]:
    cases = [
        Case(kind(dimension), kernel, adapt, tuned)
        for kind in (Box, Ball, Shell, Simplex, Banana, Needle)
        for dimension in DIMENSIONS
        for kernel in KERNELS
        for adapt in (False, True)
        for tuned in ((True, False) if dimension in FIXED[adapt] else (True,))
    ]
    return [case for case in cases if not (isinstance(case.region, Needle) and case.isotropic)]


QUICK = [
    Case(Box(2), "self_loop"),
    Case(Box(10), "reflect", tuned=False, dtype="float32"),
    Case(Box(2), "hit_and_run", tuned=False),
    Case(Simplex(5), "reflect", adapt=True, dtype="float32"),
    Case(Simplex(5), "hit_and_run"),
]
SLOW = [
    *all_cases(),
    *(
        Case(region, kernel, dtype="float32")
        for region in (Simplex(10), Ball(40))
        for kernel in KERNELS
    ),
]
WALKS = len(QUICK) + len(SLOW)


@functools.lru_cache(maxsize=4)
def reference(region: AnalyticRegion) -> np.ndarray:
    return region.sample(20, _REFERENCE)


def whitened(region: AnalyticRegion, x: np.ndarray) -> np.ndarray:
    return np.linalg.solve(np.linalg.cholesky(region.covariance), (x - region.mean).T).T


def projections(region: AnalyticRegion, x: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of points of which the ranks are compared."""
    direction = np.random.default_rng(21).standard_normal(region.dimension)
    return {
        "first coordinate": x[:, 0],
        "second coordinate": x[:, 1],
        "last coordinate": x[:, -1],
        "sum": x.sum(axis=1),
        "smallest": x.min(axis=1),
        "largest": x.max(axis=1),
        "in a random direction": x @ direction,
        "from the centre": np.linalg.norm(x - 0.5, axis=1),
        "from the mean": np.linalg.norm(whitened(region, x), axis=1),
    }


def p_values(region: AnalyticRegion, x: np.ndarray) -> dict[str, float]:
    """How probable points as odd as these are among independent uniform ones, by several tests."""
    count, dimension = x.shape
    exact = reference(region)
    white = whitened(region, x)
    found = {"mean": float(stats.chi2.sf(count * np.sum(white.mean(axis=0) ** 2), dimension))}
    # The mean of squares about the true mean is the variance; the reference tells their spread.
    squares, spread = (x - region.mean) ** 2, ((exact - region.mean) ** 2).std(axis=0)
    score = (squares.mean(axis=0) - np.diag(region.covariance)) / spread * np.sqrt(count)
    found["variances"] = min(1.0, dimension * float(2 * stats.norm.sf(np.abs(score)).min()))
    radius = np.sum(white**2, axis=1)
    spread = np.sum(whitened(region, exact) ** 2, axis=1).std()
    score = (radius.mean() - dimension) / spread * np.sqrt(count)
    found["squared radius"] = float(2 * stats.norm.sf(abs(score)))
    ranked = projections(region, exact)
    for name, values in projections(region, x).items():
        compared: Any = stats.ks_2samp(values, ranked[name], method="asymp")
        found[f"ranks {name}"] = float(compared.pvalue)
    if isinstance(region, Box):
        near = int((np.minimum(x, 1.0 - x) < EDGE).sum())
        found["mass near the faces"] = float(
            stats.binomtest(near, count * dimension, 2 * EDGE).pvalue
        )
    return found


def walk_far(case: Case, *, particles: int, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Where particles begin, uniformly inside, and where they are at last."""
    region = case.region
    # About the best step, and a chord, of a region of that width.
    widths = np.sqrt(np.linalg.eigvalsh(region.covariance))
    step = 2.4 * (widths[-1] if case.kernel == "hit_and_run" else widths[0])
    walk = RandomWalk(
        region.evaluator(case.dtype, chunk=128),
        region.constraints,
        kernel=case.kernel,
        n_iterations=iterations,
        max_step_size=None if case.tuned else float(step),
        adapt=case.adapt,
        thin=iterations,
        seed=5,
    )
    start = region.sample(22, 2 * particles)
    # On the very border rounding may lead outside.
    start = start[walk.region.inside(start)][:particles]
    assert len(start) == particles
    return start, walk.run(start).states[-1]


def check(case: Case, *, particles: int, iterations: int) -> None:
    region = case.region
    start, end = walk_far(case, particles=particles, iterations=iterations)
    assert region.contains(end).mean() > 0.99
    if not isinstance(region, Needle):
        # Twice the variance is the distance between independent points.
        moved = np.sum((end - start) ** 2) / (2 * particles * np.trace(region.covariance))
        assert moved > 0.5, f"{case} hardly moved: {moved:.2f}"
    found = p_values(region, end)
    worst = min(found, key=lambda name: found[name])
    print(f"{case}: {worst}, p = {found[worst]:.2g} of {len(found)}")
    assert found[worst] * len(found) * WALKS > LEVEL, f"{case}: {worst}, p = {found[worst]:.2g}"


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_the_uniform_distribution_stays(case: Case) -> None:
    check(case, particles=2048, iterations=400)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", SLOW, ids=str)
def test_the_uniform_distribution_stays_with_every_kernel_on_every_region(case: Case) -> None:
    dimension = case.region.dimension
    iterations = 3000 if dimension > 10 else 1500
    if isinstance(case.region, Banana) and dimension > 5:
        # Steps that are as short as the tube is thick take long from end to end.
        iterations *= 3 if case.kernel == "hit_and_run" else 10
    elif case.adapt and dimension > 10:
        # A particle's shape tells where it was in its warm-up; that takes long to be forgotten.
        iterations *= 2
    check(case, particles=512 if dimension > 10 else 1024, iterations=iterations)


def test_these_tests_find_a_kernel_that_is_not_uniform() -> None:
    case = Case(Box(2), "redraw", tuned=False)
    _, end = walk_far(case, particles=2048, iterations=400)
    found = p_values(case.region, end)
    assert found["mass near the faces"] * len(found) * WALKS < LEVEL
    assert found["squared radius"] * len(found) * WALKS < LEVEL


@pytest.mark.parametrize(
    ("kernel", "mass", "variance"), [("redraw", 0.0625, 0.07148), ("self_loop", 0.1, 1 / 12)]
)
def test_redrawing_avoids_the_faces_as_much_as_it_must(
    kernel: str, mass: float, variance: float
) -> None:
    # One coordinate and steps of U(0, 0.2): the density falls to half at a face, linearly.
    space = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])
    evaluator = FeatureEvaluator(lambda values: {"x": values["x"]}, space, chunk=256)
    walk = RandomWalk(
        evaluator,
        (Constraint("x", upper=2.0),),
        kernel=kernel,
        n_iterations=4000,
        max_step_size=0.2,
        # Four times as long as the walk remembers.
        thin=80,
        seed=3,
    )
    start = np.random.default_rng(4).random((1024, 1))
    x = walk.run(start).states[5:, :, 0].ravel()
    near = (np.minimum(x, 1.0 - x) < EDGE).mean()
    assert abs(near - mass) < 4 * np.sqrt(mass * (1 - mass) / len(x))
    squares = (x - 0.5) ** 2
    assert abs(squares.mean() - variance) < 4 * squares.std() / np.sqrt(len(x))
