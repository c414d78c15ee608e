"""Parameters completed by the initial values of those that they lack."""

from __future__ import annotations

from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.strategies.quantamm.initial_values import (
    SUBSIDIARIES,
    Values,
    init_params,
    init_params_singleton,
)

# Two ways to write one parameter: where one is given the other one is not missing.
_K = ("log_k", "k")


def fill_in_missing_values_from_init_singleton(
    params: Values,
    initial_values_dict: Values,
    n_tokens: int,
    n_subsidary_rules: int = 0,
    chunk_period: Any = 60,
    log_for_k: bool = True,
) -> dict[str, Any]:
    """Return one set's parameters with those that are missing or None as initialised.

    ``params`` is not changed. Arguments and errors as for `init_params_singleton`.
    """
    made = init_params_singleton(
        initial_values_dict, n_tokens, n_subsidary_rules, chunk_period, log_for_k
    )
    return {**params, **_missing(params, made)}


def fill_in_missing_values_from_init(
    params: Values,
    initial_values_dict: Values,
    n_tokens: int,
    n_subsidary_rules: int = 0,
    chunk_period: Any = 60,
    n_parameter_sets: int = 1,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return several sets' parameters with those that are missing or None as initialised.

    ``params`` is not changed. Arguments and errors as for `init_params`.

    Raises:
        ParameterError: Also where something is missing, and the parameters that are there have
            another number of sets.
    """
    made = init_params(
        initial_values_dict,
        n_tokens,
        n_subsidary_rules,
        chunk_period,
        n_parameter_sets=n_parameter_sets,
        seed=seed,
    )
    added = _missing(params, made)
    if set(added) - {SUBSIDIARIES}:
        _check_sets(params, set(made) - {SUBSIDIARIES}, n_parameter_sets)
    return {**params, **added}


def _missing(params: Values, made: dict[str, Any]) -> dict[str, Any]:
    has_k = any(params.get(name) is not None for name in _K)
    return {
        name: value
        for name, value in made.items()
        if params.get(name) is None and not (has_k and name in _K)
    }


def _check_sets(params: Values, names: set[str], sets: int) -> None:
    for name in sorted(names):
        shape = np.shape(params[name]) if params.get(name) is not None else ()
        if len(shape) > 1 and shape[0] != sets:
            raise ParameterError(
                f"Parameter {name!r} has {shape[0]} sets where n_parameter_sets is {sets}, and "
                f"others are missing; give n_parameter_sets={shape[0]}."
            )
