"""Coordinates of parameters: there and back, and the densities between them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    SPACES,
    EncoderConfiguration,
    FlowConfiguration,
)
from ax_jax_runners.posterior.coordinates import ParameterCoordinates
from ax_jax_runners.posterior.drawing import Density
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.records import EncodedObservation
from ax_jax_runners.posterior.training.program import Weights

PRIORS = {
    "uniform": ParameterSpace(
        [Parameter("a", lower=-3.0, upper=-1.0), Parameter("b", lower=0.0, upper=500.0)]
    ),
    "log-uniform": ParameterSpace(
        [
            Parameter("a", lower=1e-6, upper=1e3, log_scale=True),
            Parameter("b", dist.Exponential(2.0)),
        ]
    ),
    "normal": ParameterSpace(
        [Parameter("a", dist.Normal(0.5, 2.0)), Parameter("b", dist.LogNormal(0.3, 0.4))]
    ),
    "truncated": ParameterSpace(
        [Parameter("a", dist.Normal(0.5, 2.0), lower=0.0), Parameter("b", dist.Beta(2.0, 3.0))]
    ),
    "logistic": ParameterSpace(
        [Parameter("a", dist.Logistic(0.5, 2.0)), Parameter("b", dist.Logistic(-40.0, 0.1))]
    ),
}
#: Where all but 1e-4 of the density of `flow_estimator` lies, in physical units.
WINDOWS = {
    "uniform": ((-3.0, -1.0), (0.0, 500.0)),
    "normal": ((-14.0, 15.0), (1e-6, 14.0)),
    "truncated": ((0.0, 14.0), (0.0, 1.0)),
}
OBSERVATION = EncodedObservation(np.array([0.7, -0.4], np.float32))


def flow_estimator(space: str, prior: ParameterSpace | None, *, base: str = "gaussian") -> Any:
    """An estimator whose flow has weights of no meaning, the same in all spaces."""
    estimator = FlowPosterior(
        2,
        parameter_space=space,
        prior=prior,
        flow=FlowConfiguration(layers=2, width=16, bins=4, bound=5.0, base=base),
        encoder=EncoderConfiguration(embedding_dim=2),
    )
    draws = np.random.default_rng(3)
    fresh = estimator.density
    trainable = jax.tree.map(
        lambda leaf: (leaf + 0.15 * draws.normal(size=leaf.shape)).astype(np.float32),
        fresh.weights.trainable,
    )
    estimator._density = Density(fresh.recipe, Weights(trainable, fresh.weights.fixed))
    return estimator


def coordinates(space: str, prior: ParameterSpace, theta: np.ndarray) -> ParameterCoordinates:
    return ParameterCoordinates.fit(space, prior, theta)


def drawn(prior: ParameterSpace, rows: int) -> np.ndarray:
    return prior.icdf(np.random.default_rng(0).uniform(size=(rows, prior.dimension)))


def integral(estimator: Any, window: Any, space: str | None, points: int = 300) -> float:
    """The density's integral by the midpoint rule."""
    axes, steps = [], []
    for low, high in window:
        step = (high - low) / points
        axes.append(low + step * (np.arange(points) + 0.5))
        steps.append(step)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    found = estimator.log_prob(OBSERVATION, grid, space=space)
    return float(np.exp(found).sum() * steps[0] * steps[1])


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("space", SPACES)
def test_coordinates_there_and_back_are_the_same(space: str, name: str) -> None:
    prior = PRIORS[name]
    theta = drawn(prior, 1000)
    given = coordinates(space, prior, theta)
    y, slope = given.to_flow(theta)
    assert y.dtype == np.float64
    assert np.isfinite(y).all()
    assert slope.shape == (1000,)
    assert np.max(np.abs(given.from_flow(y) / theta - 1.0)) < 1e-6
    values = given.from_flow_to_space(y)
    again, _ = given.to_flow_from_space(values)
    assert np.max(np.abs(again - y) / (1.0 + np.abs(y))) < 1e-6
    assert space != "cube" or (np.all(values > 0) and np.all(values < 1))


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("space", SPACES)
def test_the_slope_of_the_coordinates_is_their_derivative(space: str, name: str) -> None:
    prior = PRIORS[name]
    # Away from the ends, where a difference of probabilities has too few digits.
    u = np.random.default_rng(1).uniform(0.05, 0.95, (64, 2))
    theta, below, above = prior.icdf(u), prior.icdf(u - 1e-5), prior.icdf(u + 1e-5)
    given = coordinates(space, prior, theta)
    # The maps are elementwise: a step of all coordinates at once is one of each.
    rise = given.to_flow(above)[0] - given.to_flow(below)[0]
    measured = np.log(rise / (above - below)).sum(axis=-1)
    np.testing.assert_allclose(given.to_flow(theta)[1], measured, atol=2e-5)
    values = given.from_flow_to_space(given.to_flow(theta)[0])
    near = 1e-5 * np.maximum(values.std(axis=0), 1e-6)
    rise = given.to_flow_from_space(values + near)[0] - given.to_flow_from_space(values - near)[0]
    measured = np.log(rise / (2 * near)).sum(axis=-1)
    np.testing.assert_allclose(given.to_flow_from_space(values)[1], measured, atol=2e-5)


@pytest.mark.parametrize("space", SPACES)
def test_a_description_brings_back_the_same_coordinates(space: str) -> None:
    prior = PRIORS["normal"]
    theta = drawn(prior, 100)
    given = coordinates(space, prior, theta)
    again = ParameterCoordinates.from_description(given.describe(), prior)
    for one, other in zip(given.to_flow(theta), again.to_flow(theta), strict=True):
        np.testing.assert_array_equal(one, other)


def test_outside_the_support_there_is_no_density() -> None:
    prior = PRIORS["truncated"]
    outside = np.array([[-0.1, 0.5], [1.0, 1.5], [1.0, -0.5]])
    for space in ("cube", "unconstrained"):
        slope = coordinates(space, prior, drawn(prior, 10)).to_flow(outside)[1]
        assert np.all(slope == -np.inf)
        estimator = flow_estimator(space, prior)
        assert np.all(estimator.log_prob(OBSERVATION, outside, space="physical") == -np.inf)
    cube = flow_estimator("cube", prior)
    assert np.all(cube.log_prob(OBSERVATION, np.array([[1.1, 0.5], [0.5, -0.1]])) == -np.inf)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("space", SPACES)
def test_coordinates_density_integrates_to_one(space: str, name: str) -> None:
    """In physical units, and in the units of the space itself."""
    estimator = flow_estimator(space, PRIORS[name])
    if space == "physical":
        estimator.coordinates = coordinates(space, PRIORS[name], drawn(PRIORS[name], 1000))
        shift, scale = estimator.coordinates.shift, estimator.coordinates.scale
        window = [(m - 12 * s, m + 12 * s) for m, s in zip(shift, scale, strict=True)]
        assert integral(estimator, window, "physical") == pytest.approx(1.0, abs=0.01)
        return
    assert integral(estimator, WINDOWS[name], "physical") == pytest.approx(1.0, abs=0.01)
    own = ((0.0, 1.0),) * 2 if space == "cube" else ((-12.0, 12.0),) * 2
    assert integral(estimator, own, None) == pytest.approx(1.0, abs=0.01)


def test_the_same_flow_has_the_same_physical_density_in_every_space() -> None:
    """With a logistic prior, logits of probabilities are standardised physical parameters."""
    prior = PRIORS["logistic"]
    theta = drawn(prior, 500)
    found = {space: flow_estimator(space, prior) for space in SPACES}
    found["physical"].coordinates = ParameterCoordinates(
        "physical", 2, prior, np.array([0.5, -40.0]), np.array([2.0, 0.1])
    )
    physical = {
        space: estimator.log_prob(OBSERVATION, theta, space="physical")
        for space, estimator in found.items()
    }
    assert np.isfinite(physical["physical"]).all()
    for space in ("cube", "unconstrained"):
        np.testing.assert_allclose(physical[space], physical["physical"], atol=2e-5)


def test_densities_of_a_space_differ_from_the_physical_one_by_the_slope_of_its_map() -> None:
    prior = PRIORS["truncated"]
    theta = drawn(prior, 200)
    log_prior = prior.log_prior(theta)
    cube, free = flow_estimator("cube", prior), flow_estimator("unconstrained", prior)
    u = prior.cdf(theta)
    # The density of theta is that of u times the prior's, for du = prior(theta) dtheta.
    physical = cube.log_prob(OBSERVATION, theta, space="physical")
    np.testing.assert_allclose(physical, cube.log_prob(OBSERVATION, u) + log_prior, atol=1e-4)
    # dy = du / (u (1 - u)).
    y = np.log(u / (1.0 - u))
    found = free.log_prob(OBSERVATION, y) - np.log(u * (1.0 - u)).sum(axis=-1)
    np.testing.assert_allclose(found, cube.log_prob(OBSERVATION, u), atol=1e-4)


def test_draws_leave_the_support_in_the_physical_space_only() -> None:
    prior = PRIORS["uniform"]
    leaks = {}
    for space in SPACES:
        estimator = flow_estimator(space, prior, base="student_t")
        drawn = estimator.sample_posterior(OBSERVATION, 20_000, 0, space="physical")
        assert drawn.metadata["non_finite"] == 0
        leaks[space] = float(np.mean(~np.isfinite(prior.log_prior(drawn.samples))))
    assert leaks["cube"] == leaks["unconstrained"] == 0.0
    assert leaks["physical"] > 0.3


def test_a_space_that_needs_a_prior_refuses_to_go_without() -> None:
    theta = np.zeros((5, 2))
    with pytest.raises(ConfigurationError, match="needs the prior"):
        ParameterCoordinates.fit("cube", None, theta)
    with pytest.raises(ConfigurationError, match="choose one of physical"):
        ParameterCoordinates.fit("logit", None, theta)
    with pytest.raises(ParameterError, match="free parameters"):
        ParameterCoordinates.fit("cube", PRIORS["normal"], np.zeros((5, 3)))
    whole = ParameterSpace(
        [Parameter("n", lower=1, upper=9, integer=True), Parameter("b", lower=0.0, upper=1.0)]
    )
    with pytest.raises(ParameterError, match="'n' is discrete"):
        ParameterCoordinates.fit("unconstrained", whole, theta)
    assert ParameterCoordinates.fit("physical", whole, theta).space == "physical"


def test_parameters_that_do_not_vary_keep_a_scale_that_can_be_divided_by() -> None:
    given = ParameterCoordinates.fit("physical", None, np.array([[1.0, 2.0], [1.0, 4.0]]))
    np.testing.assert_array_equal(given.scale, [1.0, 1.0])
    np.testing.assert_array_equal(given.to_flow([[1.0, 4.0]])[0], [[0.0, 1.0]])
