"""The numbers of a training that are traced: trials that differ in them share a program."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ax_jax_runners.posterior.configuration import (
    OptimiserConfiguration,
    RegularisationConfiguration,
)
from ax_jax_runners.posterior.training.schedule import schedule_scales

Scales = dict[str, np.ndarray]


def scales_of(
    arms: Sequence[tuple[OptimiserConfiguration, RegularisationConfiguration]],
) -> Scales:
    """Return the traced numbers of arms, each an array (arms,) of float32."""
    rows = [
        {
            **schedule_scales(optimiser),
            "weight_decay": optimiser.weight_decay,
            "average_decay": optimiser.average_decay,
            "gradient_clip_norm": (
                math.inf if optimiser.gradient_clip_norm is None else optimiser.gradient_clip_norm
            ),
            **dataclasses.asdict(regularisation),
        }
        for optimiser, regularisation in arms
    ]
    return {name: np.array([row[name] for row in rows], np.float32) for name in rows[0]}
