"""Parameters as arrays of JAX, of NumPy, as lists, and as JSON text."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import ParameterError, ResultNotStorable
from ax_jax_runners.strategies.quantamm.initial_values import SUBSIDIARIES


class NumpyEncoder(json.JSONEncoder):
    """A JSON encoder, for ``json.dumps(..., cls=NumpyEncoder)``, of NumPy and JAX values.

    Scalars become numbers and truths, arrays nested lists, dates their ISO 8601 text. A number
    that is not finite becomes null, for JSON has no NaN; readers of results take null as NaN.

    Raises:
        ResultNotStorable: A value that is none of these; it is a TypeError.
    """

    def iterencode(self, o: Any, _one_shot: bool = False) -> Iterator[str]:
        return super().iterencode(_plain(o), _one_shot)

    def default(self, o: Any) -> Any:
        """Return what JSON can hold of a value.

        Raises:
            ResultNotStorable: There is no such thing; it is a TypeError.
        """
        found = _plain(o)
        if found is o:
            raise ResultNotStorable(
                f"A {type(o).__name__} has no place in JSON; give numbers, texts, arrays, dates, "
                "and lists and dictionaries of them."
            )
        return found


def dict_of_jnp_to_np(dictionary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary with its numbers and arrays as NumPy arrays; the argument stays.

    Subsidiary parameters are left as they are, and so is what holds no numbers.
    """
    return _converted(dictionary, np.array)


def dict_of_jnp_to_list(dictionary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary with its numbers and arrays as nested lists; the argument stays.

    Subsidiary parameters are left as they are, and so is what holds no numbers.
    """
    return _converted(dictionary, lambda value: np.asarray(value).tolist())


def dict_of_np_to_jnp(dictionary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary with its numbers and arrays as JAX arrays; the argument stays.

    Subsidiary parameters are left as they are, and so is what holds no numbers, such as texts.
    """
    return _converted(dictionary, jnp.array)


def _converted(dictionary: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {
        key: convert(value) if key != SUBSIDIARIES and _is_numeric(key, value) else value
        for key, value in dictionary.items()
    }


def _is_numeric(key: str, value: Any) -> bool:
    if isinstance(value, jax.Array):
        return True
    try:
        return np.asarray(value).dtype.kind in "biufc"
    except ValueError as error:
        raise ParameterError(
            f"{key!r} holds lists of different lengths, which make no array; correct it."
        ) from error


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value; the value itself where that is nothing else."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        array = np.asarray(value)
        # Nanoseconds would become whole numbers.
        found = np.datetime_as_string(array).tolist() if array.dtype.kind == "M" else array.tolist()
        return value if found is value or isinstance(found, complex) else _plain(found)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value
