"""Where a walk begins, and the law that its settings make from there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.exploration.isf.law import Aim, Law
from ax_jax_runners.exploration.isf.ranges import Ranges, aim_values
from ax_jax_runners.exploration.isf.settings import number

_MODES = (None, "expand")
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Start:
    """Where a walk begins, and how unit coordinates become parameters.

    Attributes:
        ranges: Of all parameters.
        point: The seed point, (n,) float64, physical units, all parameters.
        places: Where the explored parameters stand among all.
    """

    ranges: Ranges
    point: np.ndarray
    places: list[int]

    @functools.cached_property
    def position(self) -> np.ndarray:
        """The seed point in the unit box of the explored parameters, (d,) float64."""
        return self.ranges.normalize(self.point[self.places], self.places)

    @property
    def explored(self) -> tuple[str, ...]:
        """Names of the explored parameters, in the order of the coordinates."""
        return tuple(self.ranges.names[place] for place in self.places)

    def parameters(self, position: np.ndarray) -> np.ndarray:
        """Return all parameters, (n,) physical units, at a point in the unit box."""
        lower, width = self._scale
        point = self.point.copy()
        point[self.places] = position * width + lower
        return point

    @functools.cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        lower = self.ranges.lower[self.places]
        return lower, self.ranges.upper[self.places] - lower

    def check_in_box(self, chosen: Any) -> None:
        """Refuse a seed point that is out of the box by more than rounding.

        Raises:
            ParameterError: Names the first such parameter.
        """
        for name, value in zip(self.explored, self.position, strict=True):
            if not -_ROUNDING <= value <= 1.0 + _ROUNDING:
                raise ParameterError(
                    f"Seed point {chosen!r}: {name!r} is at {value:.6g} of its range, which is 0 "
                    "to 1; widen param_ranges or choose another seed point."
                )


def make_law(
    start: Start,
    *,
    min_step_size: Any,
    max_step_size: Any,
    mode: Any,
    aim_params: Mapping[str, Any],
) -> Law:
    """Return the law of proposals of a user's settings.

    Raises:
        ConfigurationError: A step size or mode that cannot be used.
        ParameterError: An aim that is no number, or not of an explored parameter.
    """
    shortest = number("min_step_size", min_step_size)
    longest = number("max_step_size", max_step_size)
    if shortest > longest:
        raise ConfigurationError(
            f"min_step_size {shortest} is above max_step_size {longest}; swap them."
        )
    if mode not in _MODES:
        raise ConfigurationError(f"mode {mode!r} is unknown; give None or 'expand'.")
    aims = tuple(_aim(start, name, value) for name, value in aim_values(aim_params).items())
    return Law(start.position, shortest, longest, mode == "expand", aims)


def describe(start: Start, law: Law, aim_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a walk, as plain JSON."""
    return {
        "parameters": list(start.ranges.names),
        "lower": start.ranges.lower.tolist(),
        "upper": start.ranges.upper.tolist(),
        "seed_point": start.point.tolist(),
        "params_to_explore": list(start.explored),
        "min_step_size": law.min_step_size,
        "max_step_size": law.max_step_size,
        "mode": "expand" if law.expand else None,
        "aim_params": aim_values(aim_params),
    }


def _aim(start: Start, name: str, value: float) -> Aim:
    place = start.ranges.indices([name], "aim_params")
    if name not in start.explored:
        raise ParameterError(
            f"aim_params holds {name!r}, which is not explored; add it to params_to_explore."
        )
    target = start.ranges.normalize(np.array([value]), place)[0]
    away = value - start.point[place[0]]
    return Aim(name, start.explored.index(name), float(target), 1.0 if away > 0 else -1.0)
