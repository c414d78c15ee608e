"""Checks of a walk's numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from ax_jax_runners.exploration.walk import RandomWalk

_SEED_LIMIT = 2**32
#: Iterations are counted in an int32.
_ITERATION_LIMIT = 2**31


def check_options(walk: RandomWalk) -> None:
    """Check the numbers among a walk's options, each for itself.

    Raises:
        ConfigurationError: One that cannot be used.
    """
    for name, least in (
        ("n_iterations", 1),
        ("max_suggestions", 1),
        ("thin", 1),
        ("checkpoint_every", 1),
        ("concat_every_n_save", 2),
        ("seed", 0),
    ):
        check_whole(name, getattr(walk, name), least)
    if walk.warm_up is not None:
        check_whole("warm_up", walk.warm_up, 0)
    for name, value, limit in (
        ("seed", walk.seed, _SEED_LIMIT),
        ("n_iterations", walk.n_iterations, _ITERATION_LIMIT),
        ("warm_up", walk.warm_up or 0, _ITERATION_LIMIT),
        ("thin", walk.thin, _ITERATION_LIMIT),
    ):
        if value >= limit:
            raise ConfigurationError(f"{name} is {value}; give one below {limit}.")
    if not isinstance(walk.adapt, (bool, np.bool_)):
        raise ConfigurationError(f"adapt is {walk.adapt!r}; give True or False.")
    share = walk.target_acceptance
    if not _is_number(share) or not 0.0 < share < 1.0:
        raise ConfigurationError(f"target_acceptance is {share!r}; give a share between 0 and 1.")
    if not _is_number(walk.step_ratio) or not 0.0 <= walk.step_ratio <= 1.0:
        raise ConfigurationError(f"step_ratio is {walk.step_ratio!r}; give a share from 0 to 1.")
    _check_steps(walk.min_step_size, walk.max_step_size)
    minutes = walk.checkpoint_by_time
    if minutes is not None and (not _is_number(minutes) or minutes <= 0):
        raise ConfigurationError(f"checkpoint_by_time is {minutes!r}; give positive minutes.")


def check_whole(name: str, value: Any, least: int) -> None:
    """Check a whole number.

    Raises:
        ConfigurationError: Something else, or less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number of at least {least}.")


def _is_number(value: Any) -> bool:
    """Say whether something is a finite real number."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    return real and not isinstance(value, bool) and math.isfinite(value)


def read_numbers(name: str, given: Any) -> dict[str, float]:
    """Return finite numbers by name.

    Raises:
        ConfigurationError: Something else.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{name} is {given!r}; give values by parameter.")
    wrong = [key for key, value in given.items() if not _is_number(value)]
    if wrong:
        raise ConfigurationError(
            f"{name} has {wrong[0]} = {given[wrong[0]]!r}; give a finite number."
        )
    return {key: float(value) for key, value in given.items()}


def _check_steps(smallest: Any, largest: Any) -> None:
    for name, value in (("min_step_size", smallest), ("max_step_size", largest)):
        if name == "max_step_size" and value is None:
            continue
        if not _is_number(value) or value < 0:
            raise ConfigurationError(f"{name} is {value!r}; give a number of at least 0.")
    if largest is not None and (largest <= 0 or largest < smallest):
        raise ConfigurationError(
            f"max_step_size is {largest} with a min_step_size of {smallest}; the largest step must "
            "be positive and not below the smallest."
        )
