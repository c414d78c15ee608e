"""Campaigns on the space of neurons that fire alike: find one, then explore all of them.

Both stand on the Hodgkin-Huxley cell of regular spiking and its constraints, of which a thousandth
of the search box is inside.
"""

from __future__ import annotations

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.constraints import Misfit, Violation
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.problems.neurons import HodgkinHuxley
from ax_jax_runners.tasks import FeatureTask, RandomWalkTask

#: Beside the neuron's own: two cells that a walk from there came to, far away in most parameters.
FURTHER_SEED_POINTS = (
    {
        "gNa": 110.0,
        "gKd": 7.6,
        "gM": 0.14,
        "gL": 0.021,
        "EL": -67.1,
        "VT": -48.9,
        "tau_max": 380.0,
    },
    {
        "gNa": 25.1,
        "gKd": 5.7,
        "gM": 0.22,
        "gL": 0.02,
        "EL": -61.3,
        "VT": -54.1,
        "tau_max": 270.0,
    },
)
_DTYPES = ("float32", "float64")


def build_finder(dtype: str = "float64") -> FeatureTask:
    """The task of one neuron: misfit, and violation, which is at most 0 for a compatible one.

    Raises:
        ConfigurationError: Another dtype.
    """
    _check_dtype(dtype)
    neuron = HodgkinHuxley()
    constraints = neuron.constraints
    return FeatureTask(
        neuron.evaluator(dtype=dtype),
        outputs={"misfit": Misfit(constraints), "violation": Violation(constraints)},
    )


def build_explorer(
    evaluations: int = 32_000,
    particles: int = 64,
    slices: int = 8,
    seed_points: int = 3,
    dtype: str = "float32",
) -> RandomWalkTask:
    """The task of one random walk through the compatible neurons.

    Raises:
        ConfigurationError: An option that cannot be used.
    """
    _check_dtype(dtype)
    neuron = HodgkinHuxley()
    known = (neuron.seed_point, *FURTHER_SEED_POINTS)
    whole = isinstance(seed_points, int) and not isinstance(seed_points, bool)
    if not whole or not 1 <= seed_points <= len(known):
        raise ConfigurationError(
            f"seed_points is {seed_points!r}; there are {len(known)}, give how many to choose from."
        )
    walk = RandomWalk(neuron.evaluator(dtype=dtype), neuron.constraints, n_iterations=1)
    return RandomWalkTask(
        walk,
        seed_points=known[:seed_points],
        evaluations=evaluations,
        particles=particles,
        slices=slices,
    )


def _check_dtype(dtype: object) -> None:
    if dtype not in _DTYPES:
        raise ConfigurationError(f"dtype is {dtype!r}; give 'float32' or 'float64'.")


_FINDER = Problem(
    name="neuron-find",
    summary="Find a Hodgkin-Huxley neuron that fires as regular-spiking cells do",
    build=build_finder,
    objective="-misfit",
    options={"dtype": "float64 (default) or float32"},
)
_EXPLORER = Problem(
    name="neuron-explore",
    summary="Find the random walk that explores all such neurons with the fewest evaluations",
    build=build_explorer,
    objective="log10_jump_ess_per_1000",
    options={
        "evaluations": "neurons simulated in one trial; default 32,000",
        "particles": "walks of one trial, from the same seed point; default 64",
        "slices": "reports of one trial; default 8",
        "seed_points": "how many seed points there are to choose from, 1 to 3; default 3",
        "dtype": "float32 (default) or float64",
    },
)
PROBLEMS = {problem.name: problem for problem in (_FINDER, _EXPLORER)}
