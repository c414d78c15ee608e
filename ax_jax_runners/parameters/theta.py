"""Numbers in theta: which one stands for a value of a parameter, and for which value one stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import InvalidTheta, ParameterError
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.scalars import Scalar, plain_scalar

if TYPE_CHECKING:
    from jax import Array
    from numpy.typing import ArrayLike


def as_rows(values: ArrayLike, dimension: int, names: tuple[str, ...], what: str) -> np.ndarray:
    """Return array-like values as float64 with ``dimension`` numbers on the last axis.

    Raises:
        InvalidTheta: not numbers, or another length.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            # NumPy would drop the imaginary part with no more than a warning.
            raise TypeError("it is complex")
        if array.dtype.kind not in "biuf":
            array = np.asarray(values, dtype=np.float64)
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidTheta(
            f"{what} is not an array of numbers ({error}); give the {dimension} values of "
            f"{', '.join(names)}."
        ) from error
    if array.ndim == 0 or array.shape[-1] != dimension:
        raise InvalidTheta(
            f"{what} has the shape {array.shape}; its last axis must hold the {dimension} values "
            f"of {', '.join(names)}."
        )
    return array


def position(parameter: Parameter, value: Any) -> float:
    """Return the number that stands for a value in theta.

    Raises:
        ParameterError: a value of the wrong type, or none of the choices.
    """
    plain = plain_scalar(value, f"Parameter {parameter.name!r}: value")
    if parameter.choices is not None:
        same_kind = isinstance(plain, bool) == isinstance(parameter.choices[0], bool)
        if plain not in parameter.choices or not same_kind:
            raise ParameterError(
                f"Parameter {parameter.name!r}: {plain!r} is not among its choices "
                f"{parameter.choices}."
            )
        return float(parameter.choices.index(plain))
    if isinstance(plain, (bool, str)):
        raise ParameterError(
            f"Parameter {parameter.name!r}: value is a {type(plain).__name__} ({plain!r}); give a "
            f"number."
        )
    if parameter.integer and plain != int(plain):
        raise ParameterError(
            f"Parameter {parameter.name!r}: value {plain} is not an integer; round it."
        )
    return float(plain)


def value_at(parameter: Parameter, x: float) -> Scalar:
    """Return the value that a number in theta stands for.

    Raises:
        InvalidTheta: a number that is not finite, or an index that is none of the choices.
    """
    if not np.isfinite(x):
        raise InvalidTheta(f"theta holds {x} for parameter {parameter.name!r}; it has no value.")
    if parameter.choices is not None:
        index = round(x)
        if not 0 <= index < len(parameter.choices):
            raise InvalidTheta(
                f"theta holds the index {x} for parameter {parameter.name!r}, which has "
                f"{len(parameter.choices)} choices."
            )
        return parameter.choices[index]
    return round(x) if parameter.integer else x


def traced_value(parameter: Parameter, x: Array) -> Array:
    """Return what a simulator receives for a traced number; see `ParameterSpace.traced`."""
    import jax.numpy as jnp

    if parameter.choices is not None:
        index = jnp.clip(jnp.round(x), 0, len(parameter.choices) - 1).astype(int)
        table = parameter.choices
        if isinstance(table[0], str):
            return index
        kind = x.dtype if isinstance(table[0], float) else None
        return jnp.asarray(table, dtype=kind)[index]
    return jnp.round(x).astype(int) if parameter.integer else x


def fixed_value(parameter: Parameter) -> Scalar | None:
    """Return what a simulator receives for a fixed parameter: a string choice as its index."""
    value = parameter.fixed
    if isinstance(value, str) and parameter.choices is not None:
        return parameter.choices.index(value)
    return value
