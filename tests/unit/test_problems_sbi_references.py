"""The harder benchmark problems: published figures, likelihoods, and references by two methods."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from ax_jax_runners.posterior.calibration.c2st import classifier_two_sample_test
from ax_jax_runners.posterior.records import ObservationBlock
from ax_jax_runners.problems.sbi import (
    SLCP,
    BernoulliGLM,
    SLCPDistractors,
    TransmissionSpectrum,
)
from tests.unit.ensemble_walks import evolve

pytestmark = pytest.mark.slow


def key(seed: int) -> jax.Array:
    return jax.random.key(seed, impl="threefry2x32")


def assert_same_law(first: np.ndarray, second: np.ndarray, level: float = 1e-3) -> None:
    """Kolmogorov-Smirnov tests of every column, and of sums and differences of neighbours."""
    projections = [first, first[:, 1:] + first[:, :-1], first[:, 1:] - first[:, :-1]]
    others = [second, second[:, 1:] + second[:, :-1], second[:, 1:] - second[:, :-1]]
    columns = zip(np.hstack(projections).T, np.hstack(others).T, strict=True)
    p = np.array([stats.kstest(one, other).pvalue for one, other in columns])
    assert p.min() > level / p.size, p


# ------------------------------------------------------------------ SLCP


def slcp_covariance(theta: np.ndarray) -> Any:
    s1, s2, rho = theta[..., 2] ** 2, theta[..., 3] ** 2, np.tanh(theta[..., 4])
    rows = [np.stack([s1**2, rho * s1 * s2], -1), np.stack([rho * s1 * s2, s2**2], -1)]
    return np.stack(rows, -2)


def slcp_walk(x: np.ndarray, walkers: int, steps: int, seed: int) -> np.ndarray:
    """The posterior by Markov chains in (theta1, theta2, log |theta3|, log |theta4|, theta5)."""
    points = x.reshape(4, 2)

    def physical(q: np.ndarray) -> np.ndarray:
        return np.column_stack([q[:, :2], np.exp(np.minimum(q[:, 2:4], 5.0)), q[:, 4]])

    def log_density(q: np.ndarray) -> np.ndarray:
        theta = physical(q)
        inside = np.all(abs(theta) <= 3.0, axis=1)
        covariance = slcp_covariance(np.where(inside[:, None], theta, 1.0))
        residuals = points - theta[:, None, :2]
        determinant = np.linalg.det(covariance)
        solved = np.linalg.solve(covariance, residuals.swapaxes(1, 2)).swapaxes(1, 2)
        density = -0.5 * (residuals * solved).sum((1, 2)) - 2.0 * np.log(determinant)
        return np.where(inside, density + q[:, 2] + q[:, 3], -np.inf)

    rng = np.random.default_rng(seed)
    prior = rng.uniform(-3.0, 3.0, (200_000, 5))
    prior[:, 2:4] = np.log(abs(prior[:, 2:4]))
    value = log_density(prior) - prior[:, 2] - prior[:, 3]
    weights = np.exp(0.3 * (value - value.max()))
    start = prior[rng.choice(len(prior), walkers, p=weights / weights.sum())]
    theta = physical(evolve(log_density, start, steps, seed + 1))
    theta[:, 2:4] *= rng.choice([-1.0, 1.0], (walkers, 2))
    return theta


def test_slcp_has_the_moments_of_the_formula() -> None:
    theta = np.array([0.7, -2.9, -1.0, 0.9, 0.6])
    x = (
        SLCP()
        .evaluator(dtype="float32", chunk=256)
        .model_features(np.tile(theta, (10_000, 1)), key(0))
    )
    points = np.asarray(x["x"], dtype=np.float64).reshape(-1, 2)
    covariance = slcp_covariance(theta)
    assert (abs(points.mean(0) - theta[:2]) < 4.5 * np.sqrt(np.diag(covariance) / 40_000)).all()
    np.testing.assert_allclose(np.cov(points.T), covariance, rtol=0.03)
    # Points of one observation are independent of one another.
    across = np.corrcoef(np.asarray(x["x"]).T)[:2, 2:]
    assert abs(across).max() < 0.045


def test_slcp_likelihood_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    theta, x = rng.uniform(-3.0, 3.0, (30, 5)), rng.standard_normal(8)
    expected = [
        stats.multivariate_normal.logpdf(x.reshape(4, 2), row[:2], slcp_covariance(row)).sum()
        for row in theta
    ]
    np.testing.assert_allclose(SLCP().log_likelihood(theta, x), expected, rtol=1e-8)
    theta[0, 2] = 0.0
    assert SLCP().log_likelihood(theta, x)[0] == -math.inf


def test_slcp_posterior_agrees_with_markov_chains() -> None:
    x = SLCP().observe(0)[1]
    assert_same_law(SLCP().reference_posterior(x, 2000, seed=2), slcp_walk(x, 2000, 600, 3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.timeout(900)
def test_two_references_of_slcp_cannot_be_told_apart(seed: int) -> None:
    x = SLCP().observe(seed)[1]
    chains = slcp_walk(x, 10_000, 1000, 5)
    exact = SLCP().reference_posterior(x, 10_000, seed=6)
    assert classifier_two_sample_test(exact, chains).accuracy <= 0.51


def test_distractors_stand_where_the_benchmark_has_them() -> None:
    # Places of the eight data in the public observations, counted from 1.
    problem = SLCPDistractors()
    assert (problem.informative + 1).tolist() == [23, 34, 24, 68, 43, 22, 17, 91]
    theta, x = problem.observe(7)
    plain = x[problem.informative]
    np.testing.assert_array_equal(
        problem.log_likelihood(theta[None], x), SLCP().log_likelihood(theta[None], plain)
    )
    np.testing.assert_array_equal(
        problem.reference_posterior(x, 50, seed=8), SLCP().reference_posterior(plain, 50, seed=8)
    )


def test_distractors_do_not_depend_on_the_parameters() -> None:
    problem, n = SLCPDistractors(), 4000
    evaluator = problem.evaluator(dtype="float32", chunk=256)
    theta = np.tile([0.5, -0.5, 1.0, 1.2, 0.3], (n, 1))
    x = np.asarray(evaluator.model_features(theta, key(9))["x"])
    points = x[:, problem.informative].reshape(-1, 2)
    assert (abs(points.mean(0) - [0.5, -0.5]) < 4.5 * points.std(0) / math.sqrt(4 * n)).all()
    rest = np.setdiff1d(np.arange(100), problem.informative)
    moved = np.asarray(evaluator.model_features(-theta, key(9))["x"])
    np.testing.assert_array_equal(moved[:, rest], x[:, rest])
    # Centres have the scale 15, factors 3: medians of the mixture's columns are of that order,
    # and tails with two degrees of freedom go far beyond.
    spread = np.subtract(*np.percentile(x[:, rest], [75, 25], axis=0))
    assert 20.0 < np.median(spread) < 80.0
    assert abs(x[:, rest]).max() > 10.0 * np.median(spread)


# ------------------------------------------------------------------ generalised linear model


def published_glm() -> tuple[np.ndarray, np.ndarray]:
    """Design (100, 10) and prior precision (10, 10), element by element from the definitions."""
    stimulus = np.random.RandomState(42).randn(100)
    impulses = np.eye(9)
    columns = [np.convolve(stimulus, impulse)[:100] for impulse in impulses]
    f = np.zeros((9, 9))
    for i in range(9):
        f[i, i] = 1.0 + math.sqrt(i / 9.0)
        if i >= 1:
            f[i, i - 1] = -2.0
        if i >= 2:
            f[i, i - 2] = 1.0
    precision = np.zeros((10, 10))
    precision[0, 0] = 0.5
    precision[1:, 1:] = f.T @ f
    return np.column_stack([np.ones(100), *columns]), precision


def glm_train(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spikes under parameters from the published prior, and their statistics."""
    rng = np.random.default_rng(seed)
    design, precision = published_glm()
    theta = rng.multivariate_normal(np.zeros(10), np.linalg.inv(precision))
    spikes = (rng.random(100) < 1.0 / (1.0 + np.exp(-design @ theta))).astype(float)
    return spikes, spikes @ design


def glm_walk(spikes: np.ndarray, walkers: int, steps: int, seed: int) -> np.ndarray:
    """The published posterior by Markov chains on the spikes themselves."""
    design, precision = published_glm()
    signed = (2.0 * spikes - 1.0)[:, None] * design

    def log_density(theta: np.ndarray) -> np.ndarray:
        prior = -0.5 * ((theta @ precision) * theta).sum(1)
        with np.errstate(over="ignore"):
            return prior - np.log1p(np.exp(-theta @ signed.T)).sum(1)

    rng = np.random.default_rng(seed)
    start = rng.multivariate_normal(np.zeros(10), np.linalg.inv(precision), walkers)
    return evolve(log_density, start, steps, seed + 1)


def test_the_published_observation_has_its_statistics() -> None:
    # Spikes and statistics of the benchmark's first observation.
    runs = [2, 1, 8, 6, 7, 3, 3, 1, 4, 5, 4, 4, 3, 3, 4, 2, 2, 3, 5, 2, 3, 7, 3, 3, 5, 4, 3]
    spikes = np.repeat((np.arange(len(runs)) + 1) % 2, runs)
    assert spikes.size == 100
    published = [
        *(56.0, 3.32306, 14.356438, 11.104893, -4.167525),
        *(-18.507809, -21.917496, -9.553517, -0.357257, -5.497825),
    ]
    np.testing.assert_allclose(spikes @ BernoulliGLM().design, published, atol=5e-6)


def test_whitened_parameters_have_the_published_prior() -> None:
    problem = BernoulliGLM()
    design, precision = published_glm()
    np.testing.assert_allclose(problem.design, design, atol=1e-6)
    np.testing.assert_allclose(problem.map.T @ precision @ problem.map, np.eye(10), atol=1e-9)
    white = np.random.default_rng(10).standard_normal((5, 10))
    np.testing.assert_allclose(problem.to_white(problem.to_published(white)), white, atol=1e-9)


def test_glm_likelihood_is_that_of_the_spikes() -> None:
    problem = BernoulliGLM()
    design, _ = published_glm()
    spikes, x = glm_train(11)
    white = np.random.default_rng(12).standard_normal((20, 10))
    p = 1.0 / (1.0 + np.exp(-problem.to_published(white) @ design.T))
    expected = stats.bernoulli.logpmf(spikes, p).sum(1)
    np.testing.assert_allclose(problem.log_likelihood(white, x), expected, rtol=1e-5)


def test_glm_statistics_have_the_moments_of_the_formula() -> None:
    problem, n = BernoulliGLM(), 10_000
    design, _ = published_glm()
    white = np.linspace(-1.0, 1.0, 10)
    x = problem.evaluator(dtype="float32", chunk=256).model_features(
        np.tile(white, (n, 1)), key(13)
    )
    p = 1.0 / (1.0 + np.exp(-design @ problem.to_published(white)))
    covariance = (design.T * (p * (1.0 - p))) @ design
    found = np.asarray(x["x"], dtype=np.float64)
    assert (abs(found.mean(0) - p @ design) < 4.5 * np.sqrt(np.diag(covariance) / n)).all()
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        np.cov(found.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.07
    )


def test_glm_posterior_agrees_with_markov_chains() -> None:
    problem = BernoulliGLM()
    spikes, x = glm_train(14)
    draws = problem.to_published(problem.reference_posterior(x, 2000, seed=15))
    assert_same_law(draws, glm_walk(spikes, 2000, 500, 16))


def test_glm_draws_repeat() -> None:
    problem = BernoulliGLM()
    _, x = problem.observe(17)
    assert x[0] == round(x[0])
    draws = problem.reference_posterior(x, 100, seed=18)
    np.testing.assert_array_equal(problem.reference_posterior(x, 100, seed=18), draws)
    assert not np.isin(problem.reference_posterior(x, 100, seed=19), draws).any()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_references_of_the_glm_cannot_be_told_apart() -> None:
    problem = BernoulliGLM()
    spikes, x = glm_train(20)
    chains = problem.to_white(glm_walk(spikes, 10_000, 800, 21))
    exact = problem.reference_posterior(x, 10_000, seed=22)
    assert classifier_two_sample_test(exact, chains).accuracy <= 0.51


# ------------------------------------------------------------------ transmission spectrum

THETA = np.array([1100.0, -4.0, -5.0, -0.5, 1.25])


def test_a_spectrum_is_what_its_features_say() -> None:
    problem, n = TransmissionSpectrum(), 4000
    evaluator = problem.evaluator(dtype="float32", chunk=256)
    features = evaluator.model_features(np.tile(THETA, (n, 1)), key(23))
    mean = problem.spectrum(THETA[None])[0]
    assert features["x"].shape == features["uncertainties"].shape == (n, 233)
    np.testing.assert_allclose(features["uncertainties"][5], problem.uncertainties, rtol=1e-6)
    standardised = (np.asarray(features["x"], dtype=np.float64) - mean) / problem.uncertainties
    assert abs(standardised.mean(0)).max() < 4.5 / math.sqrt(n)
    assert abs(standardised.std(0) - 1.0).max() < 4.5 / math.sqrt(2 * n)
    (block,) = problem.blocks(features["x"][0])
    assert isinstance(block, ObservationBlock)
    assert block.modality == "spectrum"
    np.testing.assert_array_equal(block.coordinates, problem.wavelengths)


def test_the_spectrum_follows_its_physics() -> None:
    problem = TransmissionSpectrum()

    def spectrum(**changes: float) -> np.ndarray:
        values = dict(zip(problem.space.names, THETA.tolist(), strict=True)) | changes
        return problem.spectrum(problem.space.pack(values)[None])[0]

    base, at = spectrum(), problem.wavelengths
    # A bare planet of a radius r covers (r / star)^2; the atmosphere adds some percent.
    assert (base > 1e6 * (1.25 * 7.149e7 / 6.40e8) ** 2).all()
    assert np.isfinite(base).all()
    wetter = spectrum(log_water=-3.0) - base
    assert at[wetter.argmax()] == pytest.approx(2.7, rel=0.25)
    carbonic = spectrum(log_carbon_dioxide=-3.0) - base
    assert at[carbonic.argmax()] == pytest.approx(4.3, rel=0.1)
    # Clouds flatten, and far up they hide everything.
    assert np.ptp(spectrum(log_cloud_pressure=-3.0)) < 0.6 * np.ptp(base)
    assert np.ptp(spectrum(log_cloud_pressure=-5.0, log_water=-8.0, log_carbon_dioxide=-8.0)) < 5.0
    # Heat lifts the whole atmosphere.
    assert (spectrum(temperature=1500.0) > base).all()
    # In a deep band a tenfold abundance lifts the limb by ln 10 scale heights.
    height = 1.380649e-23 * 1100.0 / (2.3 * 1.6605e-27 * 4.3)
    lift = np.sqrt(spectrum(log_water=-2.0) / 1e6) - np.sqrt(spectrum(log_water=-3.0) / 1e6)
    assert 6.40e8 * lift.max() == pytest.approx(math.log(10.0) * height, rel=0.01)


def test_spectrum_likelihood_agrees_with_scipy() -> None:
    problem = TransmissionSpectrum()
    theta = problem.space.icdf(np.random.default_rng(24).random((10, 5)))
    x = problem.observe(25)[1]
    expected = stats.norm.logpdf(x, problem.spectrum(theta), problem.uncertainties).sum(1)
    np.testing.assert_allclose(problem.log_likelihood(theta, x), expected, rtol=1e-10)


@pytest.mark.slow
def test_spectrum_posterior_is_stationary_under_markov_chains() -> None:
    problem = TransmissionSpectrum()
    lower, upper = problem.space.lower, problem.space.upper
    x = problem.observe(1)[1]
    draws = problem.reference_posterior(x, 2000, seed=26)
    assert ((draws >= lower) & (draws <= upper)).all()

    def log_density(theta: np.ndarray) -> np.ndarray:
        inside = np.all((theta >= lower) & (theta <= upper), axis=1)
        value = problem.log_likelihood(np.where(inside[:, None], theta, THETA), x)
        return np.where(inside, value, -np.inf)

    moved = evolve(log_density, problem.reference_posterior(x, 2000, seed=27), 300, 28)
    # Radius and temperature vary on scales of their own.
    assert_same_law(draws / draws.std(0), moved / draws.std(0))


def test_spectrum_draws_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ax_jax_runners.problems.sbi.tempering.FEWEST", 100)
    monkeypatch.setattr("ax_jax_runners.problems.sbi.tempering.LAST_MOVES", 5)
    problem = TransmissionSpectrum()
    _, x = problem.observe(32)
    draws = problem.reference_posterior(x, 60, seed=33)
    assert draws.shape == (60, 5)
    np.testing.assert_array_equal(problem.reference_posterior(x, 60, seed=33), draws)
    assert not np.isin(problem.reference_posterior(x, 60, seed=34), draws).any()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spectrum_posterior_is_calibrated_by_the_simulator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ax_jax_runners.problems.sbi.tempering.FEWEST", 500)
    problem, n, draws = TransmissionSpectrum(), 60, 99
    theta = problem.space.icdf(np.random.default_rng(29).random((n, 5)))
    xs = np.asarray(problem.evaluator().model_features(theta, key(30))["x"])
    ranks = [
        (problem.reference_posterior(x, draws, seed=i) < theta[i]).sum(0) for i, x in enumerate(xs)
    ]
    spread = (np.array(ranks) + np.random.default_rng(31).random((n, 5))) / (draws + 1)
    p = [stats.kstest(column, "uniform").pvalue for column in spread.T]
    assert min(p) > 0.001 / 5, p
