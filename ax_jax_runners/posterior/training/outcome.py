"""What a training leaves behind: the weights that are kept, and what is told of them."""

from __future__ import annotations

import logging
import math
from typing import Any

import jax
import numpy as np

from ax_jax_runners.posterior.datasets import GatheredData
from ax_jax_runners.posterior.records import TrainingArtifacts
from ax_jax_runners.posterior.training.history import COLUMNS, Ending
from ax_jax_runners.posterior.training.program import Weights
from ax_jax_runners.posterior.training.rows import TrainingData
from ax_jax_runners.posterior.training.state import TrainingState

_LOG = logging.getLogger("ax_jax_runners.posterior")


def kept_weights(state: TrainingState, arm: int = 0) -> Weights:
    """Return the weights of an arm's best sound epoch, else the last ones, with a warning."""
    kept = state.best
    if not state.best_epoch[arm]:
        kept = state.trainable
        _LOG.warning(
            "No epoch passed the stability thresholds with a finite validation loss; the last "
            "weights are kept. Their inverse errs by %.3g and their log determinants by %.3g.",
            *(state.column(name, arm)[-1] for name in ("inverse_error", "log_det_closure")),
        )

    def one(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[arm], tree)

    return Weights(one(kept), one(state.fixed))


def training_artifacts(
    state: TrainingState, data: TrainingData, gathered: GatheredData, arm: int = 0
) -> TrainingArtifacts:
    """Return the history and the figures of an arm's kept weights."""
    epochs = int(state.epoch[arm])
    history: dict[str, Any] = {"epoch": list(range(1, epochs + 1))}
    for name in COLUMNS:
        history[name] = [_plain(value) for value in state.column(name, arm)]
    best = int(state.best_epoch[arm])
    told = (best or epochs) - 1
    return TrainingArtifacts(
        history=history,
        validation_metrics={
            **{name: history[name][told] for name in COLUMNS if name != "learning_rate"},
            "epoch": told + 1,
        },
        metadata={
            "ended": Ending(int(state.ending[arm])).label,
            "epochs": epochs,
            "kept_epoch": told + 1,
            "sound": bool(best),
            "training_rows": len(data.training.y),
            "validation_rows": len(data.validation.y),
            "data_fingerprint": gathered.fingerprint,
            "jax": jax.__version__,
        },
    )


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
