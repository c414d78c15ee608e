"""cdf, quantiles and densities against SciPy, and what happens at the edges."""

from __future__ import annotations

import math

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from ax_jax_runners.errors import InvalidTheta
from ax_jax_runners.parameters import Parameter, ParameterSpace

# name: (numpyro prior, SciPy reference, tolerance of cdf(icdf(u)))
FAMILIES = {
    # Of the singular Beta: floats just below 1 are 1e-9 of probability apart.
    "uniform": (dist.Uniform(-2.0, 3.0), stats.uniform(-2, 5), 1e-12),
    "loguniform": (dist.LogUniform(1e-3, 10.0), stats.loguniform(1e-3, 10.0), 1e-12),
    "normal": (dist.Normal(1.0, 0.1), stats.norm(1.0, 0.1), 1e-12),
    "lognormal": (dist.LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=math.exp(0.5)), 1e-12),
    "exponential": (dist.Exponential(2.0), stats.expon(scale=0.5), 1e-12),
    "halfnormal": (dist.HalfNormal(2.0), stats.halfnorm(scale=2.0), 1e-12),
    "cauchy": (dist.Cauchy(0.0, 2.0), stats.cauchy(0.0, 2.0), 1e-12),
    "laplace": (dist.Laplace(0.0, 2.0), stats.laplace(0.0, 2.0), 1e-12),
    "gumbel": (dist.Gumbel(1.0, 2.0), stats.gumbel_r(1.0, 2.0), 1e-12),
    "beta": (dist.Beta(2.0, 5.0), stats.beta(2.0, 5.0), 1e-9),
    "singular beta": (dist.Beta(0.3, 0.4), stats.beta(0.3, 0.4), 5e-9),
    "gamma": (dist.Gamma(2.0, 3.0), stats.gamma(2.0, scale=1 / 3), 1e-9),
    "student": (dist.StudentT(3.0, 0.5, 2.0), stats.t(3.0, 0.5, 2.0), 1e-9),
    "weibull": (dist.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2.0), 1e-9),
}
U = np.concatenate([[1e-6, 1e-3], np.linspace(0.01, 0.99, 33), [0.999, 1 - 1e-6]])


@pytest.mark.parametrize("family", FAMILIES)
def test_agrees_with_scipy(family: str) -> None:
    prior, reference, tolerance = FAMILIES[family]
    space = ParameterSpace([Parameter("x", prior)])
    x = space.icdf(U[:, None])
    assert x.dtype == np.float64
    np.testing.assert_allclose(space.cdf(x)[:, 0], U, rtol=0, atol=tolerance)
    np.testing.assert_allclose(x[:, 0], reference.ppf(U), rtol=2e-6)
    np.testing.assert_allclose(space.log_prior(x), reference.logpdf(x[:, 0]), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["normal", "gamma", "student", "lognormal", "weibull"])
def test_bounds_truncate_and_renormalise(family: str) -> None:
    prior, reference, _ = FAMILIES[family]
    lower, upper = reference.ppf([0.2, 0.7])
    space = ParameterSpace([Parameter("x", prior, lower=lower, upper=upper)])
    assert (space.free[0].lower, space.free[0].upper) == (lower, upper)
    x = space.icdf(U[:, None])
    np.testing.assert_allclose(reference.cdf(x[:, 0]), 0.2 + 0.5 * U, atol=1e-9)
    np.testing.assert_allclose(space.cdf(x)[:, 0], U, atol=1e-9)
    np.testing.assert_allclose(
        space.log_prior(x), reference.logpdf(x[:, 0]) - math.log(0.5), atol=1e-8
    )
    assert np.all(np.isneginf(space.log_prior([[lower - 0.01], [upper + 0.01]])))
    np.testing.assert_array_equal(space.icdf([[0.0], [1.0]])[:, 0], [lower, upper])


def test_far_tail_of_a_symmetric_prior_is_as_exact_as_its_centre() -> None:
    space = ParameterSpace([Parameter("x", dist.Normal(0.0, 1.0), lower=5.0, upper=7.0)])
    x = space.icdf(U[:, None])
    np.testing.assert_allclose(space.cdf(x)[:, 0], U, atol=1e-12)
    below, mass = stats.norm.sf(7.0), stats.norm.sf(5.0) - stats.norm.sf(7.0)
    np.testing.assert_allclose(x[:, 0], stats.norm.isf(below + (1 - U) * mass), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_box_of_an_unbounded_prior_is_its_middle_98_percent(family: str) -> None:
    prior, reference, _ = FAMILIES[family]
    parameter = Parameter("x", prior)
    support = np.array(reference.support())
    expected = support if np.isfinite(support).all() else reference.ppf([0.01, 0.99])
    np.testing.assert_allclose([parameter.lower, parameter.upper], expected, rtol=1e-6)
    # The prior itself stays whole.
    outside = reference.ppf(0.999)
    assert np.isfinite(ParameterSpace([parameter]).log_prior([outside]))


@pytest.mark.parametrize("family", FAMILIES)
def test_edges(family: str) -> None:
    prior, reference, _ = FAMILIES[family]
    space = ParameterSpace([Parameter("x", prior)])
    ends = space.icdf([[0.0], [1.0]])[:, 0]
    assert np.isfinite(ends).all()
    lower, upper = reference.support()
    if math.isfinite(lower) and math.isfinite(upper):
        np.testing.assert_array_equal(ends, [lower, upper])
        assert np.all(space.cdf([[lower - 1], [upper + 1]])[:, 0] == [0.0, 1.0])
        assert np.all(np.isneginf(space.log_prior([[lower - 1], [upper + 1]])))
    assert np.isnan(space.cdf([math.nan])[0])
    assert np.isneginf(space.log_prior([math.nan]))


@pytest.mark.parametrize("u", [-1e-9, 1.0 + 1e-9, math.nan])
def test_no_probability_is_refused(u: float) -> None:
    space = ParameterSpace([Parameter("x", lower=0, upper=1)])
    with pytest.raises(InvalidTheta, match="no probability"):
        space.icdf([[0.5], [u]])


def test_integers_have_a_probability_each() -> None:
    space = ParameterSpace([Parameter("n", lower=2, upper=5, integer=True)])
    draws = space.icdf(np.linspace(0, 1, 4001)[:, None])[:, 0]
    values, counts = np.unique(draws, return_counts=True)
    np.testing.assert_array_equal(values, [2, 3, 4, 5])
    np.testing.assert_allclose(counts / 4001, 0.25, atol=1e-3)
    np.testing.assert_allclose(space.log_prior([[2.0], [5.0]]), math.log(0.25))
    assert np.all(np.isneginf(space.log_prior([[2.5], [1.0], [6.0]])))
    np.testing.assert_allclose(space.cdf([[1.0], [2.0], [3.5], [5.0]])[:, 0], [0.0, 0.25, 0.5, 1.0])


def test_log_scaled_integers_favour_small_ones() -> None:
    space = ParameterSpace([Parameter("n", lower=1, upper=100, integer=True, log_scale=True)])
    pmf = np.exp(space.log_prior(np.arange(1.0, 101.0)[:, None]))
    assert pmf.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(np.diff(pmf) < 0)


def test_discrete_prior_is_used_as_it_is() -> None:
    space = ParameterSpace([Parameter("n", dist.Poisson(4.0), integer=True, lower=1, upper=9)])
    k = np.arange(1, 10)
    expected = stats.poisson(4.0).pmf(k) / stats.poisson(4.0).pmf(k).sum()
    np.testing.assert_allclose(np.exp(space.log_prior(k[:, None])), expected, rtol=1e-9)
    np.testing.assert_allclose(space.cdf(k[:, None])[:, 0], np.cumsum(expected), atol=1e-12)
    u = np.linspace(0.001, 0.999, 401)
    found = space.icdf(u[:, None])[:, 0]
    np.testing.assert_array_equal(found, 1 + np.searchsorted(np.cumsum(expected), u))
    unbounded = Parameter("n", dist.Poisson(4.0), integer=True)
    assert (unbounded.lower, unbounded.upper) == tuple(stats.poisson(4.0).ppf([0.01, 0.99]))


def test_choices_are_equally_probable_indices() -> None:
    space = ParameterSpace([Parameter("c", choices=("x", "y", "z"))])
    np.testing.assert_array_equal(space.icdf([[0.0], [0.3], [0.5], [1.0]])[:, 0], [0, 0, 1, 2])
    np.testing.assert_allclose(space.cdf([[-1.0], [0.0], [2.0]])[:, 0], [0, 1 / 3, 1])
    np.testing.assert_allclose(space.log_prior([[0.0], [2.0]]), -math.log(3))
    assert np.all(np.isneginf(space.log_prior([[3.0], [0.5]])))


def test_log_like_priors_are_searched_on_a_log_scale() -> None:
    assert Parameter("x", dist.LogNormal(0.0, 1.0)).log_scale
    assert Parameter("x", dist.LogUniform(0.1, 1.0)).log_scale
    assert not Parameter("x", dist.LogNormal(0.0, 1.0), lower=0.0).log_scale
    assert not Parameter("x", dist.Normal(5.0, 1.0)).log_scale


def test_constants_keep_float64_whatever_the_process_computes_in() -> None:
    # A LogUniform made while JAX computes in float32 holds rounded logarithms.
    with jax.enable_x64(False):
        prior = dist.TransformedDistribution(
            dist.Normal(0.1, 0.2), dist.transforms.AffineTransform(0.3, 0.7)
        )
        space = ParameterSpace([Parameter("x", prior)])
    np.testing.assert_allclose(
        space.icdf(U[:, None])[:, 0], 0.3 + 0.7 * stats.norm(0.1, 0.2).ppf(U), rtol=1e-12
    )


def test_functions_can_be_traced() -> None:
    space = ParameterSpace(
        [Parameter("x", dist.Normal(1.0, 2.0)), Parameter("y", lower=0, upper=2)]
    )
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(space.log_prior))(np.array([2.0, 1.0]))
        icdf = jax.jit(space.icdf)(np.array([0.5, 0.25]))
    np.testing.assert_allclose(gradient, [-0.25, 0.0])
    np.testing.assert_allclose(icdf, [1.0, 0.5])
