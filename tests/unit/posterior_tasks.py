"""A small posterior to train as trials: two parameters, seen with noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
)
from ax_jax_runners.posterior.datasets import ArrayDataset
from ax_jax_runners.tasks import PosteriorTask
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

EPOCHS, ROWS = 4, 400
PRIOR = ParameterSpace([Parameter(name, lower=-1.0, upper=1.0) for name in "ab"])
# The schedule is longer than the training, so that a longer training begins alike.
BASE = Hyperparameters(
    flow=FlowConfiguration(family="affine", layers=2, width=16, depth=1),
    encoder=EncoderConfiguration(vector_depth=0),
    optimiser=OptimiserConfiguration(batch_size=64, schedule_epochs=10.0),
)


def dataset_of(seed: int = 0, rows: int = ROWS, shift: float = 0.0, **more: Any) -> ArrayDataset:
    draws = np.random.default_rng(seed)
    theta = draws.uniform(-1.0, 1.0, (rows, 2))
    x = theta + draws.normal(size=(rows, 2)) * [0.1, 0.3]
    return ArrayDataset(theta + shift, x, **{"space": PRIOR, **more})


DATA = dataset_of()


def task_of(
    dataset: Any = DATA, *, search: Mapping[str, Parameter], **changes: Any
) -> PosteriorTask:
    given = {
        "epochs": EPOCHS,
        "hyperparameters": BASE,
        "calibration_rows": 20,
        "calibration_draws": 10,
    }
    return PosteriorTask(dataset, search=search, **{**given, **changes})
