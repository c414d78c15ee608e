"""What an arm of a random-walk task sets: the space of settings, and the walk that they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.kernels import choose_kernel
from ax_jax_runners.parameters import Parameter, ParameterSpace

SETTINGS = ("seed_point", "max_step_size", "step_ratio", "kernel", "adapt")
KERNELS = ("self_loop", "reflect", "hit_and_run")


def default_settings(walk: RandomWalk, seed_points: int) -> ParameterSpace:
    """Return the settings that are searched by default.

    Args:
        walk: Where it is aimed or directed, settings that make no sense there are left out.
        seed_points: How many there are to choose from.
    """
    aimed = bool(walk.course.aims)
    kernels = [name for name in KERNELS if not (aimed and name == "hit_and_run")]
    point = (
        Parameter("seed_point", fixed=0)
        if seed_points == 1
        else Parameter("seed_point", choices=list(range(seed_points)))
    )
    adapt = (
        Parameter("adapt", choices=[False, True])
        if walk.course.free
        else Parameter("adapt", fixed=False)
    )
    return ParameterSpace(
        [
            point,
            Parameter("max_step_size", lower=0.005, upper=2.0, log_scale=True),
            Parameter("step_ratio", lower=0.0, upper=1.0),
            Parameter("kernel", choices=kernels),
            adapt,
        ]
    )


def check_settings(space: Any, walk: RandomWalk, seed_points: int) -> None:
    """Refuse a space of settings with values that no walk can have.

    Raises:
        ConfigurationError: Names the setting.
    """
    if not isinstance(space, ParameterSpace):
        raise ConfigurationError(
            f"The space of settings is a {type(space).__name__}; give a ParameterSpace."
        )
    given = {parameter.name: parameter for parameter in space.parameters}
    if set(given) != set(SETTINGS):
        raise ConfigurationError(
            f"The space has {', '.join(given)}; an arm's settings are {', '.join(SETTINGS)}."
        )
    for name in _values(given["kernel"]):
        choose_kernel(name, walk.course, adapt=False)
    point = given["seed_point"]
    whole = point.integer or point.choices is not None or point.fixed is not None
    for value in _values(point):
        if not whole or isinstance(value, (bool, str)) or value not in range(seed_points):
            raise ConfigurationError(
                f"seed_point may be {value!r}; give whole numbers from 0 to {seed_points - 1}, one "
                "for each seed point."
            )
    for value in _values(given["max_step_size"]):
        if isinstance(value, (bool, str)) or not value > 0:
            raise ConfigurationError(f"max_step_size may be {value!r}; give numbers above 0.")
    for value in _values(given["step_ratio"]):
        if isinstance(value, (bool, str)) or not 0 <= value <= 1:
            raise ConfigurationError(f"step_ratio may be {value!r}; give numbers from 0 to 1.")
    for value in _values(given["adapt"]):
        if value not in (False, True):
            raise ConfigurationError(f"adapt may be {value!r}; give false and true.")


def check_budget(evaluations: Any, particles: Any, slices: Any, thin: int) -> None:
    """Refuse a budget that cannot be divided.

    Raises:
        ConfigurationError: Names the number.
    """
    for name, value, least in (("particles", particles, 2), ("slices", slices, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(f"{name} is {value!r}; give a whole number from {least}.")
    least = particles * slices * thin
    if isinstance(evaluations, bool) or not isinstance(evaluations, int) or evaluations < least:
        raise ConfigurationError(
            f"evaluations is {evaluations!r}; {particles} particles in {slices} slices need a "
            f"whole number of at least {least}."
        )


def _values(parameter: Parameter) -> tuple[Any, ...]:
    """Return what a parameter may be, or the ends of its range."""
    if parameter.fixed is not None:
        return (parameter.fixed,)
    return parameter.choices or (parameter.lower, parameter.upper)


def walk_of(walk: RandomWalk, values: Mapping[str, Any], ticks: int) -> RandomWalk:
    """Return a walk with the options of an arm.

    Where the walk leaves the length of the warm-up open, it takes about a quarter of the ticks.
    """
    kernel, largest = str(values["kernel"]), float(values["max_step_size"])
    chord = kernel == "hit_and_run"
    adapt = bool(values["adapt"]) and walk.course.free
    warm_up = walk.warm_up
    if warm_up is None and adapt:
        # An iteration of hit-and-run takes some three ticks.
        warm_up = ticks // (12 if chord else 4)
    if warm_up is not None:
        # Slices end where states are recorded.
        warm_up = max(1, warm_up // walk.thin) * walk.thin
    return dataclasses.replace(
        walk,
        kernel=kernel,
        max_step_size=largest,
        min_step_size=0.0 if chord else float(values["step_ratio"]) * largest,
        adapt=adapt,
        warm_up=warm_up if adapt else None,
    )


def describe_walk(walk: RandomWalk) -> dict[str, Any]:
    """Describe what a walk decides of every arm's paths, as plain JSON.

    Kernel, steps, adaptation and random numbers are the arm's, and their own here do not count.
    """
    told = walk.describe()
    for name in (
        "kernel",
        "min_step_size",
        "max_step_size",
        "step_ratio",
        "target_acceptance",
        "adapt",
        "seed",
    ):
        del told[name]
    return {**told, "warm_up": walk.warm_up, "thin": walk.thin}
