"""Seed points as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import ParameterSpace


def read_seed_points(space: ParameterSpace, given: Any) -> np.ndarray:
    """Return seed points as (n, d) float64, n at least 1.

    Args:
        space: Their parameters.
        given: A DataFrame with a row for each, a list of dicts, one dict, or an array (n, d) or
            (d,). Columns and keys beyond the space's parameters are passed over.

    Raises:
        ParameterError: None, a missing parameter, or a value that is not in its range.
    """
    if isinstance(given, Mapping):
        given = [given]
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        given = given.to_dict("records")
    if isinstance(given, (list, tuple)) and given and isinstance(given[0], Mapping):
        known = {parameter.name for parameter in space.parameters}
        theta = np.array(
            [space.pack({k: v for k, v in row.items() if k in known}) for row in given]
        )
    else:
        try:
            theta = np.atleast_2d(np.asarray(given, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ParameterError(
                f"The seed points are a {type(given).__name__} that is no table of numbers; give a "
                "DataFrame, a list of dicts, or an array with a row for each."
            ) from error
    if theta.ndim != 2 or not len(theta) or theta.shape[1] != space.dimension:
        raise ParameterError(
            f"The seed points have the shape {theta.shape}; give at least one row of "
            f"{', '.join(space.names)}."
        )
    whole = [parameter.integer or parameter.choices is not None for parameter in space.free]
    ranges = list(zip(space.names, space.lower, space.upper, whole, strict=True))
    for number, row in enumerate(theta):
        for value, (name, low, high, is_whole) in zip(row.tolist(), ranges, strict=True):
            if not low <= value <= high:
                raise ParameterError(
                    f"Seed point {number}: {name} = {value:g} is not between {low:g} and {high:g}; "
                    "correct it, or widen the range."
                )
            if is_whole and value != round(value):
                raise ParameterError(
                    f"Seed point {number}: {name} = {value:g} is no whole number; give one (of a "
                    "choice its place in the list)."
                )
    return theta
