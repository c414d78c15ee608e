"""Designs: points of a parameter space chosen before anything is computed, as plain dicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.constraints import CONSTRAINT_TOLERANCE
from ax_jax_runners.parameters.scalars import Scalar, plain_scalar
from ax_jax_runners.parameters.space import ParameterSpace

GRID = "grid"


@dataclass(frozen=True)
class Linear:
    """An axis of equally spaced values.

    Attributes:
        lower: The first value.
        upper: The last value.
        points: Number of values, both ends included; a single one is ``lower``.
    """

    lower: float
    upper: float
    points: int = 10

    def values(self) -> list[float]:
        """Return the values in order.

        Raises:
            ParameterError: Ends that are not finite, or no points.
        """
        _check_axis(self)
        return np.linspace(self.lower, self.upper, self.points).tolist()


@dataclass(frozen=True)
class Logarithmic:
    """An axis of values in equal ratios.

    Attributes:
        lower: The first value, above 0.
        upper: The last value, above 0.
        points: Number of values, both ends included; a single one is ``lower``.
    """

    lower: float
    upper: float
    points: int = 10

    def values(self) -> list[float]:
        """Return the values in order.

        Raises:
            ParameterError: Ends that are not finite and above 0, or no points.
        """
        _check_axis(self)
        if not (self.lower > 0 and self.upper > 0):
            raise ParameterError(f"{self}: a logarithmic axis needs ends above 0.")
        return np.geomspace(self.lower, self.upper, self.points).tolist()


def _check_axis(axis: Linear | Logarithmic) -> None:
    whole = isinstance(axis.points, (int, np.integer)) and not isinstance(axis.points, bool)
    if not whole or axis.points < 1:
        raise ParameterError(f"{axis}: points is no whole number of at least 1; give one.")
    if not (math.isfinite(axis.lower) and math.isfinite(axis.upper)):
        raise ParameterError(f"{axis}: an end is not finite; give finite ends.")


@dataclass(frozen=True)
class Design(Sequence[dict[str, Scalar]]):
    """Distinct points in order.

    Attributes:
        label: How it was made: "grid", "sobol" or "latin_hypercube".
        points: Built-in Python values by name.
    """

    label: str
    points: tuple[dict[str, Scalar], ...]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: Any) -> Any:
        return self.points[index]

    def __iter__(self) -> Iterator[dict[str, Scalar]]:
        return iter(self.points)

    def within(self, space: ParameterSpace) -> Design:
        """Return the design without the points that break the space's constraints or bounds.

        Raises:
            ParameterError: Names or types of values that the space does not have.
        """
        return Design(self.label, tuple(p for p in self.points if is_inside(space, p)))


def product_design(
    axes: Mapping[str, Linear | Logarithmic | Iterable[Any]],
) -> Design:
    """Return every combination of the axes' values, the last name changing fastest.

    Args:
        axes: Names to `Linear`, `Logarithmic`, or the values themselves. A value that comes twice
            is taken once.

    Raises:
        ParameterError: An axis without values, or with one that is no finite scalar.
    """
    listed = {}
    for name, axis in axes.items():
        if isinstance(axis, (str, bytes, Mapping)) or not isinstance(
            axis, (Linear, Logarithmic, Iterable)
        ):
            raise ParameterError(
                f"Axis {name!r} is {axis!r}; give Linear, Logarithmic or a list of values."
            )
        values = axis.values() if isinstance(axis, (Linear, Logarithmic)) else axis
        listed[name] = [plain_scalar(value, f"Axis {name!r}: a value") for value in values]
        if not listed[name]:
            raise ParameterError(f"Axis {name!r} has no values; give at least one.")
    combinations = itertools.product(*listed.values())
    return Design(GRID, distinct(dict(zip(listed, row, strict=True)) for row in combinations))


def is_inside(space: ParameterSpace, point: Mapping[str, Any]) -> bool:
    """Say whether a point lies in the search box and keeps the constraints.

    Raises:
        ParameterError: Names or types of values that the space does not have.
    """
    theta = space.pack(point)
    return bool(
        np.all(theta >= space.lower) and np.all(theta <= space.upper) and is_feasible(space, theta)
    )


def is_feasible(space: ParameterSpace, theta: np.ndarray) -> bool:
    """Say whether theta (d,) keeps the space's linear constraints."""
    for constraint in space.linear_constraints:
        terms = [c * theta[space.names.index(name)] for name, c in constraint.coefficients]
        slack = CONSTRAINT_TOLERANCE * sum(map(abs, terms), abs(constraint.bound))
        if sum(terms) > constraint.bound + slack:
            return False
    return True


def distinct(points: Iterable[dict[str, Scalar]]) -> tuple[dict[str, Scalar], ...]:
    """Return points in order, each once."""
    kept: dict[Any, dict[str, Scalar]] = {}
    for point in points:
        # True is not 1 here, though it is for Python.
        kept.setdefault(tuple((name, isinstance(v, bool), v) for name, v in point.items()), point)
    return tuple(kept.values())
