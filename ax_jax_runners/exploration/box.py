"""The search box as the unit cube, in which walks take their steps."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Bijector, ParameterSpace
from ax_jax_runners.parameters.space import CONSTRAINT_TOLERANCE


@dataclass(frozen=True)
class SearchBox:
    """Explored free parameters as coordinates in [0, 1], on the scale on which they are searched.

    A parameter with a bijector is measured by its raw number, one on a logarithmic scale by its
    logarithm, others by their value. A whole number of n values has n cells of equal width, and so
    has a choice. Free parameters that are not explored keep the value of a seed point.

    Attributes:
        space: The parameters.
        params_to_explore: Names of the explored ones, in the order of the coordinates; None for all
            free parameters.
    """

    space: ParameterSpace
    params_to_explore: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigurationError: An unknown, fixed or doubled name, or none.
        """
        if self.params_to_explore is None:
            return
        given = self.params_to_explore
        if not isinstance(given, Iterable):
            raise ConfigurationError(f"params_to_explore is {given!r}; give a list of names.")
        names = (given,) if isinstance(given, str) else tuple(given)
        unknown = [name for name in names if name not in self.space.names]
        if unknown or not names or len(set(names)) < len(names):
            found = f"{unknown[0]!r}" if unknown else "nothing" if not names else "a name twice"
            raise ConfigurationError(
                f"params_to_explore holds {found}; choose each once among the free parameters "
                f"{', '.join(self.space.names)}."
            )
        object.__setattr__(self, "params_to_explore", names)

    @property
    def names(self) -> tuple[str, ...]:
        """The explored parameters, in the order of the coordinates."""
        return self.space.names if self.params_to_explore is None else self.params_to_explore

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    @functools.cached_property
    def columns(self) -> tuple[int, ...]:
        """Where in theta the explored parameters stand."""
        return tuple(self.space.names.index(name) for name in self.names)

    @functools.cached_property
    def _bijectors(self) -> dict[int, Bijector]:
        """Bijectors by the coordinate that has one."""
        chosen = [self.space.free[column].bijector for column in self.columns]
        return {i: bijector for i, bijector in enumerate(chosen) if bijector is not None}

    @functools.cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Lower end and width on the scale of the search, which are logarithms, which are whole."""
        chosen = [self.space.free[column] for column in self.columns]
        whole = np.array([p.integer or p.choices is not None for p in chosen], dtype=bool)
        logarithmic = np.array([p.log_scale for p in chosen], dtype=bool) & ~whole
        logarithmic[list(self._bijectors)] = False
        columns = list(self.columns)
        lower = self.space.lower[columns] - 0.5 * whole
        upper = self.space.upper[columns] + 0.5 * whole
        with np.errstate(divide="ignore", invalid="ignore"):
            lower = np.where(logarithmic, np.log(lower), lower)
            upper = np.where(logarithmic, np.log(upper), upper)
        for i, bijector in self._bijectors.items():
            lower[i], upper[i] = bijector.to_raw(lower[i]), bijector.to_raw(upper[i])
        return lower, upper - lower, logarithmic, whole

    def to_unit(self, theta: Any) -> np.ndarray:
        """Return coordinates of physical values, (..., d) to (..., dimension) float64."""
        lower, width, logarithmic, _ = self._ends
        values = np.asarray(theta, dtype=np.float64)[..., list(self.columns)]
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(logarithmic, np.log(values), values)
        for i, bijector in self._bijectors.items():
            scaled[..., i] = bijector.to_raw(values[..., i])
        return (scaled - lower) / width

    def to_theta(self, unit: Any, seed: Any = None) -> np.ndarray:
        """Return physical values of coordinates, (..., dimension) to (..., d) float64.

        Args:
            unit: Coordinates.
            seed: (..., d), where the other free parameters come from; may be left out when all are
                explored.
        """
        lower, width, logarithmic, whole = self._ends
        unit = np.asarray(unit, dtype=np.float64)
        values = lower + unit * width
        np.exp(values, where=logarithmic, out=values)
        for i, bijector in self._bijectors.items():
            values[..., i] = bijector.to_value(values[..., i])
        columns = list(self.columns)
        # Rounding of a logarithm must not lead out of the box.
        values = np.clip(values, self.space.lower[columns], self.space.upper[columns])
        values = np.where(whole, np.round(values), values)
        if self.dimension == self.space.dimension:
            theta = np.empty_like(values)
        else:
            shape = (*unit.shape[:-1], self.space.dimension)
            theta = np.broadcast_to(np.asarray(seed, dtype=np.float64), shape).copy()
        theta[..., columns] = values
        return theta

    def theta_row(self, unit: Array, seed: Array) -> Array:
        """Return theta (d,) of coordinates (dimension,) and a seed's theta (d,), all traced."""
        lower, width, logarithmic, whole = (np.asarray(end) for end in self._ends)
        kind = unit.dtype
        below, above = self.space.lower[list(self.columns)], self.space.upper[list(self.columns)]
        values = []
        for i in range(self.dimension):
            value = kind.type(lower[i]) + unit[i] * kind.type(width[i])
            if i in self._bijectors:
                value = self._bijectors[i].to_value(value)
            elif logarithmic[i]:
                value = jnp.exp(value)
            elif whole[i]:
                value = jnp.round(value)
            # Rounding must not lead out of the box, where a simulator may know no value.
            values.append(jnp.clip(value, kind.type(below[i]), kind.type(above[i])))
        theta = [seed[column] for column in range(self.space.dimension)]
        for column, value in zip(self.columns, values, strict=True):
            theta[column] = value
        return jnp.stack(theta)

    def holds(self, theta: Any) -> Any:
        """Say whether the space's linear constraints hold at theta (d, ...), traced or not."""
        held: Any = True
        for constraint in self.space.linear_constraints:
            terms = [c * theta[self.space.names.index(name)] for name, c in constraint.coefficients]
            size = sum((abs(term) for term in terms), abs(constraint.bound))
            held = held & (sum(terms) <= constraint.bound + CONSTRAINT_TOLERANCE * size)
        return held
