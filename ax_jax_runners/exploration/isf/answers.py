"""What an evaluation function returns, checked and made storable."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import InvalidFeatures, ResultNotStorable

Kept = float | str | None
"""A number, a text, or nothing."""


def ask(
    evaluate: Callable[[Any], Any], point: Any, *, left_out: Collection[str], where: str
) -> tuple[bool, dict[str, Kept]]:
    """Call an evaluation function and check its answer.

    Args:
        evaluate: Returns whether the point is inside and a dictionary of what else is to be kept.
        point: A named pandas Series.
        left_out: Names that are kept by other means.
        where: Names the point in messages.

    Returns:
        Whether the point is inside (NaN is not), and the values by name. Numbers and booleans are
        float64, texts are texts; arrays, lists and dictionaries are their JSON text.

    Raises:
        InvalidFeatures: The answer is no such pair.
        ResultNotStorable: A value that is none of these.
    """
    answer = evaluate(point)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise InvalidFeatures(
            f"The evaluation function returned {_short(answer)} {where}; it must return a pair "
            "(inside, dictionary)."
        )
    inside, evaluation = answer
    if not isinstance(evaluation, Mapping):
        raise InvalidFeatures(
            f"The evaluation function returned {_short(evaluation)} as its second value {where}; "
            "it must be a dictionary."
        )
    kept: dict[str, Kept] = {}
    for key, value in evaluation.items():
        name = key if type(key) is str else str(key)
        if name not in left_out:
            kept[name] = value if type(value) is float else _storable(name, value, where)
    return _truth(inside, where), kept


def _truth(inside: Any, where: str) -> bool:
    if isinstance(inside, bool | np.bool_):
        return bool(inside)
    value = np.asarray(inside)
    if value.ndim == 0 and value.dtype == np.bool_:
        return bool(value)
    if value.ndim == 0 and value.dtype.kind == "f" and np.isnan(value):
        return False
    raise InvalidFeatures(
        f"The evaluation function returned {_short(inside)} as its first value {where}; "
        "it must be True or False (NaN counts as outside)."
    )


def _storable(name: str, value: Any, where: str) -> Kept:
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()
    try:
        if isinstance(value, bool | int | float):
            return float(value)
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResultNotStorable(
            f"The evaluation function returned {_short(value)} for {name!r} {where} ({error}); "
            "return numbers, texts, or lists and dictionaries of them."
        ) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
