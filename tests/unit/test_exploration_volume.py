"""Volumes of analytic regions, by chance and by subset simulation, within their own errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError, EvaluationError, VolumeNotEstimated
from ax_jax_runners.evaluation.constraints import Violation
from ax_jax_runners.exploration.diagnostics import VolumeEstimate, estimate_volume
from ax_jax_runners.exploration.diagnostics.counting import CountedViolation
from ax_jax_runners.exploration.diagnostics.subset import plan_levels, simulate_subsets
from ax_jax_runners.problems.regions import (
    AnalyticRegion,
    Ball,
    Banana,
    Box,
    Needle,
    Shell,
    Simplex,
    TwoBalls,
)

Rows = Callable[[np.ndarray], np.ndarray]


def violations_of(region: AnalyticRegion) -> Rows:
    """The region's own violation, compiled, in float64."""
    violation, names = Violation(region.constraints), region.space.names

    @jax.jit
    def graded(rows: jax.Array) -> jax.Array:
        columns = {name: rows[:, i] for i, name in enumerate(names)}
        return jax.vmap(lambda values: violation(region(values)))(columns)

    def call(rows: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(graded(jnp.asarray(rows)))

    return call


def deviation(found: VolumeEstimate, log_volume: float) -> float:
    """Distance from the true volume in standard errors of the estimate."""
    return (1 - math.exp(log_volume - found.log_volume)) / found.relative_error


@pytest.mark.parametrize("dimension", [2, 5, 10])
@pytest.mark.parametrize("kind", [Ball, Shell, Simplex, TwoBalls, Banana, Needle])
def test_volumes_within_four_standard_errors_of_at_most_a_tenth(
    kind: type[AnalyticRegion], dimension: int
) -> None:
    region = kind(dimension)
    found = estimate_volume(violations_of(region), dimension, evaluations=10_000_000, seed=1)
    assert found.relative_error <= 0.1
    assert abs(deviation(found, region.log_volume)) < 4
    assert found.volume == pytest.approx(math.exp(found.log_volume))
    assert found.standard_error == pytest.approx(found.relative_error * found.volume)
    assert found.evaluations <= 10_000_000
    if region.volume > 5e-4:
        assert found.method == "monte carlo"
    if region.volume < 1e-4:
        assert found.method == "subset simulation"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [Box, Ball, Shell, Simplex, TwoBalls, Banana, Needle])
def test_volumes_in_forty_dimensions(kind: type[AnalyticRegion]) -> None:
    """From all of the box to 5e-75 of it, the needle's."""
    region = kind(40)
    found = estimate_volume(violations_of(region), 40, evaluations=500_000_000, seed=1)
    assert found.relative_error <= 0.1
    assert abs(deviation(found, region.log_volume)) < 4


@pytest.mark.slow
def test_the_mean_of_small_populations_is_the_volume() -> None:
    """512 populations of 200 points each: far too few for one to be near, and no bias."""
    region = Ball(20)

    def violations(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows - 0.5, axis=1) - region.radius

    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        counted = CountedViolation(violations, 20, 10_000_000)
        levels = plan_levels(counted, particles=1000, rng=rng)
        assert len(levels) > 15
        found.append(simulate_subsets(counted, levels, particles=200, repetitions=64, rng=rng))
    ratio = np.exp(np.concatenate(found) - region.log_volume)
    error = ratio.std(ddof=1) / math.sqrt(len(ratio))
    assert error < 0.04
    assert abs(ratio.mean() - 1) < 4 * error


def test_the_errors_are_honest() -> None:
    """Many small estimates of one volume scatter as each of them says, and around the truth."""
    region = Ball(6, radius=0.2)
    violations = violations_of(region)
    found = [
        estimate_volume(violations, 6, evaluations=120_000, seed=seed, target=0.01)
        for seed in range(40)
    ]
    assert {one.method for one in found} == {"subset simulation"}
    volumes = np.array([one.volume for one in found])
    errors = np.array([one.standard_error for one in found])
    assert abs(volumes.mean() - region.volume) < 4 * volumes.std(ddof=1) / math.sqrt(40)
    assert np.sqrt((errors**2).mean()) == pytest.approx(volumes.std(ddof=1), rel=0.45)


def test_the_same_seed_gives_the_same_estimate() -> None:
    violations = violations_of(Ball(10))
    first, second = (estimate_volume(violations, 10, evaluations=200_000, seed=5) for _ in range(2))
    assert first == second


def test_a_region_that_fills_the_box_is_known_with_a_small_error() -> None:
    found = estimate_volume(lambda x: np.full(len(x), -1.0), 3, evaluations=10_000, seed=0)
    assert (found.volume, found.log_volume) == (1.0, 0.0)
    assert 0 < found.standard_error <= 1e-3


def test_points_without_features_are_outside() -> None:
    def violations(x: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(x - 0.5, axis=1) - 0.1
        # Half of the ball and of the box has no features, as where a model does not spike.
        return np.where(x[:, 0] < 0.5, np.nan, radius)

    log_volume = math.log(math.pi**3 / 6 * 0.1**6 / 2)
    found = estimate_volume(violations, 6, evaluations=3_000_000, seed=2)
    assert abs(deviation(found, log_volume)) < 4


def test_a_violation_in_steps_still_leads_in() -> None:
    # As a count of spikes: 20 values, the lowest of which is inside.
    def violations(x: np.ndarray) -> np.ndarray:
        return np.ceil(20 * np.maximum(np.abs(x - 0.5).max(axis=1) - 0.02, 0.0))

    found = estimate_volume(violations, 4, evaluations=3_000_000, seed=3)
    assert found.method == "subset simulation"
    assert abs(deviation(found, 4 * math.log(0.04))) < 4


class TestNotReached:
    def test_a_flat_violation_says_so(self) -> None:
        spent = []

        def violations(x: np.ndarray) -> np.ndarray:
            spent.append(len(x))
            return np.full(len(x), 2.5)

        with pytest.raises(VolumeNotEstimated, match=r"got stuck.*same for all.*lowest 2\.5"):
            estimate_volume(violations, 3, evaluations=10_000_000, seed=0)
        assert sum(spent) < 2_000_000

    def test_features_that_are_finite_nowhere(self) -> None:
        with pytest.raises(VolumeNotEstimated, match="infinite or NaN at every one of"):
            estimate_volume(lambda x: np.full(len(x), np.nan), 3, evaluations=100_000, seed=0)

    def test_constraints_that_cannot_be_met(self) -> None:
        with pytest.raises(VolumeNotEstimated, match=r"lowest 0\.5 .*can be met at all"):
            estimate_volume(
                lambda x: ((x - 0.5) ** 2).sum(axis=1) + 0.5, 3, evaluations=100_000, seed=0
            )

    def test_too_few_evaluations_for_the_way_in(self) -> None:
        with pytest.raises(VolumeNotEstimated, match="20000 evaluations were used up on the way"):
            estimate_volume(violations_of(Ball(40)), 40, evaluations=20_000, seed=0)

    def test_what_cannot_be_used_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="evaluations=100"):
            estimate_volume(lambda x: x[:, 0], 3, evaluations=100, seed=0)
        with pytest.raises(EvaluationError, match="one a row"):
            estimate_volume(lambda x: x, 3, evaluations=10_000, seed=0)
