"""What of a model is learned at once, from all rows, before the first epoch."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from ax_jax_runners.posterior.encoders.gathering import VECTOR
from ax_jax_runners.posterior.flows.regression import Regression
from ax_jax_runners.posterior.training.rows import Rows
from ax_jax_runners.posterior.training.state import TrainingState


def trained_leaves(model: Any) -> Any:
    """Return for each leaf of a model, or whole part of it, whether the optimiser changes it."""

    def is_trained(node: Any) -> bool:
        return not _is_at_once(node) and eqx.is_inexact_array(node)

    return jax.tree.map(is_trained, model, is_leaf=_is_at_once)


def learned_at_once(state: TrainingState, training: Rows) -> Any:
    """Return the fixed arrays of some arms, learned where the first epoch is still to come.

    Args:
        state: Before an epoch.
        training: The rows to learn from.
    """
    new = state.epoch == 0

    def learn(node: Any) -> Any:
        if not _is_at_once(node) or not new.any():
            return node
        observations = np.asarray(training.observation[VECTOR]["values"])
        found = Regression.fit(np.asarray(training.y), observations)
        return jax.tree.map(
            lambda one, old: np.where(new.reshape(-1, *[1] * np.ndim(one)), one, old), found, node
        )

    return jax.tree.map(learn, state.fixed, is_leaf=_is_at_once)


def _is_at_once(node: Any) -> bool:
    return isinstance(node, Regression)
