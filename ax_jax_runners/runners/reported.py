"""Numbers that a task reports, as plain finite floats; what is none is refused by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import ResultNotStorable


def finite(outputs: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """Return mean and standard error (None: not known) by name.

    Raises:
        ResultNotStorable: A report without a finite mean, or with a bad standard error.
    """
    return {_name(name): _pair(name, value) for name, value in outputs.items()}


def finite_only(outputs: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    """Return what an unfinished arm can say already; the rest is not known yet."""
    known = {}
    for name, value in outputs.items():
        try:
            known[_name(name)] = _pair(name, value)
        except ResultNotStorable:
            continue
    return known


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise ResultNotStorable(f"Output name {name!r} is not a text; name outputs by texts.")
    return name


def _pair(name: str, value: Any) -> tuple[float, float | None]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ResultNotStorable(
            f"Output {name!r} is {_short(value)}; report a pair of mean and standard error."
        )
    mean, sem = value
    mean = _number(name, "value", mean)
    if not math.isfinite(mean):
        raise ResultNotStorable(f"Output {name!r} is {mean}; only finite values are results.")
    if sem is None:
        return mean, None
    sem = _number(name, "standard error", sem)
    if math.isnan(sem):
        return mean, None
    if not 0 <= sem < math.inf:
        raise ResultNotStorable(
            f"Output {name!r} has the standard error {sem}; report at least 0, or None."
        )
    return mean, sem


def _number(name: str, what: str, value: Any) -> float:
    if type(value) is float:
        return value
    try:
        array = np.asarray(value)
        if array.shape == () and array.dtype.kind in "biuf":
            return float(array)
        # Extension floats (bfloat16) and integers beyond 64 bits are numbers as well.
        if array.shape == () and (array.dtype.kind == "V" or isinstance(value, int)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ResultNotStorable(
        f"Output {name!r}: its {what} is {_short(value)}; report one real number."
    )


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = "not printable"
    return f"a {type(value).__name__} ({text if len(text) <= 60 else text[:57] + '...'})"
