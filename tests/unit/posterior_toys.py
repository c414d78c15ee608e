"""A small inference problem that the tests of training share, and with it the compiled programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
)
from ax_jax_runners.posterior.datasets import ArrayDataset
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.records import PosteriorBatch

ROWS, BATCH = 800, 64
#: Of the 720 rows that are not held back.
STEPS = 12
SPACE = ParameterSpace([Parameter(name, lower=-1.0, upper=1.0) for name in "ab"])
FLOW = FlowConfiguration(layers=2, width=16, bins=4)
ENCODER = EncoderConfiguration(vector_depth=0)


def simulate(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and observations (rows, 2); the sign of the first parameter is not observed."""
    draws = np.random.default_rng(seed)
    theta = draws.uniform(-1.0, 1.0, (ROWS, 2))
    noise = draws.normal(size=(ROWS, 2)) * [0.1, 0.3]
    return theta, np.stack([theta[:, 0] ** 2, theta[:, 1]], axis=1) + noise


def toy_dataset(seed: int = 0) -> ArrayDataset:
    theta, x = simulate(seed)
    return ArrayDataset(theta, x, space=SPACE)


class BareReader:
    """A reader that can do no more than it must."""

    def __init__(self, parameters: np.ndarray, observations: np.ndarray) -> None:
        self._rows = parameters, observations

    def iter_batches(self) -> Iterator[PosteriorBatch]:
        for start in range(0, len(self._rows[0]), 300):
            piece = slice(start, start + 300)
            yield PosteriorBatch(self._rows[0][piece], self._rows[1][piece])


def optimiser(**changes: Any) -> OptimiserConfiguration:
    """Six epochs of a schedule for ten."""
    given = {"learning_rate": 5e-3, "batch_size": BATCH, "epochs": 6, "schedule_epochs": 10.0}
    return OptimiserConfiguration(**{**given, **changes})


def toy_estimator(*, optimiser: OptimiserConfiguration, **groups: Any) -> FlowPosterior:
    return FlowPosterior(2, **{"flow": FLOW, "encoder": ENCODER, "optimiser": optimiser, **groups})


def bits(tree: Any) -> bytes:
    """The arrays of a pytree, end to end."""
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))


def weights_of(estimator: FlowPosterior) -> bytes:
    return bits(estimator.density.weights.trainable)
