"""Noise that training adds to observations and parameters, and flows that are not sound."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.posterior.configuration import (
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.datasets import ArrayDataset, gather
from ax_jax_runners.posterior.drawing import key_data
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.objectives import NeuralPosterior
from ax_jax_runners.posterior.training.history import COLUMNS
from ax_jax_runners.posterior.training.outcome import kept_weights
from ax_jax_runners.posterior.training.preparation import prepare
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer
from tests.unit.posterior_toys import (
    SPACE,
    bits,
    optimiser,
    simulate,
    toy_dataset,
    toy_estimator,
    weights_of,
)

pytestmark = pytest.mark.slow

#: Less than the least number of float32, in which programs have it: to the host more than nothing.
ZERO = 1e-60


def trained(dataset: Any, epochs: int = 3, rate: float = 5e-3, **noise: float) -> FlowPosterior:
    estimator = toy_estimator(
        optimiser=optimiser(
            epochs=epochs, learning_rate=rate, min_learning_rate=0.0, schedule_epochs=float(epochs)
        ),
        regularisation=RegularisationConfiguration(**noise),
    )
    estimator.fit(dataset)
    return estimator


def history(estimator: FlowPosterior, name: str) -> list[float]:
    assert estimator.training_artifacts is not None
    return estimator.training_artifacts.history[name]


def test_noise_of_zero_changes_no_bit() -> None:
    dataset = toy_dataset()
    plain = trained(dataset)
    # A floor is a share of noise that there is not.
    floor = trained(dataset, observation_noise_floor=0.5)
    assert weights_of(floor) == weights_of(plain)
    nothing = trained(dataset, observation_noise=ZERO, parameter_noise=ZERO)
    assert weights_of(nothing) == weights_of(plain)
    for name in ("train_loss", "validation_nll", "gradient_norm"):
        assert history(nothing, name) == history(floor, name) == history(plain, name)
    noisy = trained(dataset, observation_noise=0.1, parameter_noise=0.1)
    assert weights_of(noisy) != weights_of(plain)


def test_observation_noise_and_parameter_noise_are_off_in_validation() -> None:
    """Steps of length 0 from trained weights: whatever differs is the data."""
    estimator = trained(toy_dataset(), 10)
    prepared = prepare(gather(toy_dataset(), seed=0), space="unconstrained", prior=SPACE)
    weights = jax.tree.map(lambda leaf: leaf[None], estimator.density.weights.trainable)

    def told(**noise: float) -> dict[str, float]:
        still = optimiser(learning_rate=ZERO, min_learning_rate=0.0)
        settings = Settings(still, RegularisationConfiguration(**noise))
        trainer = Trainer(estimator.recipe(prepared.schema), NeuralPosterior(), (settings,))
        state = dataclasses.replace(trainer.begin(key_data(0)[None]), trainable=weights)
        after = trainer.advance(state, prepared.data)
        assert bits(after.trainable) == bits(weights)
        return {name: float(after.column(name)[0]) for name in COLUMNS}

    plain = told()
    on_data = told(observation_noise=1.0, parameter_noise=ZERO)
    on_targets = told(observation_noise=ZERO, parameter_noise=2.0)
    for name in ("validation_nll", "validation_loss", "validation_sem"):
        assert plain[name] == on_data[name] == on_targets[name]
    assert on_data["train_loss"] > plain["train_loss"] + 0.1
    assert on_targets["train_loss"] > plain["train_loss"] + 0.1


def test_parameter_noise_floor_is_the_least_width_of_a_posterior() -> None:
    """A simulator without noise: the exact posterior is a point."""
    theta, _ = simulate()
    dataset = ArrayDataset(theta, theta, space=SPACE)
    floor, spreads = 0.4, {}
    for noise in (1e-3, floor):
        found = trained(dataset, 80, observation_noise=ZERO, parameter_noise=noise)
        at = np.array([[-0.6, 0.5], [0.0, 0.0], [0.3, -0.7]])
        drawn = found.draw(at, 4000, space="unconstrained")
        spreads[noise] = drawn.std(axis=1)
    print("widths by floor", spreads)
    # Each is learned within some per cent, and their mean better.
    assert spreads[floor].min() > 0.93 * floor
    assert spreads[floor].mean() == pytest.approx(floor, rel=0.03)
    assert spreads[floor].max() < 1.4 * floor
    assert np.median(spreads[1e-3]) < 0.75 * floor


# ---------------------------------------------------------------------- flows that are not sound


class ShiftedFlow(eqx.Module):
    """A Gaussian about the embedding, whose way back errs by what it is told to."""

    width: jax.Array
    value_error: float = eqx.field(static=True)
    closure_error: float = eqx.field(static=True)

    def to_base(self, y: Any, embedding: Any) -> tuple[Any, Any]:
        return (y - embedding) * jnp.exp(-self.width), -self.width.sum()

    def from_base(self, u: Any, embedding: Any) -> tuple[Any, Any]:
        y = u * jnp.exp(self.width) + embedding
        return y + self.value_error, self.width.sum() + self.closure_error


class ShiftedModel(eqx.Module):
    """Such a flow without an encoder."""

    flow: ShiftedFlow
    drawn: float = eqx.field(static=True)

    def embed(self, row: Any) -> Any:
        return row["vector"]["values"]

    def log_prob(self, y: Any, embedding: Any) -> Any:
        u, slope = self.flow.to_base(y, embedding)
        return -0.5 * (u @ u) - np.log(2 * np.pi) + slope

    def sample(self, key: Any, embedding: Any) -> Any:
        return self.drawn + embedding


@dataclass(frozen=True)
class ShiftedRecipe:
    """Of a model with some errors."""

    value_error: float = 0.0
    closure_error: float = 0.0
    drawn: float = 0.0

    def build(self, key: Any) -> ShiftedModel:
        flow = ShiftedFlow(jnp.zeros(2, jnp.float32), self.value_error, self.closure_error)
        return ShiftedModel(flow, self.drawn)


@dataclass(frozen=True)
class PlainDensity(NeuralPosterior):
    """Minus the log density, of a model that has one."""

    def training_loss(self, model: Any, row: Any, key: Any, scales: Any) -> Any:
        return -model.log_prob(row.y, model.embed(row.observation))


@pytest.mark.parametrize(
    ("errors", "column", "expected", "limit"),
    [
        ({}, "log_det_closure", 0.0, "log_det_closure"),
        ({"closure_error": 1e-2}, "log_det_closure", 1e-2, "log_det_closure"),
        ({"value_error": 1e-2}, "inverse_error", 1e-2, "inverse_error"),
        ({"drawn": 50.0}, "edge_hit_rate", 1.0, "edge_hit_rate"),
        ({"drawn": -50.0}, "edge_hit_rate", 1.0, "edge_hit_rate"),
    ],
)
def test_stability_a_flow_that_errs_is_never_the_best(
    errors: dict[str, float], column: str, expected: float, limit: str
) -> None:
    prepared = prepare(gather(toy_dataset(), seed=0), space="unconstrained", prior=SPACE)

    def run(stability: StabilityConfiguration) -> TrainingState:
        settings = Settings(optimiser(epochs=2), stability=stability)
        trainer = Trainer(ShiftedRecipe(**errors), PlainDensity(), (settings,))
        state = trainer.begin(key_data(0)[None])
        while state.running.any():
            state = trainer.advance(state, prepared.data)
        return state

    state = run(StabilityConfiguration())
    np.testing.assert_allclose(state.column(column), expected, atol=1e-5)
    assert state.column("validation_loss")[1] < state.column("validation_loss")[0]
    assert state.best_epoch[0] == (0 if errors else 2)
    assert state.column("sound").tolist() == [0.0 if errors else 1.0] * 2
    if errors:
        # Not even the weights of the beginning are kept: they are not sound either.
        assert bits(kept_weights(state).trainable) == bits(state.trainable)
    assert run(StabilityConfiguration(**{limit: None})).best_epoch[0] == 2
    assert run(StabilityConfiguration(**{limit: 1.0})).best_epoch[0] == 2


def test_cube_edge_hit_rate_of_a_healthy_flow_is_zero() -> None:
    found = trained(toy_dataset())
    assert history(found, "edge_hit_rate") == [0.0] * 3
    assert max(history(found, "inverse_error")) < 1e-4
    assert max(history(found, "log_det_closure")) < 1e-4
    assert history(found, "sound") == [1.0] * 3
    _, x = simulate(2)
    drawn = found.draw(x[:50], 200, space="unconstrained").astype(np.float32)
    assert np.all(1.0 / (1.0 + np.exp(-np.abs(drawn))) < 1.0)


def test_traced_hyperparameters_of_noise_share_the_compiled_programs() -> None:
    dataset = toy_dataset()
    trained(dataset, observation_noise=0.1, parameter_noise=0.1)
    found: list[str] = []

    def listen(event: str, duration: float, **others: Any) -> None:
        if "backend_compile" in event:
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        one = trained(dataset, observation_noise=0.2, parameter_noise=0.1)
        other = trained(
            dataset, observation_noise=0.2, observation_noise_floor=0.3, parameter_noise=0.4
        )
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert weights_of(one) != weights_of(other)
    assert found == []
