"""Where the trainings of some arms stand; the arm axis is first on every leaf."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.posterior.training.history import COLUMNS, Ending


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainingState:
    """A arms between two epochs.

    Attributes:
        trainable: Weights, a pytree of float32 (A, ...).
        fixed: Arrays of the model that are not trained.
        moments: Adam's state, `Averaged` where weights are averaged.
        best: Weights, or their mean, of the best sound epoch; those of the beginning until there
            is one.
        key: (A, 2) uint32, data of the arms' keys.
        epoch: (A,) int32, epochs done.
        best_epoch: (A,) int32, 0 until an epoch is kept.
        best_loss: (A,) float64, validation loss of that epoch.
        stale: (A,) int32, epochs since.
        ending: (A,) int32, a number of `Ending`.
        history: (A, epochs, columns) float64, see `COLUMNS`; NaN for epochs to come.
    """

    trainable: Any
    fixed: Any
    moments: Any
    best: Any
    key: np.ndarray
    epoch: np.ndarray
    best_epoch: np.ndarray
    best_loss: np.ndarray
    stale: np.ndarray
    ending: np.ndarray
    history: np.ndarray

    @property
    def arms(self) -> int:
        """How many there are."""
        return len(self.epoch)

    @property
    def running(self) -> np.ndarray:
        """(A,) bool, which arms go on."""
        return self.ending == Ending.NONE

    def column(self, name: str, arm: int = 0) -> np.ndarray:
        """(epochs done,) float64, one quantity of an arm's epochs."""
        return self.history[arm, : int(self.epoch[arm]), COLUMNS.index(name)]

    def with_epochs(self, epochs: int, *, patience: int | None = None) -> TrainingState:
        """Return the state with room for so many epochs, at least those that are done.

        An arm that ended because of its epochs or its patience goes on if they now let it.
        """
        size = max(epochs, int(self.epoch.max(initial=0)))
        history = np.full((self.arms, size, len(COLUMNS)), np.nan)
        kept = min(size, self.history.shape[1])
        history[:, :kept] = self.history[:, :kept]
        waited = np.zeros(self.arms, bool) if patience is None else self.stale >= patience
        ending = np.where(self.epoch >= epochs, Ending.EPOCHS, Ending.NONE)
        ending = np.where(waited, Ending.PATIENCE, ending)
        ending = np.where(self.ending == Ending.DIVERGED, Ending.DIVERGED, ending)
        return dataclasses.replace(self, history=history, ending=ending.astype(np.int32))
