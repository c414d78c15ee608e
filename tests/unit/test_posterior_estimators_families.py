"""Every family learns one parameter, and its densities are those of its draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.posterior import (
    ArrayDataset,
    ConditionalFlowPosterior,
    FlowMatchingPosterior,
)
from tests.unit.posterior_simulations import SMALL_FIELD, gaussian_simulations

pytestmark = pytest.mark.slow

FAMILIES = ("spline", "affine", "autoregressive", "neural_autoregressive", "flow_matching")
DRAWS = 4000
SQUARE = ParameterSpace([Parameter(name, lower=-1.0, upper=1.0) for name in ("a", "b")])
VARIANCE = 0.05
"""Of the posterior of the Gaussian benchmark, whose mean is half the observation."""


@pytest.fixture(scope="module", params=FAMILIES)
def estimator(request: pytest.FixtureRequest) -> Any:
    if request.param == "flow_matching":
        made = FlowMatchingPosterior(1, num_epochs=10, **SMALL_FIELD)
    else:
        made = ConditionalFlowPosterior(
            1,
            embedding_dim=4,
            hidden_dim=16,
            num_coupling_layers=2,
            conditioner_depth=1,
            autoregressive_transform_units=4,
            flow_family=request.param,
            num_epochs=10,
            learning_rate=5e-3,
        )
    made.fit(gaussian_simulations(1, 800))
    return made


def test_one_parameter_is_learned(estimator: Any) -> None:
    artifacts = estimator.training_artifacts
    losses = artifacts.history["validation_loss"]
    assert len(losses) == 10
    assert np.isfinite(losses).all()
    if isinstance(estimator, ConditionalFlowPosterior):
        family = estimator.flow.family
        assert estimator.effective_flow_family == family == estimator.model.flow.effective_family
    assert artifacts.metadata["sound"] is True
    # The prior alone is worth so many nats, the exact posterior 0.35 fewer.
    prior = 0.5 * np.log(2.0 * np.pi * np.e * 0.1)
    assert artifacts.validation_metrics["validation_nll"] < prior - 0.1


def test_draws_of_one_parameter_follow_the_observation(estimator: Any) -> None:
    x = np.array([[-0.6], [0.0], [0.6]])
    drawn = estimator.draw(x, 500)
    assert drawn.shape == (3, 500, 1)
    means = drawn.mean(axis=(1, 2))
    assert (np.diff(means) > 0.15).all()
    np.testing.assert_allclose(means, x[:, 0] / 2, atol=0.12)
    np.testing.assert_allclose(drawn.std(axis=(1, 2)), np.sqrt(VARIANCE), rtol=0.35)


def test_the_density_of_one_parameter_integrates_to_one_and_is_that_of_draws(
    estimator: Any,
) -> None:
    encoded = estimator.encode_observation([0.4])
    grid = np.linspace(-12.0, 12.0, 4001)[:, None]
    density = np.exp(estimator.log_prob(encoded, grid))
    step = grid[1, 0] - grid[0, 0]
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1])) * step])
    assert below[-1] == pytest.approx(1.0, abs=0.01)
    drawn = np.sort(estimator.sample_posterior(encoded, DRAWS, 5).samples[:, 0])
    ranks = (np.arange(DRAWS) + 0.5) / DRAWS
    difference = np.abs(np.interp(drawn, grid[:, 0], below) - ranks).max()
    # Kolmogorov's distance; one in a thousand true ones is larger.
    assert difference < 1.95 / np.sqrt(DRAWS)


@pytest.mark.slow
def test_an_affine_flow_finds_the_mean_and_the_width_of_a_gaussian() -> None:
    made = ConditionalFlowPosterior(
        2,
        flow_family="affine",
        # Where the posterior is one of the family.
        parameter_space="physical",
        embedding_dim=16,
        hidden_dim=32,
        num_coupling_layers=4,
        batch_size=200,
        num_epochs=15,
        learning_rate=3e-3,
        use_cosine_schedule=True,
    )
    made.fit(gaussian_simulations(2, 20_000))
    x = np.array([[0.3, -0.2], [0.0, 0.0], [-0.4, 0.5]])
    drawn = made.draw(x, 20_000)
    np.testing.assert_allclose(drawn.mean(axis=1), x / 2, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=1), np.sqrt(VARIANCE), rtol=0.05)


def test_a_base_that_shifts_learns_shifted_data_in_fewer_epochs() -> None:
    rng = np.random.default_rng(0)
    theta = rng.uniform(-1.0, 1.0, (3000, 2))
    dataset = ArrayDataset(theta, theta + 0.05 * rng.standard_normal(theta.shape), space=SQUARE)

    def losses(shifts: bool) -> np.ndarray:
        made = ConditionalFlowPosterior(
            2,
            flow_family="affine",
            parameter_space="unconstrained",
            use_base_affine=shifts,
            embedding_dim=8,
            hidden_dim=16,
            num_coupling_layers=2,
            batch_size=100,
            num_epochs=20,
            learning_rate=3e-3,
        )
        return np.asarray(made.fit(dataset).history["validation_nll"])

    reached = np.flatnonzero(losses(True) <= losses(False).min())
    # Seen: 8 epochs for 17.
    assert len(reached)
    assert reached[0] + 1 <= 13
