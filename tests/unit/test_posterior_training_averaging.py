"""The running mean of the weights: its law, and that it is scored, kept and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import CheckpointConfiguration, OptimiserConfiguration
from ax_jax_runners.posterior.training.averaging import Averaged, blend
from ax_jax_runners.posterior.training.state import TrainingState
from tests.unit.posterior_toys import bits, optimiser, toy_dataset, toy_estimator, weights_of

DECAY, EPOCHS = 0.9, 4


def states_of(decay: float, **groups: Any) -> tuple[Any, list[TrainingState]]:
    """Train the toy; return the estimator and its states after every epoch."""
    seen: list[TrainingState] = []
    given = optimiser(epochs=EPOCHS, average_decay=decay)
    estimator = toy_estimator(optimiser=given, **groups)
    estimator.fit(toy_dataset(), on_epoch=seen.append)
    return estimator, seen


@pytest.fixture(scope="module")
def averaged() -> tuple[Any, list[TrainingState]]:
    return states_of(DECAY)


def test_the_mean_is_that_of_the_last_steps_by_their_age() -> None:
    draws = np.random.default_rng(0)
    weights = draws.normal(size=(200, 3)).astype(np.float32)
    mean = jnp.zeros(3)
    for step, now in enumerate(weights, start=1):
        mean = blend(mean, jnp.asarray(now), jnp.int32(step), jnp.float32(DECAY))
    # Long after the first steps a step of age a counts (1 - decay) * decay^a.
    ages = np.arange(200)[::-1]
    expected = ((1 - DECAY) * DECAY**ages) @ weights
    np.testing.assert_allclose(mean, expected, atol=1e-5)


def test_the_mean_soon_forgets_where_it_began() -> None:
    mean = jnp.full(2, 100.0)
    for step in range(1, 40):
        mean = blend(mean, jnp.ones(2), jnp.int32(step), jnp.float32(0.999))
    # With 0.999 alone 96 % of the beginning would be left.
    np.testing.assert_allclose(mean, 1.0, atol=0.01)


@pytest.mark.slow
def test_the_steps_are_those_without_a_mean(averaged: tuple[Any, list[TrainingState]]) -> None:
    _, with_mean = averaged
    _, without = states_of(0.0)
    for one, other in zip(with_mean, without, strict=True):
        assert bits(one.trainable) == bits(other.trainable)
        assert isinstance(one.moments, Averaged)
        assert not isinstance(other.moments, Averaged)
        assert bits(one.moments.moments) == bits(other.moments)


def test_the_mean_is_what_is_scored_and_kept(averaged: tuple[Any, list[TrainingState]]) -> None:
    estimator, states = averaged
    last = states[-1]
    best = states[int(last.best_epoch[0]) - 1]
    assert bits(last.best) == bits(best.moments.average)
    assert bits(last.best) != bits(best.trainable)
    kept = jax.tree.map(lambda leaf: leaf[0], last.best)
    assert weights_of(estimator) == bits(kept)
    told = estimator.training_artifacts.validation_metrics["validation_nll"]
    assert told == pytest.approx(float(last.best_loss[0]), abs=1e-6)


def test_a_training_that_was_cut_off_goes_on_with_its_mean(
    tmp_path: Path, averaged: tuple[Any, list[TrainingState]]
) -> None:
    def cut_off(state: TrainingState) -> None:
        if state.epoch[0] == 2:
            raise KeyboardInterrupt

    given = optimiser(epochs=EPOCHS, average_decay=DECAY)

    def training(*, resume: bool) -> Any:
        kept = CheckpointConfiguration(directory=str(tmp_path / "kept"), resume=resume)
        return toy_estimator(optimiser=given, checkpoint=kept)

    with pytest.raises(KeyboardInterrupt):
        training(resume=False).fit(toy_dataset(), on_epoch=cut_off)
    again = training(resume=True)
    again.fit(toy_dataset())
    assert weights_of(again) == weights_of(averaged[0])


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), "much"])
def test_a_decay_that_is_none_is_refused(decay: Any) -> None:
    with pytest.raises(ConfigurationError, match="average_decay"):
        OptimiserConfiguration(average_decay=decay)
