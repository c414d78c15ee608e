"""When a walk saves and ends, and how it ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.isf.manifest import Status
from ax_jax_runners.exploration.isf.shards import SHARD_FORMATS, ShardFormat

_SECONDS_PER_MINUTE = 60.0
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class RWOutcome:
    """How the exploration of one particle ended.

    Attributes:
        status: "completed" (all iterations are done), "aims_reached" (enough points inside with all
            aims reached were found), or "stalled" (no admissible proposal was found).
        iterations: Points evaluated since the seed point, over all runs of the particle.
        inside: How many of them were inside.
        directory: Where the shards and the manifest are.
        reason: One sentence on the end.
        damaged: Shards that had to be set aside because their content had changed.
    """

    status: Status
    iterations: int
    inside: int
    directory: Path
    reason: str = ""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """When to save, to merge and to end.

    Attributes:
        n_iterations: Points to evaluate.
        checkpoint_every: Iterations between two shards.
        checkpoint_seconds: Seconds between two shards; decides alone where it is given.
        concat_every_n_save: Shards that are merged into one.
        max_suggestions: Suggestions for one point.
        stop_after: Points inside with all aims reached, of all particles; not positive: no end.
        shard_format: "parquet" or "npz".
    """

    n_iterations: int
    checkpoint_every: int
    checkpoint_seconds: float | None
    concat_every_n_save: int
    max_suggestions: int
    stop_after: int
    shard_format: ShardFormat

    @classmethod
    def read(
        cls,
        *,
        n_iterations: Any,
        checkpoint_every: Any,
        checkpoint_by_time: Any,
        concat_every_n_save: Any,
        max_suggestions: Any,
        stop_n_inside_with_aim_params: Any,
        shard_format: Any,
    ) -> Limits:
        """Check what a user gives; ``checkpoint_by_time`` is in minutes.

        Raises:
            ConfigurationError: Names the first that cannot be used.
        """
        if shard_format not in SHARD_FORMATS:
            raise ConfigurationError(
                f"shard_format {shard_format!r} is unknown; choose one of {SHARD_FORMATS}."
            )
        minutes = number("checkpoint_by_time", checkpoint_by_time or 0.0)
        return cls(
            n_iterations=whole("n_iterations", n_iterations, 0),
            checkpoint_every=whole("checkpoint_every", checkpoint_every, 1),
            checkpoint_seconds=minutes * _SECONDS_PER_MINUTE if minutes else None,
            concat_every_n_save=whole("concat_every_n_save", concat_every_n_save, 1),
            max_suggestions=whole("max_suggestions", max_suggestions, 1),
            stop_after=whole("stop_n_inside_with_aim_params", stop_n_inside_with_aim_params, None),
            shard_format=shard_format,
        )


def whole(name: str, value: Any, least: int | None) -> int:
    """Return a whole number that a user gave, 6e4 too.

    Raises:
        ConfigurationError: It is none, or below ``least``.
    """
    found = number(name, value, -math.inf)
    if found != int(found) or (least is not None and found < least):
        bound = "" if least is None else f" of at least {least}"
        raise ConfigurationError(f"{name} is {value!r}; give a whole number{bound}.")
    return int(value)


def number(name: str, value: Any, least: float = 0.0) -> float:
    """Return a finite number that a user gave.

    Raises:
        ConfigurationError: It is none, or below ``least``.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool | np.bool_) or not math.isfinite(found) or found < least:
        bound = f" of at least {least:g}" if math.isfinite(least) else ""
        raise ConfigurationError(f"{name} is {value!r}; give a finite number{bound}.")
    return found


def random_seed(value: Any) -> int:
    """Return the seed of a random stream.

    Raises:
        ConfigurationError: It is no whole number from 0 to 2**32 - 1.
    """
    seed = whole("seed", value, 0)
    if seed > _LARGEST_SEED:
        raise ConfigurationError(f"seed is {value!r}; give one of at most {_LARGEST_SEED}.")
    return seed


def given(name: str, value: Any) -> Any:
    """Return what a user gave.

    Raises:
        ConfigurationError: Nothing was given.
    """
    if value is None:
        raise ConfigurationError(f"{name} is missing; give it to RW.")
    return value
