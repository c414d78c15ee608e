"""Built-in tasks: measured and synthetic problems that a campaign can name."""

from ax_jax_runners.problems.base import Problem, build, get, names, origin, with_parameters
from ax_jax_runners.problems.hypervolume import hypervolume
from ax_jax_runners.problems.measured import Measured, measured

__all__ = [
    "Measured",
    "Problem",
    "build",
    "get",
    "hypervolume",
    "measured",
    "names",
    "origin",
    "with_parameters",
]
