"""Where a walk may go besides staying inside: anywhere, outwards, or towards an aim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.box import SearchBox

#: An aimed coordinate has arrived when it is this near, in units of the search box.
AIM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Course:
    """What proposals are admissible.

    A walk with a course is a directed process, not a sampler of the region.

    Attributes:
        expand: Only proposals further from the seed point than the current one.
        aims: Coordinate numbers and the values that they are to reach, in [0, 1].
        stop_at_aim: How many inside points with all aims reached end a particle; -1: none.
    """

    expand: bool = False
    aims: tuple[tuple[int, float], ...] = ()
    stop_at_aim: int = -1

    @property
    def free(self) -> bool:
        """Whether every point of the box is admissible."""
        return not self.expand and not self.aims

    def steer(self, unit: Array, movement: Array) -> Array:
        """Turn a movement (k, ...) towards the aims, at most onto them.

        A coordinate that has arrived stays where it is.
        """
        if not self.aims:
            return movement
        rows = list(movement)
        for i, aim in self.aims:
            gap = rows[i].dtype.type(aim) - unit[i]
            length = jnp.minimum(jnp.abs(rows[i]), jnp.abs(gap))
            rows[i] = jnp.where(jnp.abs(gap) <= AIM_TOLERANCE, 0.0, jnp.sign(gap) * length)
        return jnp.stack(rows)

    def allows(self, unit: Array, seed_unit: Array, proposal: Array) -> Array:
        """Say which proposals (k, ...) are admissible after the points ``unit``."""
        allowed = jnp.all((proposal >= 0) & (proposal <= 1), axis=0)
        if self.expand:
            now = jnp.sum((unit - seed_unit) ** 2, axis=0)
            then = jnp.sum((proposal - seed_unit) ** 2, axis=0)
            allowed = allowed & (then > now)
        return allowed

    def arrived(self, unit: Any) -> Array:
        """Say at which points (k, ...) every aim is reached."""
        reached = jnp.ones(unit.shape[1:], dtype=bool)
        for i, aim in self.aims:
            reached = reached & (jnp.abs(unit[i] - unit.dtype.type(aim)) <= AIM_TOLERANCE)
        return reached

    def distance(self, unit: np.ndarray) -> np.ndarray:
        """Return the Euclidean distance of points (..., k) from the aims, in the aimed coordinates.

        It is 0 where nothing is aimed at.
        """
        gaps = [unit[..., i] - aim for i, aim in self.aims]
        return np.sqrt(sum((gap**2 for gap in gaps), np.zeros(unit.shape[:-1])))


def read_course(
    box: SearchBox, mode: str | None, aim_params: Mapping[str, float] | None, stop_at_aim: int
) -> Course:
    """Return the course that a walk's options ask for.

    Args:
        box: The search box.
        mode: None or "expand".
        aim_params: Values to reach, in physical units, by explored parameter.
        stop_at_aim: See `Course`.

    Raises:
        ConfigurationError: Another mode, an aim that is not explored or lies outside the box.
    """
    if mode not in (None, "expand"):
        raise ConfigurationError(f"mode is {mode!r}; give None or 'expand'.")
    whole = isinstance(stop_at_aim, int) and not isinstance(stop_at_aim, bool)
    if not whole or (stop_at_aim != -1 and stop_at_aim < 1):
        raise ConfigurationError(
            f"stop_n_inside_with_aim_params is {stop_at_aim!r}; give a positive whole number, or "
            "-1 for never."
        )
    aims = []
    for name, value in (aim_params or {}).items():
        if name not in box.names:
            raise ConfigurationError(
                f"aim_params names {name!r}; the explored parameters are {', '.join(box.names)}."
            )
        theta = np.array(box.space.lower)
        theta[box.space.names.index(name)] = value
        unit = float(box.to_unit(theta)[box.names.index(name)])
        if not 0.0 <= unit <= 1.0:
            parameter = box.space.free[box.space.names.index(name)]
            raise ConfigurationError(
                f"The aim {name} = {value!r} lies outside its range, {parameter.lower!r} to "
                f"{parameter.upper!r}; aim within it."
            )
        aims.append((box.names.index(name), unit))
    if stop_at_aim > 0 and not aims:
        raise ConfigurationError(
            f"stop_n_inside_with_aim_params is {stop_at_aim} and nothing is aimed at; give "
            "aim_params, or leave it out."
        )
    return Course(mode == "expand", tuple(sorted(aims)), stop_at_aim)
