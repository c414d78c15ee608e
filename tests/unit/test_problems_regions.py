"""Analytic regions: volume and moments against independent sampling, features against geometry."""

from __future__ import annotations

import math
import pickle
from typing import Any

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.constraints import Violation
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

KINDS = (Box, Ball, Shell, Simplex, TwoBalls, Banana, Needle)
DIMENSIONS = (2, 5, 10, 40)
ALL = [kind(d) for kind in KINDS for d in DIMENSIONS]


def violations(region: AnalyticRegion, points: np.ndarray, dtype: str = "float64") -> np.ndarray:
    features = region.evaluator(dtype).model_features(points)
    with jax.enable_x64(dtype == "float64"):
        return np.asarray(jax.vmap(Violation(region.constraints))(features))


@pytest.mark.parametrize("region", ALL, ids=repr)
def test_samples_lie_inside_the_region_and_the_unit_box(region: AnalyticRegion) -> None:
    points = region.sample(0, 2000)
    assert points.shape == (2000, region.dimension)
    assert points.dtype == np.float64
    # A point may round to the other side of a face.
    towards_middle = region.mean if not isinstance(region, (Shell, TwoBalls, Banana)) else points
    inner = towards_middle + (points - towards_middle) * (1.0 - 1e-12)
    assert region.contains(inner).mean() > 0.999
    assert ((points >= 0.0) & (points <= 1.0)).all()


@pytest.mark.parametrize("region", ALL, ids=repr)
def test_the_violation_agrees_with_the_geometry(region: AnalyticRegion) -> None:
    rng = np.random.default_rng(1)
    samples = region.sample(rng, 1000)
    # Around the samples on all scales, so that both sides of every face are hit.
    spread = np.sqrt(np.diag(region.covariance).min()) * rng.uniform(0.0, 2.0, (1000, 1))
    around = samples + spread * rng.standard_normal(samples.shape)
    around = np.clip(1.0 - np.abs(1.0 - np.abs(around)), 0.0, 1.0)
    points = np.concatenate([samples, around, rng.random((1000, region.dimension))])
    violation = violations(region, points)
    decided = np.abs(violation) > 1e-9
    np.testing.assert_array_equal(violation[decided] <= 0.0, region.contains(points)[decided])
    assert decided.mean() > 0.97
    if region != Box(region.dimension):
        assert (violation > 0.0).sum() > 100
    assert (violation <= 0.0).sum() > 900


@pytest.mark.slow
@pytest.mark.parametrize("region", [kind(40) for kind in KINDS], ids=repr)
def test_single_precision_gives_nearly_the_same_violation(region: AnalyticRegion) -> None:
    rng = np.random.default_rng(12)
    points = np.concatenate([region.sample(rng, 500), rng.random((500, 40))])
    single = violations(region, points, "float32")
    np.testing.assert_allclose(single, violations(region, points), rtol=1e-3, atol=1e-3)


def dominated_moments(
    region: AnalyticRegion, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, float]:
    """Uniform points inside, by rejection from a box around the samples, and the volume's log."""
    lower, upper = bounding_box(region)
    points = lower + (upper - lower) * rng.random((n, region.dimension))
    inside = region.contains(points)
    fraction = inside.mean()
    return points[inside], math.log(fraction) + np.log(upper - lower).sum()


def bounding_box(region: AnalyticRegion) -> tuple[np.ndarray, np.ndarray]:
    points = region.sample(99, 50_000)
    margin = 0.02 * np.ptp(points, axis=0)
    return np.maximum(points.min(0) - margin, 0.0), np.minimum(points.max(0) + margin, 1.0)


@pytest.mark.parametrize(
    "region",
    [kind(d) for kind in KINDS for d in (2, 5) if (kind, d) != (Needle, 5)] + [Box(5, 0.2)],
    ids=repr,
)
def test_volume_and_moments_agree_with_rejection_from_a_box(region: AnalyticRegion) -> None:
    n = 200_000
    inside, log_volume = dominated_moments(region, np.random.default_rng(2), n)
    fraction = len(inside) / n
    assert len(inside) > 1500
    error = math.sqrt((1.0 - fraction) / (fraction * n))
    assert abs(log_volume - region.log_volume) <= 4.0 * error + 1e-12
    assert region.volume == pytest.approx(math.exp(region.log_volume), rel=1e-12)
    check_moments(region, inside)


@pytest.mark.parametrize("region", ALL, ids=repr)
def test_moments_agree_with_the_regions_own_samples(region: AnalyticRegion) -> None:
    check_moments(region, region.sample(3, 40_000))


def check_moments(region: AnalyticRegion, points: np.ndarray) -> None:
    """Mean and covariance within 5 standard errors, estimated from the points themselves."""
    n = len(points)
    centred = points - region.mean
    assert (np.abs(centred.mean(0)) <= 5.0 * points.std(0) / math.sqrt(n)).all()
    # Of d^2 products only these: the diagonal, and each coordinate with its neighbour.
    for shift in (0, 1):
        products = centred * np.roll(centred, -shift, axis=1)
        rows = np.arange(region.dimension)
        expected = region.covariance[rows, np.roll(rows, -shift)]
        error = products.std(0) / math.sqrt(n)
        assert (np.abs(products.mean(0) - expected) <= 5.0 * error).all()
    random = np.random.default_rng(4).standard_normal(region.dimension)
    projected = (centred @ random) ** 2
    expected = random @ region.covariance @ random
    assert abs(projected.mean() - expected) <= 5.0 * projected.std() / math.sqrt(n)


@pytest.mark.parametrize("region", ALL, ids=repr)
def test_covariance_is_symmetric_and_positive(region: AnalyticRegion) -> None:
    covariance = region.covariance
    np.testing.assert_allclose(covariance, covariance.T, rtol=0, atol=1e-18)
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    assert -math.inf < region.log_volume <= 0.0
    assert region.volume > 0.0


@pytest.mark.parametrize("d", DIMENSIONS)
def test_nested_radii_have_the_volumes_ratio(d: int) -> None:
    # Shrunk about its centre a region keeps shape: the share of samples inside is a power.
    q = 0.5 ** (1.0 / d)
    assert Ball(d, 0.4 * q).log_volume == pytest.approx(Ball(d, 0.4).log_volume + math.log(0.5))
    share = Ball(d, 0.4 * q).contains(Ball(d, 0.4).sample(5, 20_000)).mean()
    assert abs(share - 0.5) < 4.0 * 0.5 / math.sqrt(20_000)
    shell = Shell(d, 0.4 * q, 0.4)
    assert shell.log_volume == pytest.approx(Ball(d, 0.4).log_volume + math.log(0.5))
    half = (shell.sample(6, 20_000)[:, 0] > 0.5).mean()
    assert abs(half - 0.5) < 4.0 * 0.5 / math.sqrt(20_000)


def test_known_volumes() -> None:
    assert Box(7).volume == 1.0
    assert Box(3, 0.25).volume == pytest.approx(0.125, rel=1e-14)
    assert Ball(2).volume == pytest.approx(math.pi * 0.09, rel=1e-14)
    assert Ball(3, 0.5).volume == pytest.approx(math.pi / 6.0, rel=1e-14)
    assert Shell(2).volume == pytest.approx(math.pi * 0.12, rel=1e-14)
    assert Simplex(4).volume == pytest.approx(1.0 / 24.0, rel=1e-13)
    assert TwoBalls(3).volume == pytest.approx(2.0 * 4.0 / 3.0 * math.pi * 0.008, rel=1e-14)
    assert Banana(2).volume == pytest.approx(0.8 * 0.3, rel=1e-14)
    assert Needle(2).volume == pytest.approx(math.pi * 0.4 * math.sqrt(2) * 0.02, rel=1e-14)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_two_balls_are_apart_and_equally_likely(d: int) -> None:
    region = TwoBalls(d)
    points = region.sample(7, 10_000)
    assert np.linalg.norm(np.diff(region.centres, axis=0)) > 2.0 * region.radius
    assert region.contains(region.centres).all()
    assert not region.contains(region.mean)
    assert abs((points[:, 0] < 0.5).mean() - 0.5) < 4.0 * 0.5 / 100.0


def test_the_violation_grows_with_the_distance() -> None:
    steps = np.linspace(0.0, 0.5, 26)[:, None] * np.array([1.0, 0.0, 0.0]) + 0.5
    assert (np.diff(violations(Ball(3), steps)) > 0.0).all()


def test_batches_along_the_last_axis_give_the_same_features() -> None:
    for kind in KINDS:
        region = kind(5)
        points = region.sample(8, 64)
        evaluator = region.evaluator()
        with jax.enable_x64(True):
            last = jax.jit(jax.vmap(evaluator.row_features, in_axes=-1))(points.T)
        for name, values in evaluator.model_features(points).items():
            np.testing.assert_allclose(last[name], values, rtol=1e-13)


def test_samples_follow_the_seed_the_generator_or_the_key() -> None:
    region = Needle(4)
    np.testing.assert_array_equal(region.sample(11, 5), region.sample(np.random.default_rng(11), 5))
    key = jax.random.key(3)
    np.testing.assert_array_equal(region.sample(key, 5), region.sample(key, 5))
    other = region.sample(jax.random.key(4), 5)
    assert not np.array_equal(region.sample(key, 5), other)
    generator = np.random.default_rng(11)
    assert not np.array_equal(region.sample(generator, 5), region.sample(generator, 5))


def test_regions_are_values() -> None:
    assert Ball(3) == Ball(3, 0.3) != Ball(4)
    assert pickle.loads(pickle.dumps(Shell(3).evaluator())) == Shell(3).evaluator()  # noqa: S301
    assert Ball(3).space.names == ("x0", "x1", "x2")


@pytest.mark.parametrize("dimension", [1, 0, 2.0, True, "3"])
def test_a_dimension_below_two_is_refused(dimension: Any) -> None:
    with pytest.raises(ConfigurationError, match="whole number, at least 2"):
        Ball(dimension)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Box(2, 0.6),
        lambda: Ball(2, 0.51),
        lambda: Ball(2, 0.0),
        lambda: Shell(2, 0.4, 0.3),
        lambda: TwoBalls(2, 0.25),
        lambda: Banana(2, bend=0.6),
        lambda: Needle(2, extent=0.5),
        lambda: Needle(2, thickness=math.nan),
    ],
)
def test_a_region_that_leaves_the_unit_box_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="does not lie inside the unit box"):
        make()
