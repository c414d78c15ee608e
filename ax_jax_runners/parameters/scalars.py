"""Values that a user gives for a parameter, as built-in Python scalars."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ax_jax_runners.errors import ParameterError

Scalar = bool | int | float | str


def plain_scalar(value: Any, what: str) -> Scalar:
    """Return a number, bool or string as the built-in Python type.

    Args:
        value: a Python or numpy scalar, or a 0-d array.
        what: the start of the message, such as ``"Parameter 'n': choice"``.

    Raises:
        ParameterError: any other type, NaN or infinity.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        if not math.isfinite(number):
            raise ParameterError(f"{what} is {number}; give a finite value.")
        return number
    raise ParameterError(
        f"{what} is a {type(value).__name__} ({value!r}); give a number, a bool or a string."
    )


def plain_bound(value: Any, name: str, side: str) -> float | None:
    """Return a bound as a float; None where there is none.

    Raises:
        ParameterError: not a finite number.
    """
    if value is None:
        return None
    what = f"Parameter {name!r}: {side} bound"
    plain = plain_scalar(value, what)
    if isinstance(plain, (bool, str)):
        raise ParameterError(f"{what} is a {type(plain).__name__} ({value!r}); give a number.")
    return float(plain)


def plain_choices(choices: Any, name: str) -> tuple[Scalar, ...]:
    """Return choices as built-in values of one type, integers among floats as floats.

    Raises:
        ParameterError: not a list of values, fewer than two, of mixed types, or repeated.
    """
    if isinstance(choices, (str, bytes, Mapping)) or not isinstance(choices, Iterable):
        raise ParameterError(
            f"Parameter {name!r}: choices is a {type(choices).__name__}; give a tuple of values."
        )
    values = [plain_scalar(value, f"Parameter {name!r}: a choice") for value in choices]
    if len(values) < 2:
        raise ParameterError(
            f"Parameter {name!r}: choices has {len(values)} value(s); give at least two, or use "
            f"fixed=."
        )
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        values, kinds = [float(value) for value in values], {float}
    if len(kinds) > 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ParameterError(
            f"Parameter {name!r}: choices mix the types {found}; use numbers, strings or bools "
            f"only."
        )
    counts = Counter(values)
    repeated = sorted({repr(value) for value in values if counts[value] > 1})
    if repeated:
        raise ParameterError(
            f"Parameter {name!r}: choices hold {', '.join(repeated)} more than once; remove the "
            f"duplicates."
        )
    return tuple(values)
