"""Grids of settings and of initial values: every combination, the last key changing fastest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import Linear, Logarithmic
from ax_jax_runners.parameters.elementwise import compute
from ax_jax_runners.parameters.scalars import plain_scalar
from ax_jax_runners.strategies.quantamm.missing_values import (
    fill_in_missing_values_from_init_singleton,
)

Range = tuple[float, float]

_POINTS = 10
_ARBITRAGE = "arb_frequency"
_ARBITRAGE_MINUTES = (1.0, 100.0)


def create_product_of_linspaces(
    params: Mapping[str, Any],
    keys_ranges: Mapping[str, Range],
    num_points_per_key: Mapping[str, int],
    inverse_funcs: Mapping[str, Callable[[Any], Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return ``params`` with every combination of equally spaced values of some keys.

    Args:
        params: The other values; every entry has its own copy of them.
        keys_ranges: First and last value by key.
        num_points_per_key: Number of values by key; 10 where it is not given.
        inverse_funcs: By key, what is applied to the array of values, such as ``np.exp``.

    Returns:
        Dictionaries whose chosen keys hold Python numbers.

    Raises:
        ParameterError: An end that is not finite, no points, a key without a range, or a function
            that does not return a finite number for each value.
    """
    functions = inverse_funcs or {}
    _check_keys("num_points_per_key", num_points_per_key, keys_ranges)
    _check_keys("inverse_funcs", functions, keys_ranges)
    arrays = {}
    for key, (low, high) in keys_ranges.items():
        values: Any = Linear(low, high, num_points_per_key.get(key, _POINTS)).values()
        if key in functions:
            mapped = np.asarray(functions[key](np.asarray(values)))
            if mapped.shape != (len(values),):
                raise ParameterError(
                    f"inverse_funcs[{key!r}] returned the shape {mapped.shape} for {len(values)} "
                    "values; give a function that works elementwise."
                )
            values = mapped
        arrays[key] = values
    return create_product_of_arrays(params, arrays)


def create_product_of_arrays(
    params: Mapping[str, Any], keys_arrays: Mapping[str, Iterable[Any]]
) -> list[dict[str, Any]]:
    """Return ``params`` with every combination of given values of some keys.

    Args:
        params: The other values; every entry has its own copy of them.
        keys_arrays: The values by key.

    Returns:
        Dictionaries whose chosen keys hold Python numbers where the values were numbers.

    Raises:
        ParameterError: A key without values, or a number that is not finite.
    """
    listed = {key: [_plain(key, v) for v in values] for key, values in keys_arrays.items()}
    for key, values in listed.items():
        if not values:
            raise ParameterError(f"Key {key!r} has no values; give at least one.")
    return [
        deepcopy({**params, **dict(zip(listed, combination, strict=True))})
        for combination in itertools.product(*listed.values())
    ]


def generate_run_fingerprint_combinations(
    run_fingerprint: Mapping[str, Any],
    keys_ranges: Mapping[str, Range] | None = None,
    num_points_per_key: Mapping[str, int] | None = None,
    inverse_funcs: Mapping[str, Callable[[Any], Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return a run's settings with every combination of values of some keys.

    Args:
        run_fingerprint: The other settings; they are not changed.
        keys_ranges: As for `create_product_of_linspaces`; None: ``arb_frequency`` from 1 to 100
            in equal ratios, as the logarithms of which a function in ``inverse_funcs`` gets them.
        num_points_per_key: Number of values by key; 10 where it is not given.
        inverse_funcs: As for `create_product_of_linspaces`.

    Raises:
        ParameterError: As `create_product_of_linspaces`.
    """
    points = num_points_per_key or {}
    if keys_ranges is None and not inverse_funcs:
        _check_keys("num_points_per_key", points, [_ARBITRAGE])
        minutes = Logarithmic(*_ARBITRAGE_MINUTES, points.get(_ARBITRAGE, _POINTS))
        return create_product_of_arrays(run_fingerprint, {_ARBITRAGE: minutes.values()})
    if keys_ranges is None:
        low, high = _ARBITRAGE_MINUTES
        keys_ranges = {_ARBITRAGE: (math.log(low), math.log(high))}
    return create_product_of_linspaces(run_fingerprint, keys_ranges, points, inverse_funcs)


def generate_params_combinations(
    initial_values_dict: Mapping[str, Any],
    n_tokens: int,
    n_subsidary_rules: int,
    chunk_period: Any,
    n_parameter_sets: int,
    k_per_day_range: Range,
    memory_days_range: Range,
    num_points_k_per_day: int = _POINTS,
    num_points_memory_days: int = _POINTS,
    *,
    log_for_k: bool = True,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return raw parameters over a grid of equally spaced k per day and memory in days.

    Args:
        initial_values_dict: The other initial values.
        n_tokens: Number of assets.
        n_subsidary_rules: Number of subsidiary rules.
        chunk_period: Minutes between two observations of prices.
        n_parameter_sets: Taken for the sake of its place; every entry is one set, and
            `combine_param_combinations` puts them together.
        k_per_day_range: First and last k per day.
        memory_days_range: First and last memory, which changes fastest.
        num_points_k_per_day: Number of values of k.
        num_points_memory_days: Number of memories.
        log_for_k: As for `init_params_singleton`.

    Returns:
        The raw parameters, and the initial values that they come from, in one order.

    Raises:
        ParameterError: A range that cannot be used, or as `init_params_singleton`.
    """
    values = create_product_of_linspaces(
        initial_values_dict,
        {"initial_k_per_day": k_per_day_range, "initial_memory_length": memory_days_range},
        {
            "initial_k_per_day": num_points_k_per_day,
            "initial_memory_length": num_points_memory_days,
        },
    )
    filled = [
        fill_in_missing_values_from_init_singleton(
            {}, each, n_tokens, n_subsidary_rules, chunk_period, log_for_k=log_for_k
        )
        for each in values
    ]
    return filled, values


def make_log_range_with_zero(x: Any) -> Any:
    """Return exp(x), and 0 where x is 0, elementwise: an axis of a grid that begins at 0."""
    return compute(lambda xp, array: xp.where(array == 0, 0.0, xp.exp(array)), x)


def _plain(key: str, value: Any) -> Any:
    is_scalar = isinstance(value, (bool, int, float, str)) or np.shape(value) == ()
    if value is None or isinstance(value, Mapping) or not is_scalar:
        return value
    return plain_scalar(value, f"Key {key!r}: a value")


def _check_keys(what: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ParameterError(
            f"{what} has {unknown[0]!r}, which is no key of the grid; the keys are "
            f"{', '.join(map(repr, known))}."
        )
