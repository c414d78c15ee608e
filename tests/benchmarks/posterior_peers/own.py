"""This package's side: trainings of a spline coupling on two moons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior import (
    EncoderConfiguration,
    FlowConfiguration,
    FlowPosterior,
    OptimiserConfiguration,
    PosteriorBatch,
)
from ax_jax_runners.posterior.datasets import gather
from ax_jax_runners.posterior.drawing import key_data
from ax_jax_runners.posterior.training.preparation import PreparedData, prepare
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer
from ax_jax_runners.problems.posteriors import simulated
from posterior_peers.measuring import now

ROWS, HELD_BACK, BATCH = 10_000, 1_000, 200
#: As many weights as sbi's default neural spline flow, within a tenth.
LARGE = FlowConfiguration(layers=5, width=96, depth=2, bins=10, base_affine=False)
#: The same where the density is like that of sbi's: of standardised parameters, which leaks.
LEAKING = dataclasses.replace(LARGE, bound=3.0)
#: As many weights for logits, which need a wide spline with more bins; nothing leaks.
TIGHT = FlowConfiguration(layers=5, width=70, depth=2, bins=32, bound=12.0)
#: About 5,000 weights.
SMALL = FlowConfiguration(layers=3, width=28, depth=2, bins=8)
#: Two numbers need no network in front of the flow.
ENCODER = EncoderConfiguration(vector_depth=0)


@dataclass(frozen=True, eq=False)
class Moons:
    """Simulations of two moons, of which the last are held back.

    Attributes:
        theta: (N, 2) float64.
        x: (N, 2) float64.
        space: The prior.
    """

    theta: np.ndarray
    x: np.ndarray
    space: ParameterSpace

    def iter_batches(self, *, split: str) -> Iterator[PosteriorBatch]:
        """Yield the rows of a part."""
        border = len(self.theta) - HELD_BACK
        rows = slice(border, None) if split == "validation" else slice(None, border)
        yield PosteriorBatch(self.theta[rows], self.x[rows])


def moons() -> Moons:
    """Simulate."""
    dataset = simulated("two-moons", ROWS, 0)
    (batch,) = dataset.iter_batches(batch_size=ROWS, shuffle=False)
    assert dataset.space is not None
    return Moons(np.asarray(batch.parameters), np.asarray(batch.observations), dataset.space)


def optimiser(rate: float, epochs: int) -> OptimiserConfiguration:
    """Return the settings with the benchmark's batches."""
    return OptimiserConfiguration(learning_rate=rate, batch_size=BATCH, epochs=epochs)


def estimator(
    flow: FlowConfiguration, *, epochs: int, space: str = "unconstrained", rate: float = 3e-3
) -> FlowPosterior:
    """Return an untrained estimator."""
    return FlowPosterior(
        2, parameter_space=space, flow=flow, encoder=ENCODER, optimiser=optimiser(rate, epochs)
    )


class Lanes:
    """Arms that differ in their learning rates, trained in one compiled call."""

    def __init__(self, data: PreparedData, flow: FlowConfiguration, rates: Sequence[float]) -> None:
        """Begin them; nothing of an epoch is compiled yet."""
        first = estimator(flow, epochs=1)
        settings = tuple(Settings(optimiser(rate, 1_000)) for rate in rates)
        self._trainer = Trainer(first.recipe(data.schema), first.objective(), settings)
        self._data = data.data
        keys = np.stack([key_data(seed) for seed in range(len(rates))])
        self.state: TrainingState = self._trainer.begin(keys)

    @property
    def parameters(self) -> int:
        """Weights of one arm."""
        return sum(leaf[0].size for leaf in jax.tree.leaves(self.state.trainable))

    def epoch(self) -> None:
        """Train every arm for an epoch."""
        self.state = self._trainer.advance(self.state, self._data)


def prepared(data: Moons) -> PreparedData:
    """Return the simulations as trainings take them."""
    return prepare(gather(data, seed=0), space="unconstrained", prior=data.space)


def whole_fit(flow: FlowConfiguration, space: str, epochs: int) -> dict[str, Any]:
    """Train an estimator from the data to its end, for a fresh process.

    Returns:
        ``curve``: (CPU seconds, wall seconds, validation loss) after every epoch, from the call of
        fit; ``cpu`` and ``wall`` of the whole; ``parameters``, the number of weights.
    """
    data = moons()
    learned = estimator(flow, epochs=epochs, space=space)
    curve: list[tuple[float, float, float]] = []
    start = now()

    def note(state: TrainingState) -> None:
        taken = now() - start
        curve.append((taken.cpu, taken.wall, float(state.column("validation_nll")[-1])))

    learned.fit(data, on_epoch=note)
    taken = now() - start
    weights = sum(leaf.size for leaf in jax.tree.leaves(learned.density.weights.trainable))
    return {"curve": curve, "cpu": taken.cpu, "wall": taken.wall, "parameters": weights}
