"""Training epoch by epoch: the compiled programs, and what is decided between two of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.posterior.configuration import (
    OptimiserConfiguration,
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.objectives.protocol import Objective
from ax_jax_runners.posterior.training.at_once import learned_at_once
from ax_jax_runners.posterior.training.averaging import evaluated
from ax_jax_runners.posterior.training.history import COLUMNS, Ending
from ax_jax_runners.posterior.training.program import (
    EpochRecord,
    Plan,
    Recipe,
    TrainingProgram,
    training_program,
)
from ax_jax_runners.posterior.training.rows import TrainingData
from ax_jax_runners.posterior.training.scales import scales_of
from ax_jax_runners.posterior.training.state import TrainingState


@dataclass(frozen=True)
class Settings:
    """The numbers of one arm's training.

    Attributes:
        optimiser: Of arms that train together, with one batch size, averaging all or none.
        regularisation: Of arms that train together, with noise all or none.
        stability: When an epoch may be kept.
    """

    optimiser: OptimiserConfiguration = field(default_factory=OptimiserConfiguration)
    regularisation: RegularisationConfiguration = field(default_factory=RegularisationConfiguration)
    stability: StabilityConfiguration = field(default_factory=StabilityConfiguration)

    @property
    def plan(self) -> Plan:
        """What of it decides the program."""
        return Plan(
            self.optimiser.batch_size,
            observation_noise=self.regularisation.observation_noise > 0,
            parameter_noise=self.regularisation.parameter_noise > 0,
            averaging=self.optimiser.average_decay > 0,
        )


@dataclass(frozen=True)
class Trainer:
    """Trains arms of one structure side by side, each as it would alone in as many lanes.

    Attributes:
        recipe: The model's structure.
        objective: What is minimised.
        arms: Settings of each arm.
    """

    recipe: Recipe
    objective: Objective
    arms: tuple[Settings, ...]

    @property
    def program(self) -> TrainingProgram:
        """The compiled programs."""
        return training_program(self.recipe, self.objective, self.arms[0].plan)

    def begin(self, key: np.ndarray) -> TrainingState:
        """Return the state before the first epoch.

        Args:
            key: (A, 2) uint32, data of the arms' keys.
        """
        arms = len(self.arms)
        epochs = max(settings.optimiser.epochs for settings in self.arms)
        with jax.enable_x64(False):
            weights = self.program.first_weights(key)
            moments = jax.tree.map(np.asarray, self.program.first_moments(weights.trainable))
        return TrainingState(
            trainable=weights.trainable,
            fixed=weights.fixed,
            moments=moments,
            best=weights.trainable,
            key=np.asarray(key, np.uint32),
            epoch=np.zeros(arms, np.int32),
            best_epoch=np.zeros(arms, np.int32),
            best_loss=np.full(arms, np.inf),
            stale=np.zeros(arms, np.int32),
            ending=np.zeros(arms, np.int32),
            history=np.full((arms, epochs, len(COLUMNS)), np.nan),
        )

    def advance(self, state: TrainingState, data: TrainingData) -> TrainingState:
        """Return the state after one more epoch of every arm that goes on."""
        state = dataclasses.replace(state, fixed=learned_at_once(state, data.training))
        going = state.running
        scales = scales_of([(arm.optimiser, arm.regularisation) for arm in self.arms])
        with jax.enable_x64(False):
            trainable, moments, told = self.program.epoch(
                state.trainable,
                state.fixed,
                state.moments,
                scales,
                state.key,
                state.epoch,
                data.training,
                data.validation,
                data.typical,
            )
            told = EpochRecord(*(np.asarray(leaf, np.float64) for leaf in told))
            rows = [self._row(arm, told, data) for arm in range(len(self.arms))]
            better = np.array(
                [
                    _improves(row, state.best_loss[arm], self.arms[arm].optimiser)
                    for arm, row in enumerate(rows)
                ]
            )
            trainable = _chosen(going, trainable, state.trainable)
            moments = _chosen(going, moments, state.moments)
            best = _chosen(going & better, evaluated(trainable, moments), state.best)
        return self._after(state, rows, going, better, trainable, moments, best)

    def _after(
        self,
        state: TrainingState,
        rows: Sequence[dict[str, float]],
        going: np.ndarray,
        better: np.ndarray,
        trainable: Any,
        moments: Any,
        best: Any,
    ) -> TrainingState:
        history = state.history.copy()
        for arm in np.flatnonzero(going).tolist():
            history[arm, state.epoch[arm]] = [rows[arm][name] for name in COLUMNS]
        loss = np.array([row["validation_loss"] for row in rows])
        epoch = (state.epoch + going).astype(np.int32)
        kept = going & better
        stale = np.where(kept, 0, state.stale + going).astype(np.int32)
        ending = [
            _ending(self.arms[arm].optimiser, int(epoch[arm]), int(stale[arm]), rows[arm])
            if going[arm]
            else state.ending[arm]
            for arm in range(state.arms)
        ]
        return dataclasses.replace(
            state,
            trainable=trainable,
            moments=moments,
            best=best,
            epoch=epoch,
            best_epoch=np.where(kept, epoch, state.best_epoch).astype(np.int32),
            best_loss=np.where(kept, loss, state.best_loss),
            stale=stale,
            ending=np.array(ending, np.int32),
            history=history,
        )

    def _row(self, arm: int, told: EpochRecord, data: TrainingData) -> dict[str, float]:
        score = told.negative_log_prob[arm]
        score = score - data.log_slope[: len(score)]
        density = self.objective.is_log_density
        loss = score if density else told.loss[arm]
        with np.errstate(invalid="ignore", over="ignore"):
            # Of infinite losses there is no spread.
            spread = score.std(ddof=1) / np.sqrt(len(score)) if len(score) > 1 else np.nan
        found = told.closure[arm] * (1.0, 1.0, float(data.has_edges))
        inverse_error, closure, hits = found
        return {
            "train_loss": told.train_loss[arm] - (data.training_log_slope if density else 0.0),
            "validation_loss": loss.mean(),
            "validation_nll": score.mean(),
            "validation_sem": spread,
            "learning_rate": told.rate[arm],
            "gradient_norm": told.norm[arm],
            "skipped_steps": told.skipped[arm],
            "inverse_error": inverse_error,
            "log_det_closure": closure,
            "edge_hit_rate": hits,
            "sound": float(_is_sound(self.arms[arm].stability, found)),
        }


def _is_sound(limits: StabilityConfiguration, closure: np.ndarray) -> bool:
    wanted = (limits.inverse_error, limits.log_det_closure, limits.edge_hit_rate)
    return all(
        limit is None or value <= limit for limit, value in zip(wanted, closure, strict=True)
    )


def _improves(row: dict[str, float], best: float, optimiser: OptimiserConfiguration) -> bool:
    loss = row["validation_loss"]
    return bool(row["sound"]) and math.isfinite(loss) and loss < best - optimiser.min_delta


def _ending(
    optimiser: OptimiserConfiguration, epoch: int, stale: int, row: dict[str, float]
) -> Ending:
    if not np.isfinite(row["validation_loss"]) and row["skipped_steps"] > 0:
        return Ending.DIVERGED
    if optimiser.patience is not None and stale >= optimiser.patience:
        return Ending.PATIENCE
    return Ending.EPOCHS if epoch >= optimiser.epochs else Ending.NONE


@jax.jit
def _where(chosen: Any, new: Any, old: Any) -> Any:
    def pick(a: Any, b: Any) -> Any:
        return jnp.where(chosen.reshape(-1, *[1] * (jnp.ndim(a) - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _chosen(chosen: np.ndarray, new: Any, old: Any) -> Any:
    if chosen.all():
        return new
    return _where(chosen, new, old) if chosen.any() else old
