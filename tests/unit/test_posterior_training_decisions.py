"""What is decided between two epochs, with epochs whose losses are given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.posterior.configuration import OptimiserConfiguration, StabilityConfiguration
from ax_jax_runners.posterior.objectives import NeuralPosterior
from ax_jax_runners.posterior.training.history import Ending
from ax_jax_runners.posterior.training.outcome import kept_weights
from ax_jax_runners.posterior.training.program import EpochRecord, Weights
from ax_jax_runners.posterior.training.rows import Rows, TrainingData
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer

NAN, INF = math.nan, math.inf
DATA = TrainingData(Rows(None, None), Rows(None, None), np.zeros(4), 0.0, {})


@dataclass(frozen=True)
class GivenEpochs:
    """Programs of epochs whose losses are given; the weight is the number of the epoch.

    Attributes:
        losses: (arms, epochs).
        closures: (arms, epochs, 3).
        skipped: (arms, epochs).
    """

    losses: np.ndarray
    closures: np.ndarray
    skipped: np.ndarray

    def first_weights(self, key: np.ndarray) -> Weights:
        return Weights({"w": np.zeros(len(key), np.float32)}, None)

    def first_moments(self, trainable: Any) -> Any:
        return {"m": np.zeros_like(trainable["w"])}

    def epoch(self, trainable: Any, fixed: Any, moments: Any, *others: Any) -> Any:
        number = np.asarray(others[2])
        arms = np.arange(len(number))
        loss = np.repeat(self.losses[arms, number][:, None], 4, axis=1)
        zeros = np.zeros(len(arms))
        told = EpochRecord(
            zeros, loss, loss, self.closures[arms, number], zeros, zeros, self.skipped[arms, number]
        )
        return {"w": jnp.asarray(trainable["w"] + 1)}, {"m": jnp.asarray(moments["m"] + 2)}, told


@dataclass(frozen=True)
class GivenTrainer(Trainer):
    """A trainer of such epochs."""

    given: GivenEpochs | None = None

    @property
    def program(self) -> Any:
        return self.given


def trainer_of(
    losses: Sequence[Sequence[float]],
    *,
    closures: Any = None,
    skipped: Any = None,
    stability: StabilityConfiguration | None = None,
    **optimisers: Any,
) -> GivenTrainer:
    """A trainer of an arm for each sequence; lists of an option have a value for each."""
    found = np.array(losses, float)
    # Epochs after the last one are asked for by arms that have ended, and count for nothing.
    padded = np.concatenate([found, np.full((len(found), 1), -99.0)], axis=1)
    shape = padded.shape
    errors = np.zeros((*shape, 3))
    lost = np.zeros(shape)
    if closures is not None:
        errors[:, :-1] = closures
    if skipped is not None:
        lost[:, :-1] = skipped
    arms = tuple(
        Settings(
            OptimiserConfiguration(
                **{
                    "epochs": found.shape[1],
                    **{
                        name: value[arm] if isinstance(value, list) else value
                        for name, value in optimisers.items()
                    },
                }
            ),
            stability=stability or StabilityConfiguration(),
        )
        for arm in range(len(found))
    )
    return GivenTrainer(None, NeuralPosterior(), arms, GivenEpochs(padded, errors, lost))  # type: ignore[arg-type]


def run(trainer: Trainer) -> TrainingState:
    state = trainer.begin(np.zeros((len(trainer.arms), 2), np.uint32))
    while state.running.any():
        state = trainer.advance(state, DATA)
    return state


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_early_stopping_comes_patience_epochs_after_the_last_improvement(patience: int) -> None:
    losses = [3.0, 2.0, 1.0] + [1.5] * 10
    state = run(trainer_of([losses], patience=patience))
    assert state.epoch[0] == 3 + patience
    assert state.best_epoch[0] == 3
    assert state.best_loss[0] == 1.0
    assert state.ending[0] == Ending.PATIENCE
    # The weight of an epoch is its number: those of the best are there, not the last ones.
    assert kept_weights(state).trainable["w"] == 3
    assert state.trainable["w"][0] == 3 + patience
    np.testing.assert_array_equal(state.column("validation_loss"), losses[: 3 + patience])


def test_early_stopping_counts_from_the_last_improvement_and_not_from_the_first() -> None:
    losses = [3.0, 3.1, 3.1, 2.9, 3.0, 3.0, 2.8, 2.9, 2.9, 2.9, 2.0, 1.0]
    state = run(trainer_of([losses], patience=3))
    assert (state.epoch[0], state.best_epoch[0]) == (10, 7)


def test_early_stopping_min_delta_is_what_counts_as_improvement() -> None:
    # Each is better than the one before by 0.04, and every third by more than 0.1 than the best.
    losses = [2.0 - 0.04 * epoch for epoch in range(12)]
    every = run(trainer_of([losses], patience=2))
    assert (every.epoch[0], every.best_epoch[0]) == (12, 12)
    assert every.ending[0] == Ending.EPOCHS
    some = run(trainer_of([losses], patience=3, min_delta=0.1))
    assert some.epoch[0] == 12
    assert some.best_epoch[0] == 10
    none = run(trainer_of([losses], patience=2, min_delta=0.1))
    assert (none.epoch[0], none.best_epoch[0]) == (3, 1)
    equal = run(trainer_of([[1.0] * 9], patience=4))
    assert (equal.epoch[0], equal.best_epoch[0]) == (5, 1)


def test_without_patience_all_epochs_are_trained() -> None:
    state = run(trainer_of([[1.0] + [2.0] * 20]))
    assert state.epoch[0] == 21
    assert state.ending[0] == Ending.EPOCHS
    assert kept_weights(state).trainable["w"] == 1


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    state = run(trainer_of([[NAN, 2.0, NAN, INF, -INF, 1.0, NAN]]))
    assert state.best_epoch[0] == 6
    assert state.epoch[0] == 7


def test_a_training_that_lost_steps_to_a_loss_without_a_value_has_diverged() -> None:
    losses, skipped = [[2.0, 1.0, NAN, 0.5]], [[0, 3, 12, 0]]
    state = run(trainer_of(losses, skipped=skipped))
    assert state.ending[0] == Ending.DIVERGED
    assert (state.epoch[0], state.best_epoch[0]) == (3, 2)
    np.testing.assert_array_equal(state.column("skipped_steps"), [0, 3, 12])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_stability_an_epoch_above_a_threshold_is_never_the_best(place: int) -> None:
    names = ("inverse_error", "log_det_closure", "edge_hit_rate")
    closures = np.zeros((1, 4, 3))
    closures[0, 1, place] = 1e-2
    closures[0, 3, place] = NAN
    losses = [[3.0, 1.0, 2.0, 0.5]]
    strict = run(trainer_of(losses, closures=closures))
    assert strict.best_epoch[0] == 3
    np.testing.assert_array_equal(strict.column("sound"), [1.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(strict.column(names[place]), closures[0, :, place])
    free = run(trainer_of(losses, closures=closures, stability=limits(names[place], None)))
    assert free.best_epoch[0] == 4
    exact = run(trainer_of(losses, closures=closures, stability=limits(names[place], 1e-2)))
    assert exact.best_epoch[0] == 2
    none = run(trainer_of(losses, closures=np.full((1, 4, 3), 1e-2)))
    assert none.best_epoch[0] == 0


def limits(name: str, value: float | None) -> StabilityConfiguration:
    return dataclasses.replace(StabilityConfiguration(), **{name: value})


def test_stability_a_physical_space_has_no_cube_whose_edges_could_be_hit() -> None:
    closures = np.zeros((1, 2, 3))
    closures[..., 2] = 0.5
    trainer = trainer_of([[2.0, 1.0]], closures=closures)
    for has_edges, best in ((True, 0), (False, 2)):
        state = trainer.begin(np.zeros((1, 2), np.uint32))
        for _ in range(2):
            state = trainer.advance(state, dataclasses.replace(DATA, has_edges=has_edges))
        assert state.best_epoch[0] == best
        assert state.column("edge_hit_rate").tolist() == [0.5 * has_edges] * 2


def test_stability_without_a_sound_epoch_the_last_weights_are_kept_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = run(trainer_of([[3.0, 2.0, 1.0]], closures=np.full((1, 3, 3), 1e-2)))
    assert kept_weights(state).trainable["w"] == 3
    assert "No epoch passed the stability thresholds" in caplog.text


def test_arms_end_each_at_its_own_time_and_stay_as_they_were() -> None:
    losses = [[3.0, 2.0, 1.0, 0.5, 0.4, 0.3], [1.0, 2.0, 2.0, 0.1, 0.1, 0.1], [2.0] * 6]
    trainer = trainer_of(losses, patience=[None, 2, None], epochs=[6, 6, 2])
    state = run(trainer)
    assert state.epoch.tolist() == [6, 3, 2]
    assert state.best_epoch.tolist() == [6, 1, 1]
    assert state.best_loss.tolist() == [0.3, 1.0, 2.0]
    assert state.ending.tolist() == [Ending.EPOCHS, Ending.PATIENCE, Ending.EPOCHS]
    assert np.asarray(state.trainable["w"]).tolist() == [6, 3, 2]
    assert np.asarray(state.moments["m"]).tolist() == [12, 6, 4]
    assert [float(kept_weights(state, arm).trainable["w"]) for arm in range(3)] == [6, 1, 1]
    assert np.isnan(state.history[1, 3:]).all()
    assert np.isfinite(state.history[0, :, 0]).all()


def test_losses_are_told_in_physical_units_with_their_standard_error() -> None:
    trainer = trainer_of([[1.5]])
    data = dataclasses.replace(DATA, log_slope=np.array([0.5, 1.0, 1.5, 2.0]), training_log_slope=3)
    state = trainer.advance(trainer.begin(np.zeros((1, 2), np.uint32)), data)
    score = 1.5 - data.log_slope
    assert state.column("validation_nll")[0] == pytest.approx(score.mean())
    assert state.column("validation_loss")[0] == pytest.approx(score.mean())
    assert state.column("validation_sem")[0] == pytest.approx(score.std(ddof=1) / 2.0)
    assert state.column("train_loss")[0] == pytest.approx(-3.0)


def test_more_epochs_let_an_arm_go_on_that_had_come_to_its_last() -> None:
    losses = [[3.0, 2.0, 1.0, 0.5, 0.4, 0.3]]
    short = run(dataclasses.replace(trainer_of(losses), arms=trainer_of([losses[0][:3]]).arms))
    assert (short.epoch[0], short.ending[0]) == (3, Ending.EPOCHS)
    longer = trainer_of(losses)
    state = short.with_epochs(6)
    while state.running.any():
        state = longer.advance(state, DATA)
    straight = run(longer)
    np.testing.assert_array_equal(state.history, straight.history)
    assert state.best_epoch[0] == 6


def test_fewer_epochs_than_are_done_leave_those_that_are_done() -> None:
    state = run(trainer_of([[3.0, 2.0, 1.0, 0.5]])).with_epochs(2)
    assert state.ending[0] == Ending.EPOCHS
    np.testing.assert_array_equal(state.column("validation_loss"), [3.0, 2.0, 1.0, 0.5])
    trainer = trainer_of([[3.0, 2.0, 1.0, 0.5]])
    state = trainer.begin(np.zeros((1, 2), np.uint32))
    for _ in range(3):
        state = trainer.advance(state, DATA)
    cut = state.with_epochs(2)
    assert not cut.running.any()
    assert len(cut.column("validation_loss")) == 3


def test_more_patience_lets_an_arm_go_on_that_had_run_out_of_it() -> None:
    losses = [[1.0, 2.0, 2.0, 2.0, 0.5, 0.4]]
    state = run(trainer_of(losses, patience=2))
    assert (state.epoch[0], state.ending[0]) == (3, Ending.PATIENCE)
    assert not state.with_epochs(6, patience=2).running.any()
    for patience in (None, 4):
        assert state.with_epochs(6, patience=patience).running.all()
    longer = trainer_of(losses, patience=4)
    again = state.with_epochs(6, patience=4)
    while again.running.any():
        again = longer.advance(again, DATA)
    np.testing.assert_array_equal(again.history, run(longer).history)
    diverged = run(trainer_of([[1.0, NAN]], skipped=[[0, 2]], epochs=2))
    assert not diverged.with_epochs(9).running.any()
