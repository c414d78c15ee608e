"""Trainings for processes of their own, which a test kills."""

from __future__ import annotations

import os
import sys

from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
)
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.training import fitting
from ax_jax_runners.posterior.training.state import TrainingState
from tests.unit.posterior_toys import toy_dataset

#: An epoch takes milliseconds, and to save one with Orbax a hundred times as long.
EPOCHS = {"equinox": 150, "orbax": 30}


def make_estimator(backend: str, directory: str | None = None) -> FlowPosterior:
    """A training with everything that has randomness of its own."""
    return FlowPosterior(
        2,
        flow=FlowConfiguration(family="affine", layers=2, width=16, depth=1),
        encoder=EncoderConfiguration(vector_depth=0),
        optimiser=OptimiserConfiguration(epochs=EPOCHS[backend], batch_size=64),
        regularisation=RegularisationConfiguration(observation_noise=0.1, parameter_noise=0.1),
        checkpoint=CheckpointConfiguration(
            directory=directory, backend=backend, resume=directory is not None
        ),
    )


def train_to_the_end(backend: str, directory: str) -> None:
    """Train, save every epoch, and tell the number of each that is over."""
    fitting._SECONDS_BETWEEN_SAVES = 0.0

    def tell(state: TrainingState) -> None:
        # Past all buffers, whatever comes next.
        os.write(1, f"{state.epoch[0]}\n".encode())

    make_estimator(backend, directory).fit(toy_dataset(), on_epoch=tell)


if __name__ == "__main__":
    train_to_the_end(sys.argv[1], sys.argv[2])
