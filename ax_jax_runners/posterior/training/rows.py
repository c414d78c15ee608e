"""Training data as the compiled programs take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Simulations; as arguments of a loss, one of them without the leading axis.

    Attributes:
        y: (N, d) float32, parameters in flow coordinates.
        observation: Standardised observations, a pytree with the leading axis N.
        raw: The observations as they were given, or None where no loss asks for them.
    """

    y: Any
    observation: Any
    raw: Any = None


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rows to train on and rows to validate on.

    Attributes:
        training: To train on.
        validation: Every one of them is scored after every epoch.
        log_slope: (validation rows,) float64, ``log |dy / dtheta|`` of each: a log density of y
            plus this is one in physical units.
        training_log_slope: Mean of the same over the training rows.
        typical: Typical uncertainty by block, standardised, for noise on the observations.
        has_edges: Whether y are logits of a cube, on whose edges draws may lie.
    """

    training: Rows
    validation: Rows
    log_slope: np.ndarray
    training_log_slope: float
    typical: Any
    has_edges: bool = True
