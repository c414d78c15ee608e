"""Checks of the numbers, flags and choices of configurations: all raise ConfigurationError."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from ax_jax_runners.errors import ConfigurationError


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed."""
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}; choose one of {', '.join(allowed)}.")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is {value!r}; give True or False.")


def check_whole(group: Any, least: dict[str, int]) -> None:
    """Refuse attributes of a group that are no whole numbers from the least one on."""
    for name, smallest in least.items():
        value: Any = getattr(group, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ConfigurationError(f"{name} is {value!r}; give a whole number from {smallest}.")


def check_numbers(group: Any, *, above: tuple[str, ...] = (), at_least: tuple[str, ...]) -> None:
    """Refuse attributes that are no numbers above or from 0 on; None where it is declared."""
    for name in (*above, *at_least):
        value: Any = getattr(group, name)
        if value is None and "None" in str(type(group).__annotations__[name]):
            continue
        if not _is_number(value) or value < 0 or (name in above and value == 0):
            wanted = "above 0" if name in above else "of at least 0"
            raise ConfigurationError(f"{name} is {value!r}; give a number {wanted}.")


def check_share(name: str, value: Any) -> None:
    """Refuse what is no number from 0 to 1."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"{name} is {value!r}; give a number from 0 to 1.")


def _is_number(value: Any) -> TypeGuard[float]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)
