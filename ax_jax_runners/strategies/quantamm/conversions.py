"""Conversions between what people read (memory in days, lambda, k) and unconstrained raw numbers.

Each function computes where its argument lives: Python and NumPy numbers in NumPy, JAX arrays and
traced values in JAX. Out of its domain it raises eagerly and gives NaN where it is traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import MissingParameter, ParameterError
from ax_jax_runners.parameters import Log2, Logit, MemoryDecay, Squareplus
from ax_jax_runners.parameters.elementwise import compute
from ax_jax_runners.parameters.scalars import plain_scalar

# Days = unitless memory * 2 * chunk minutes / (4 * 1440): at this length both are the same number.
_UNITLESS = MemoryDecay(2880.0)


def memory_decay(chunk_period: Any) -> MemoryDecay:
    """Return the map between days and the logit of lambda at a chunk of so many minutes."""
    return MemoryDecay(plain_scalar(chunk_period, "chunk_period"))  # type: ignore[arg-type]


def squareplus(x: Any) -> Any:
    """Return (x + sqrt(x^2 + 4)) / 2 > 0 (Barron, arXiv:2112.11687), without cancellation."""
    return Squareplus().to_value(x)


def inverse_squareplus(y: Any) -> Any:
    """Return the x whose squareplus is y.

    Raises:
        ParameterError: A y that is not above 0.
    """
    return Squareplus().to_raw(y)


def inverse_squareplus_np(y: Any) -> Any:
    """Return the x whose squareplus is y, computed by NumPy; errors as `inverse_squareplus`."""
    return Squareplus().to_raw(y if isinstance(y, (int, float)) else np.asarray(y))


def logistic_func(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return Logit().to_value(x)


def jax_logit_lamb_to_lamb(logit_lamb: Any) -> Any:
    """Return lambda, between 0 and 1, of its logit."""
    return Logit().to_value(logit_lamb)


def lamb_to_memory(lamb: Any) -> Any:
    """Return the unitless memory 4 * cbrt(6 lambda) / (1 - lambda), 0 for lambda 0.

    It is the memory in days times 2 * 1440 / chunk_period.

    Raises:
        ParameterError: A lambda outside [0, 1).
    """
    return _with_zero(_UNITLESS.from_decay, lamb)


def lamb_to_memory_days(lamb: Any, chunk_period: Any) -> Any:
    """Return the memory in days of a lambda at a chunk of so many minutes, 0 for lambda 0.

    Near 1 lambda itself no longer tells the memory well; its logit does, see `MemoryDecay`.

    Raises:
        ParameterError: A lambda outside [0, 1), or a chunk that is not above 0.
    """
    return _with_zero(memory_decay(chunk_period).from_decay, lamb)


def lamb_to_memory_days_clipped(lamb: Any, chunk_period: Any, max_memory_days: Any) -> Any:
    """Return the memory in days, at most ``max_memory_days``, which is also that of lambda 1.

    Raises:
        ParameterError: A lambda outside [0, 1], a chunk or a maximum that is not above 0.
    """
    most = checked_maximum(max_memory_days)
    decay = memory_decay(chunk_period)

    def clipped(xp: Any, x: Any) -> Any:
        is_one = x == 1
        days = _with_zero(decay.from_decay, xp.where(is_one, 0.5, x))
        return xp.where(is_one, most, xp.minimum(days, most))

    return compute(clipped, lamb)


def memory_days_to_lamb(memory_days: Any, chunk_period: Any = 60) -> Any:
    """Return lambda of a memory in days at a chunk of so many minutes, 0 for no memory.

    Raises:
        ParameterError: A memory that is negative or infinite, or a chunk that is not above 0.
    """
    return _with_zero(memory_decay(chunk_period).to_decay, memory_days)


def jax_memory_days_to_lamb(memory_days: Any, chunk_period: Any = 60) -> Any:
    """As `memory_days_to_lamb`, which takes JAX arrays and traced values as well."""
    return memory_days_to_lamb(memory_days, chunk_period)


def memory_days_to_logit_lamb(memory_days: Any, chunk_period: Any = 60) -> Any:
    """Return the logit of lambda of a memory in days at a chunk of so many minutes.

    Raises:
        ParameterError: A memory that is not above 0 and finite, or a chunk that is not above 0.
    """
    return memory_decay(chunk_period).to_raw(memory_days)


def get_raw_value(value: Any) -> Any:
    """Return log2 of a positive value.

    Raises:
        ParameterError: A value that is not above 0 and finite.
    """
    return Log2().to_raw(value)


def get_log_amplitude(amplitude: Any, memory_days: Any) -> Any:
    """Return log2(amplitude / memory_days).

    Raises:
        ParameterError: An amplitude or a memory that is not above 0 and finite.
    """
    return Log2().to_raw(amplitude) - Log2().to_raw(memory_days)


def calc_lamb(update_rule_parameter_dict: Mapping[str, Any]) -> Any:
    """Return lambda of the parameter ``logit_lamb``.

    Raises:
        MissingParameter: There is none; it is a KeyError.
    """
    return logistic_func(parameter(update_rule_parameter_dict, "logit_lamb"))


def calc_lamb_from_index(
    update_rule_parameter_dict: Mapping[str, Any], logit_lamb_index: Any
) -> Any:
    """Return lambda of one entry of the parameter ``logit_lamb``.

    Raises:
        MissingParameter: There is none; it is a KeyError.
    """
    return logistic_func(parameter(update_rule_parameter_dict, "logit_lamb")[logit_lamb_index])


def calc_alt_lamb(update_rule_parameter_dict: Mapping[str, Any]) -> Any:
    """Return lambda of ``logit_lamb`` + ``logit_delta_lamb``.

    Raises:
        MissingParameter: One of them is missing; it is a KeyError.
    """
    names = ("logit_lamb", "logit_delta_lamb")
    logit, delta = (parameter(update_rule_parameter_dict, name) for name in names)
    return logistic_func(logit + delta)


def parameter(params: Mapping[str, Any], name: str) -> Any:
    """Return a raw parameter; a list as a NumPy array.

    Raises:
        MissingParameter: It is not there, or None.
    """
    value = params.get(name)
    if value is None:
        raise MissingParameter(
            f"The parameters have no {name!r}; they have {', '.join(map(str, params)) or 'none'}."
        )
    return np.asarray(value, dtype=np.float64) if isinstance(value, (list, tuple)) else value


def checked_maximum(max_memory_days: Any) -> float:
    """Return the longest memory as a number.

    Raises:
        ParameterError: It is not above 0 and finite.
    """
    most = plain_scalar(max_memory_days, "max_memory_days")
    if isinstance(most, (bool, str)) or most <= 0:
        raise ParameterError(f"max_memory_days is {most!r}; give a number of days above 0.")
    return float(most)


def _with_zero(convert: Any, x: Any) -> Any:
    """Apply an increasing conversion of positive numbers, which maps 0 to 0."""

    def formula(xp: Any, array: Any) -> Any:
        is_zero = array == 0
        # The branch that is not taken is differentiated, too; any number inside will do.
        return xp.where(is_zero, 0.0, convert(xp.where(is_zero, 0.5, array)))

    return compute(formula, x)
