"""Campaigns on how an amortised posterior is trained: two moons, learned from simulations."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import EncoderConfiguration
from ax_jax_runners.posterior.datasets import ArrayDataset
from ax_jax_runners.posterior.datasets.columns import FEATURE, PARAMETER
from ax_jax_runners.posterior.datasets.draws import PriorDraws
from ax_jax_runners.posterior.datasets.rows import SimulatedRows
from ax_jax_runners.posterior.records import PosteriorBatch
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.problems.sbi import SBI_PROBLEMS
from ax_jax_runners.tasks import PosteriorTask
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

_BATCH = 4096


@functools.lru_cache(maxsize=4)
def simulated(problem: str, simulations: int, seed: int) -> ArrayDataset:
    """Return simulations of an inference benchmark, parameters drawn from its prior.

    Args:
        problem: A name of `SBI_PROBLEMS`.
        simulations: How many.
        seed: Of parameters and noise.

    Raises:
        ConfigurationError: There is no such benchmark.
    """
    if problem not in SBI_PROBLEMS:
        raise ConfigurationError(
            f"There is no inference benchmark {problem!r}; choose one of {', '.join(SBI_PROBLEMS)}."
        )
    chosen = SBI_PROBLEMS[problem]()
    rows = SimulatedRows(chosen.evaluator(), PriorDraws(chosen.space, seed), _BATCH)
    found = rows.simulate(0, simulations)
    theta = [found.arrays[c.name] for c in found.columns if c.group == PARAMETER]
    (x,) = (found.arrays[c.name] for c in found.columns if c.group == FEATURE)
    return ArrayDataset(np.stack(theta, axis=1), x, space=chosen.space)


@dataclass(frozen=True)
class BenchmarkDataset:
    """Simulations of an inference benchmark that are made when they are first read.

    Attributes:
        problem: A name of `SBI_PROBLEMS`.
        simulations: How many.
        seed: Of parameters and noise.
    """

    problem: str
    simulations: int
    seed: int

    @property
    def space(self) -> ParameterSpace:
        """The prior of the parameters."""
        return SBI_PROBLEMS[self.problem]().space

    def iter_batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        split: str | None = None,
    ) -> Iterator[PosteriorBatch]:
        """Yield the rows as `ArrayDataset` does."""
        made = simulated(self.problem, self.simulations, self.seed)
        return made.iter_batches(batch_size, shuffle=shuffle, seed=seed, split=split)


def search() -> ParameterSpace:
    """The hyperparameters of a conditional flow that are searched by default."""
    return ParameterSpace(
        [
            Parameter("learning_rate", lower=2e-4, upper=5e-3, log_scale=True),
            Parameter("batch_size", choices=[64, 128, 256]),
            Parameter("family", choices=["spline", "autoregressive"]),
            Parameter("layers", choices=[3, 5, 8]),
            Parameter("width", choices=[32, 64, 128]),
            Parameter("bins", choices=[8, 16]),
            Parameter("weight_decay", lower=1e-6, upper=1e-2, log_scale=True),
            Parameter("parameter_noise", lower=1e-4, upper=1e-1, log_scale=True),
            # Draws of a flow in the physical space leak out of the prior.
            Parameter("parameter_space", choices=["unconstrained", "physical"]),
        ]
    )


def build(
    simulations: int = 10_000, epochs: int = 100, seed: int = 0, together: int = 1
) -> PosteriorTask:
    """The task of training a conditional flow on simulations of two moons.

    Raises:
        ConfigurationError: An option that cannot be used.
    """
    for name, value, least in (("simulations", simulations, 200), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(f"{name} is {value!r}; give a whole number from {least}.")
    return PosteriorTask(
        BenchmarkDataset("two-moons", simulations, seed),
        search=search(),
        epochs=epochs,
        # Two numbers need no network in front of the flow.
        hyperparameters=Hyperparameters(encoder=EncoderConfiguration(vector_depth=0)),
        together=together,
    )


PROBLEM = Problem(
    name="two-moons-npe",
    summary="Train a conditional flow on two moons: the hyperparameters with the lowest loss",
    build=build,
    objective="-validation_nll",
    outcome_constraints=("leak_fraction <= 0.001",),
    options={
        "simulations": "rows, at least 200; a tenth of them is held back; default 10,000",
        "epochs": "of a whole trial; default 100",
        "seed": "of the simulations; default 0",
        "together": "arms trained in one compiled call; default 1",
    },
)
