"""Velocity fields: how exactly they are followed, and their densities."""

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior import (
    EncoderConfiguration,
    FlowMatching,
    FlowMatchingConfiguration,
    OptimiserConfiguration,
)
from ax_jax_runners.posterior.flow_matching import FlowMatchingModel, VelocityRegression
from ax_jax_runners.posterior.training.rows import Rows
from ax_jax_runners.problems.sbi import GaussianLinear
from tests.unit.posterior_simulations import gaussian_simulations

STEPS = (8, 16, 32, 64)
NOISE = np.array([0.7, -0.4])


class Riccati(eqx.Module):
    """dx/dt = x^2 cos t, whose solutions are 1 / (1 / x(0) - sin t)."""

    def __call__(self, state: Array, time: Array, embedding: Array) -> Array:
        return state**2 * jnp.cos(time)


def riccati(steps: int, scale: float = 1.0) -> FlowMatchingModel:
    return FlowMatchingModel(None, Riccati(), scale, steps)  # pyright: ignore[reportArgumentType]


def ratios(errors: list[float]) -> list[float]:
    return [one / other for one, other in itertools.pairwise(errors)]


def test_a_field_is_followed_to_second_order() -> None:
    end = 1.0 / (1.0 / NOISE - np.sin(1.0))
    with jax.enable_x64(True):
        found = [riccati(n).follow(jnp.asarray(NOISE), jnp.zeros(1)) for n in STEPS]
    errors = [float(np.abs(np.asarray(y) - end).max()) for y in found]
    assert errors[0] > 1e-3
    np.testing.assert_allclose(ratios(errors), 4.0, rtol=0.15)


@pytest.mark.parametrize("scale", [1.0, 1.8])
def test_a_density_is_followed_to_second_order(scale: float) -> None:
    end = 1.0 / (1.0 / NOISE - np.sin(1.0))
    wanted = -0.5 * (NOISE @ NOISE) - np.log(2.0 * np.pi)
    wanted += np.log(NOISE**2 / end**2).sum() - 2.0 * np.log(scale)
    with jax.enable_x64(True):
        y = jnp.asarray(scale * end)
        found = [float(riccati(n, scale).log_prob(y, jnp.zeros(1))) for n in STEPS]
    errors = [abs(value - wanted) for value in found]
    assert errors[0] > 1e-3
    np.testing.assert_allclose(ratios(errors), 4.0, rtol=0.2)


def test_a_field_at_rest_leaves_the_noise() -> None:
    field = FlowMatchingConfiguration(width=4, layers=1, integration_steps=2)
    estimator = FlowMatching(3, parameter_space="physical", field=field, seed=2)
    encoded = estimator.encode_observation([1.0, 2.0])
    drawn = estimator.sample_posterior(encoded, 2000).samples
    assert np.abs(drawn.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(drawn.std(axis=0), 1.0, atol=0.06)
    wanted = -0.5 * (drawn**2).sum(axis=1) - 1.5 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(estimator.log_prob(encoded, drawn), wanted, atol=1e-4)


class Straight(eqx.Module):
    """The velocity that is right for a single end point."""

    end: Array

    def __call__(self, state: Array, time: Array, embedding: Array) -> Array:
        return (self.end - state) / (1.0 - time)


class Carrier(eqx.Module):
    field: Straight
    scale: float = eqx.field(static=True)

    def embed(self, row: Any) -> Array:
        return jnp.zeros(1)


def test_the_right_velocity_has_no_loss() -> None:
    row = Rows(jnp.asarray([0.5, -1.5], jnp.float32), None)
    objective = VelocityRegression()

    @jax.jit
    def losses(end: Array, key: Array) -> Array:
        model = Carrier(Straight(end), 2.0)
        training = objective.training_loss(model, row, key, {})
        return jnp.stack([training, objective.validation_loss(model, row, key)])

    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 4)
        each = jax.vmap(losses, in_axes=(None, 0))
        right, wrong = each(row.y / 2.0, keys), each(row.y, keys)
    assert np.max(right) < 1e-6
    assert np.min(wrong) > 0.1


@pytest.mark.parametrize(("exponent", "mean"), [(0.0, 1 / 2), (1.0, 2 / 3), (4.0, 5 / 6)])
def test_late_times_are_drawn_more_often(exponent: float, mean: float) -> None:
    """The density (a + 1) t^a has the mean (a + 1) / (a + 2)."""

    class Told(eqx.Module):
        def __call__(self, state: Array, time: Array, embedding: Array) -> Array:
            return jnp.full(state.shape, jnp.sqrt(time))

    objective = VelocityRegression(exponent)

    def times(key: Array) -> Array:
        # With nothing but the time in field and target, the loss is the time.
        class Silent(eqx.Module):
            field: Told = Told()
            scale: float = eqx.field(static=True, default=1.0)

            def embed(self, row: Any) -> Array:
                return jnp.zeros(1)

        on_noise = jax.random.split(key)[1]
        end = jax.random.normal(on_noise, (1,), jnp.float32)
        return objective.training_loss(Silent(), Rows(end, None), key, {})

    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 4000)
        found = np.asarray(jax.jit(jax.vmap(times))(keys))
    assert found.mean() == pytest.approx(mean, abs=0.015)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"layers": 1.5}, {"integration_steps": True}, {"time_exponent": -1.0}],
)
def test_a_field_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))} is .*; give a"):
        FlowMatchingConfiguration(**wrong)


@pytest.mark.slow
def test_the_log_density_of_a_gaussian_is_exact_within_a_twentieth_of_a_nat() -> None:
    problem = GaussianLinear(2)
    estimator = FlowMatching(
        2,
        field=FlowMatchingConfiguration(width=64, layers=3),
        encoder=EncoderConfiguration(vector_depth=0),
        optimiser=OptimiserConfiguration(batch_size=200, epochs=150, learning_rate=2e-3),
    )
    artifacts = estimator.fit(gaussian_simulations(2, 20_000))
    differences = []
    for seed in range(8):
        _, seen = problem.observe(seed)
        reference = problem.reference_posterior(seen, 1000, seed=seed)
        exact = -np.log(2 * np.pi * 0.05) - 0.5 * ((reference - seen / 2) ** 2).sum(axis=1) / 0.05
        encoded = estimator.encode_observation(seen)
        found = estimator.log_prob(encoded, reference, space="physical")
        differences.append(exact.mean() - found.mean())
    assert abs(np.mean(differences)) < 0.05
    # The whole validation set is scored, in physical units: half an entropy of the posterior each.
    entropy = np.log(2 * np.pi * np.e * 0.05)
    assert artifacts.validation_metrics["validation_nll"] == pytest.approx(entropy, abs=0.1)
