"""Arms of a posterior task trained side by side, those of one structure in shared programs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.datasets import GatheredData, gather
from ax_jax_runners.posterior.flow_matching.estimator import FlowMatching
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.training.preparation import PreparedData, prepare
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Trainer
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

#: Which rows are held back where the data set does not say: the same for all arms.
_SPLIT_SEED = 0
#: With fewer rows calibration finds nothing.
FEWEST_HELD_BACK = 20


@dataclass(frozen=True, eq=False)
class Trainings:
    """A data set and the trainings on it.

    Attributes:
        dataset: A reader.
        prior: Of the parameters; None: the data set's own.
        together: Arms in one compiled call.
    """

    dataset: Any
    prior: ParameterSpace | None
    together: int

    @functools.cached_property
    def gathered(self) -> GatheredData:
        """All rows.

        Raises:
            ConfigurationError: Too few are held back to calibrate on.
        """
        found = gather(self.dataset, seed=_SPLIT_SEED)
        held = int(found.is_validation.sum())
        if held < FEWEST_HELD_BACK:
            raise ConfigurationError(
                f"Of {len(found)} rows {held} are held back, and a trained arm is calibrated on at "
                f"least {FEWEST_HELD_BACK}; give more rows, or a larger validation_fraction."
            )
        return found

    @property
    def space(self) -> ParameterSpace | None:
        """The prior."""
        return self.gathered.space if self.prior is None else self.prior

    def prepared(self, space: str) -> PreparedData:
        """Return the data set in a parameter space, made once for each."""
        if space not in self._prepared:
            self._prepared[space] = prepare(self.gathered, space=space, prior=self.prior)
        return self._prepared[space]

    @functools.cached_property
    def _prepared(self) -> dict[str, PreparedData]:
        return {}

    def estimator(self, arm: Hyperparameters) -> FlowPosterior | FlowMatching:
        """Return the estimator of an arm, untrained."""
        shared: dict[str, Any] = {
            "parameter_space": arm.parameter_space,
            "prior": self.space,
            "encoder": arm.encoder,
            "optimiser": arm.optimiser,
            "regularisation": arm.regularisation,
        }
        dimension = self.gathered.parameters.shape[1]
        if arm.estimator == "flow_matching":
            return FlowMatching(dimension, field=arm.velocity, **shared)
        return FlowPosterior(dimension, flow=arm.flow, stability=arm.stability, **shared)

    def trained(self, arm: Hyperparameters, state: TrainingState) -> FlowPosterior | FlowMatching:
        """Return the estimator of an arm with the weights that a state of it alone keeps."""
        estimator = self.estimator(arm)
        estimator.take_over(state, self.prepared(arm.parameter_space), self.gathered)
        return estimator

    def begin(self, arms: Sequence[Hyperparameters], key: np.ndarray) -> TrainingState:
        """Return the state of arms of one structure before their first epoch.

        Raises:
            ConfigurationError: Arms whose weights have different shapes.
        """
        states = [self._trainer([arm]).begin(key[row : row + 1]) for row, arm in enumerate(arms)]
        shapes = {_shapes(state) for state in states}
        if len(shapes) > 1:
            raise ConfigurationError(
                "The arms' networks have different shapes; arms of one shape train together."
            )
        return joined(states)

    def advance(self, arms: Sequence[Hyperparameters], state: TrainingState) -> TrainingState:
        """Return the state after one more epoch of every arm that goes on."""
        groups: dict[Hashable, list[int]] = {}
        for row in np.flatnonzero(state.running).tolist():
            trainer = self._trainer([arms[row]])
            plan = trainer.arms[0].plan
            kind = (trainer.recipe, trainer.objective, plan, arms[row].parameter_space)
            groups.setdefault(kind, []).append(row)
        after = {row: taken(state, [row]) for row in range(state.arms)}
        for rows in groups.values():
            for start in range(0, len(rows), self.together):
                lanes = rows[start : start + self.together]
                # A call has always as many lanes, so that an arm has the same bits in any company.
                filled = lanes + [lanes[-1]] * (self.together - len(lanes))
                trainer = self._trainer([arms[row] for row in filled])
                data = self.prepared(arms[lanes[0]].parameter_space).data
                moved = trainer.advance(taken(state, filled), data)
                after.update({row: taken(moved, [at]) for at, row in enumerate(lanes)})
        return joined([after[row] for row in range(state.arms)])

    def _trainer(self, arms: Sequence[Hyperparameters]) -> Trainer:
        first = self.estimator(arms[0])
        schema = self.prepared(arms[0].parameter_space).schema
        settings = tuple(self.estimator(arm).settings for arm in arms)
        return Trainer(first.recipe(schema), first.objective(), settings)


def taken(state: TrainingState, rows: Sequence[int]) -> TrainingState:
    """Return the state of some arms, in this order."""
    chosen = np.asarray(rows, int)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], state)


def joined(states: Sequence[TrainingState]) -> TrainingState:
    """Return one state of all arms of several."""
    if len(states) == 1:
        return states[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


def _shapes(state: TrainingState) -> Hashable:
    leaves, structure = jax.tree.flatten(dataclasses.replace(state, history=np.zeros((1, 1, 1))))
    return structure, tuple(np.shape(leaf) for leaf in leaves)
