"""Hessian traces of the parameters of stored checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.strategies.quantamm.initial_values import SUBSIDIARIES
from ax_jax_runners.strategies.quantamm.plain import dict_of_np_to_jnp
from ax_jax_runners.strategies.quantamm.result_files import parameters_of

HessianTrace = Callable[[dict[str, Any]], Any]
"""From the parameters of a row, as JAX arrays, to the trace, of each set or of all together."""


def calc_hessian_from_loaded_params(
    params: Mapping[str, Any],
    partial_fixed_training_step: Callable[[dict[str, Any]], Any],
    *,
    hessian_trace: Callable[[dict[str, Any], Callable[[dict[str, Any]], Any]], Any] | None = None,
) -> np.ndarray:
    """Return the trace of the Hessian of a function of the parameters of a row.

    Args:
        params: A row; its objectives and notes of the training are no parameters.
        partial_fixed_training_step: The function, of JAX arrays; for the exact trace one number.
        hessian_trace: What computes the trace of parameters and function; None: the exact trace,
            one product with the Hessian for each parameter.
    """
    trace = _exact_trace if hessian_trace is None else hessian_trace
    return np.array(trace(jax_parameters(params), partial_fixed_training_step))


def with_hessian(row: Mapping[str, Any], hessian_trace: HessianTrace | None) -> dict[str, Any]:
    """Return a row with the trace as ``hessian_trace``.

    Raises:
        ConfigurationError: There is no function for it.
    """
    return {**row, "hessian_trace": np.array(checked(hessian_trace)(jax_parameters(row)))}


def checked(hessian_trace: HessianTrace | None) -> HessianTrace:
    """Return the function that was given.

    Raises:
        ConfigurationError: None was.
    """
    if hessian_trace is None:
        raise ConfigurationError(
            "recalc_hess needs the function whose Hessian it is; give hessian_trace, such as "
            "lambda params: calc_hessian_from_loaded_params(params, training_step)."
        )
    return hessian_trace


def jax_parameters(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a row as JAX arrays, subsidiary ones as well."""
    params = dict_of_np_to_jnp(parameters_of(row))
    if SUBSIDIARIES in params:
        params[SUBSIDIARIES] = [jax_parameters(each) for each in params[SUBSIDIARIES]]
    return params


def _exact_trace(params: dict[str, Any], function: Callable[[dict[str, Any]], Any]) -> Any:
    flat, unravel = ravel_pytree(params)
    slope = jax.grad(lambda x: function(unravel(x)))

    def curvature(number: Any) -> Any:
        direction = jnp.zeros_like(flat).at[number].set(1.0)
        return jax.jvp(slope, (flat,), (direction,))[1][number]

    return jnp.sum(jax.lax.map(curvature, jnp.arange(flat.size)))
