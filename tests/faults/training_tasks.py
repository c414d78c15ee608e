"""Trials that are trainings of posteriors, every epoch of which is noted and takes its time."""

from __future__ import annotations

import os
import time
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


class NotedTrainings(PosteriorTask):
    """Trainings of small flows, of which every epoch leaves a line in a file."""

    @classmethod
    def make(cls, log: str, epochs: int, seconds: float) -> NotedTrainings:
        """Make the task; ``seconds`` is what an epoch takes at least."""
        draws = np.random.default_rng(0)
        theta = draws.uniform(-1.0, 1.0, (240, 2))
        x = theta + 0.2 * draws.normal(size=theta.shape)
        space = ParameterSpace([Parameter(name, lower=-1.0, upper=1.0) for name in "ab"])
        task = cls(
            ArrayDataset(theta, x, space=space),
            search=ParameterSpace(
                [
                    Parameter("learning_rate", lower=1e-4, upper=3e-2, log_scale=True),
                    Parameter("weight_decay", lower=0.0, upper=0.5),
                ]
            ),
            epochs=epochs,
            hyperparameters=Hyperparameters(
                flow=FlowConfiguration(family="affine", layers=2, width=16, depth=1),
                encoder=EncoderConfiguration(vector_depth=0),
                optimiser=OptimiserConfiguration(batch_size=64),
            ),
            calibration_rows=20,
            calibration_draws=10,
        )
        object.__setattr__(task, "_log", log)
        object.__setattr__(task, "_seconds", seconds)
        return task

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        own: Any = self
        going = int(state["training"].running.sum())
        handle = os.open(own._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{os.getpid()}\n".encode() * going)
        finally:
            os.close(handle)
        time.sleep(own._seconds)
        return super().advance(state)
