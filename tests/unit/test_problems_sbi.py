"""Benchmark problems of inference: simulators, likelihoods and references against each other."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import jax
import numpy as np
import pytest
from scipy import ndimage, stats

from ax_jax_runners.errors import ConfigurationError, InvalidTheta
from ax_jax_runners.problems.sbi import (
    SBI_PROBLEMS,
    GaussianLinear,
    GaussianLinearUniform,
    GaussianMixture,
    InferenceProblem,
    TwoMoons,
)

EXACT = [name for name in SBI_PROBLEMS if name not in ("bernoulli-glm", "transmission-spectrum")]
PLANAR = {
    "two-moons": TwoMoons(),
    "gaussian-linear": GaussianLinear(2),
    "gaussian-linear-uniform": GaussianLinearUniform(2),
    "gaussian-mixture": GaussianMixture(),
}


def simulations(
    problem: InferenceProblem, theta: np.ndarray, seed: int, dtype: str = "float32"
) -> np.ndarray:
    evaluator = problem.evaluator(dtype=dtype, chunk=256)
    key = jax.random.key(seed, impl="threefry2x32")
    return np.asarray(evaluator.model_features(theta, key)["x"], dtype=np.float64)


def assert_moments(
    sample: np.ndarray, mean: np.ndarray, covariance: np.ndarray, sigmas: float = 4.5
) -> None:
    """Mean and covariance within so many standard errors, those of the sample itself."""
    root = math.sqrt(len(sample))
    assert (abs(sample.mean(0) - mean) < sigmas * sample.std(0) / root + 1e-6).all()
    centred = sample - mean
    products = centred[:, :, None] * centred[:, None, :]
    error = abs(products.mean(0) - covariance)
    assert (error < sigmas * products.std(0) / root + 1e-6).all()


def repeated(theta: list[float], n: int = 10_000) -> np.ndarray:
    return np.tile(np.asarray(theta, dtype=np.float64), (n, 1))


def test_two_moons_have_the_moments_of_the_formula() -> None:
    theta = [0.3, 0.5]
    mean = np.array([0.1 * 2.0 / math.pi + 0.25 - 0.8 / math.sqrt(2.0), 0.2 / math.sqrt(2.0)])
    square = 0.5 * (0.1**2 + 0.01**2)
    covariance = np.diag([square - (0.2 / math.pi) ** 2, square])
    assert_moments(simulations(TwoMoons(), repeated(theta), 0), mean, covariance)


@pytest.mark.parametrize("kind", [GaussianLinear, GaussianLinearUniform])
def test_gaussian_observations_have_the_published_covariance(kind: type[GaussianLinear]) -> None:
    theta = np.linspace(-0.9, 0.8, 10).tolist()
    sample = simulations(kind(), repeated(theta), 1)
    assert_moments(sample, np.array(theta), 0.1 * np.eye(10))


def test_mixtures_take_one_size_for_both_coordinates() -> None:
    sample = simulations(GaussianMixture(), repeated([3.0, -7.0]), 2) - [3.0, -7.0]
    assert_moments(sample, np.zeros(2), 0.505 * np.eye(2))
    # Squares of independent sizes would not be correlated: E x^2 y^2 = (1 + 0.01^2) / 2.
    product = (sample**2).prod(1)
    error = abs(product.mean() - 0.50005)
    assert error < 4.5 * product.std() / math.sqrt(len(product))


def test_two_moons_have_a_normalised_likelihood() -> None:
    problem = TwoMoons()
    # For theta1 + theta2 > 0 an observation is a rotation of theta and a crescent: the density's
    # integrals over x and over theta are the same.
    x = np.array([-0.5, 0.1])
    # The density jumps at along = 0.75, between two cells.
    step = 5e-4
    along, across = np.meshgrid(0.5 + step * (np.arange(1200) + 0.5), np.arange(-0.3, 0.5, step))
    theta = np.stack([along - across, along + across], -1).reshape(-1, 2) / math.sqrt(2.0)
    density = np.exp(problem.log_likelihood(theta, x)) * step**2
    assert density.sum() == pytest.approx(1.0, abs=1e-4)
    # And its first moment: r cos a.
    assert (density * (along.ravel() - 0.75)).sum() == pytest.approx(0.2 / math.pi, abs=1e-4)


def test_gaussian_likelihoods_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    theta, x = rng.uniform(-1.0, 1.0, (20, 10)), rng.standard_normal(10)
    for problem in (GaussianLinear(), GaussianLinearUniform()):
        expected = stats.norm.logpdf(theta, x, math.sqrt(0.1)).sum(1)
        np.testing.assert_allclose(problem.log_likelihood(theta, x), expected, rtol=1e-12)
    wide = stats.multivariate_normal(x[:2]).pdf(theta[:, :2])
    narrow = stats.norm.pdf(theta[:, :2], x[:2], 0.1).prod(1)
    np.testing.assert_allclose(
        GaussianMixture().log_likelihood(theta[:, :2], x[:2]),
        np.log(0.5 * wide + 0.5 * narrow),
        rtol=1e-12,
    )


def grid_marginals(
    problem: InferenceProblem, x: np.ndarray, draws: np.ndarray, directions: np.ndarray
) -> list[float]:
    """Kolmogorov distances between draws and the posterior's own marginals, by a fine grid."""
    lower, upper = problem.space.lower, problem.space.upper
    span = np.ptp(draws, axis=0)
    low, high = draws.min(0) - 0.1 * span, draws.max(0) + 0.1 * span
    if problem.space.log_prior(upper + 1e-9) == -math.inf:
        low, high = np.maximum(low, lower), np.minimum(high, upper)
    # Coarse cells where draws are, and those around them, are divided further.
    coarse, fine = 60, 24
    width = (high - low) / coarse
    taken = np.zeros((coarse, coarse), dtype=bool)
    taken[tuple(np.minimum((draws - low) / width, coarse - 1).astype(int).T)] = True
    taken = np.asarray(ndimage.binary_dilation(taken, iterations=3), dtype=bool)
    corners = low + width * np.argwhere(taken)
    within = (np.stack(np.meshgrid(np.arange(fine), np.arange(fine)), -1) + 0.5) / fine
    grid = (corners[:, None] + width * within.reshape(-1, 2)).reshape(-1, 2)
    log_density = problem.log_posterior(grid, x)
    weights = np.exp(log_density - log_density.max())
    elsewhere = problem.log_posterior(low + width * (np.argwhere(~taken) + 0.5), x)
    assert fine**2 * np.exp(elsewhere - log_density.max()).sum() < 2e-3 * weights.sum()
    distances = []
    for direction in directions:
        position = grid @ direction
        order = np.argsort(position, kind="stable")
        cumulative = np.cumsum(weights[order]) / weights.sum()
        at = np.sort(draws @ direction)
        expected = np.interp(at, position[order], cumulative)
        found = (np.arange(len(at)) + 0.5) / len(at)
        distances.append(float(abs(found - expected).max()))
    return distances


DIRECTIONS = np.array([[1.0, 0.013], [0.017, 1.0], [1.0, 1.01], [1.0, -0.99]])
OBSERVATIONS: dict[str, list[list[float]]] = {
    # The second of each lies where the prior's bounds cut the posterior.
    "two-moons": [[-0.3, 0.2], [-0.95, 0.15], [0.3, 0.05], [0.0, 0.0]],
    "gaussian-linear": [[0.4, -1.0]],
    "gaussian-linear-uniform": [[0.4, -0.2], [1.4, -0.9]],
    "gaussian-mixture": [[3.0, -5.0], [9.8, -11.2]],
}


@pytest.mark.parametrize(
    ("name", "x"), [(name, x) for name, given in OBSERVATIONS.items() for x in given]
)
def test_references_follow_the_likelihood_on_a_grid(name: str, x: list[float]) -> None:
    n = 20_000
    draws = PLANAR[name].reference_posterior(x, n, seed=4)
    # Kolmogorov's 0.1 % level, and a cell of the grid.
    distances = grid_marginals(PLANAR[name], np.array(x), draws, DIRECTIONS)
    assert max(distances) < 1.95 / math.sqrt(n) + 2e-3, distances


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXACT if name != "slcp-distractors"])
def test_references_are_calibrated_by_the_simulator(name: str) -> None:
    # Ranks of the true parameters among posterior draws are uniform, whatever the likelihood says.
    problem = SBI_PROBLEMS[name]()
    n, draws = 250, 63
    theta = problem.space.icdf(np.random.default_rng(5).random((n, problem.space.dimension)))
    xs = simulations(problem, theta, 6, "float64")
    ranks = np.empty((n, problem.space.dimension))
    for i, x in enumerate(xs):
        ranks[i] = (problem.reference_posterior(x, draws, seed=i) < theta[i]).sum(0)
    spread = (ranks + np.random.default_rng(7).random(ranks.shape)) / (draws + 1)
    p = [stats.kstest(column, "uniform").pvalue for column in spread.T]
    assert min(p) > 0.001 / len(p), p
    # Both tails alone as well: a posterior too narrow or too wide is seen there first.
    outer = (abs(spread - 0.5) > 0.45).mean(0)
    assert (abs(outer - 0.1) < 4.0 * math.sqrt(0.09 / n)).all(), outer


@pytest.mark.parametrize("name", EXACT)
def test_references_stay_in_the_support_and_repeat(name: str) -> None:
    problem = SBI_PROBLEMS[name]()
    theta, x = problem.observe(8)
    assert theta.shape == (problem.space.dimension,)
    assert x.shape == (problem.observation_size,)
    again = SBI_PROBLEMS[name]().observe(8)
    np.testing.assert_array_equal(again[0], theta)
    np.testing.assert_array_equal(again[1], x)
    assert not np.array_equal(problem.observe(9)[1], x)
    draws = problem.reference_posterior(x, 500, seed=1)
    assert draws.shape == (500, problem.space.dimension)
    assert draws.dtype == np.float64
    assert np.isfinite(problem.log_posterior(draws, x)).all()
    np.testing.assert_array_equal(problem.reference_posterior(x, 500, seed=1), draws)
    other = problem.reference_posterior(x, 500, seed=2)
    assert not np.isin(other, draws).any()
    assert problem.reference_posterior(x, 0, seed=1).shape == (0, problem.space.dimension)


@pytest.mark.parametrize("name", SBI_PROBLEMS)
def test_problems_are_values(name: str) -> None:
    problem = SBI_PROBLEMS[name]()
    assert pickle.loads(pickle.dumps(problem)) == problem  # noqa: S301
    assert hash(problem) == hash(SBI_PROBLEMS[name]())
    assert problem.space == SBI_PROBLEMS[name]().space
    assert problem.evaluator(chunk=64).chunk == 64


def test_what_does_not_fit_is_refused() -> None:
    problem = TwoMoons()
    with pytest.raises(InvalidTheta, match="theta has the shape"):
        problem.log_likelihood(np.zeros((3, 4)), [0.0, 0.0])
    with pytest.raises(ConfigurationError, match="give 2 finite numbers"):
        problem.log_likelihood(np.zeros((3, 2)), [0.0, math.nan])
    with pytest.raises(ConfigurationError, match="give 2 finite numbers"):
        problem.reference_posterior(np.zeros((1, 2)), 10, seed=0)
    with pytest.raises(ConfigurationError, match="positive whole number"):
        GaussianLinear(0)


def test_an_impossible_observation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ax_jax_runners.problems.sbi.sampling.HOPELESS", 2**15)
    with pytest.raises(ConfigurationError, match="nothing in the prior's support"):
        TwoMoons().reference_posterior([4.0, 4.0], 10, seed=0)


def test_log_posterior_is_minus_infinity_outside_the_support() -> None:
    inside: Callable[..., np.ndarray] = GaussianMixture().log_posterior
    values = inside([[0.0, 0.0], [10.5, 0.0]], [0.0, 0.0])
    assert np.isfinite(values[0])
    assert values[1] == -math.inf
