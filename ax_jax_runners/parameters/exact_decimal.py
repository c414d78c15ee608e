"""Numbers as decimal fixed point: the integer nearest to value * 10^decimals, as text.

A float is taken at its exact binary value, so nothing is rounded but once.
"""

from __future__ import annotations

import decimal
import math
import numbers
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError

#: Rounding modes by the names that Python's decimal module has for them, in small letters.
ROUNDINGS = {
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_up": decimal.ROUND_HALF_UP,
    "half_down": decimal.ROUND_HALF_DOWN,
    "floor": decimal.ROUND_FLOOR,
    "ceiling": decimal.ROUND_CEILING,
    "down": decimal.ROUND_DOWN,
    "up": decimal.ROUND_UP,
}


def fixed_point(value: Any, *, decimals: int = 18, rounding: str = "half_even") -> Any:
    """Return the integer text of value * 10^decimals, such as "500000000000000000" for 0.5.

    Args:
        value: A number (also a Decimal), or an array or list of them.
        decimals: Digits after the point.
        rounding: "half_even", "half_up", "half_down" (to the nearest, and what a tie does),
            "floor", "ceiling", "down" (towards 0) or "up" (away from it).

    Returns:
        The text; for an array or list, a list of texts nested as it is.

    Raises:
        ParameterError: NaN, infinity, no number, or an unknown rounding.
    """
    _check_decimals(decimals)
    if rounding not in ROUNDINGS:
        raise ParameterError(f"rounding is {rounding!r}; choose among {', '.join(ROUNDINGS)}.")
    plain = _plain(value)
    if isinstance(plain, list):
        return [fixed_point(item, decimals=decimals, rounding=rounding) for item in plain]
    number = _decimal(plain)
    # Wide enough for every digit, so that the one rounding is the one asked for.
    digits = len(number.as_tuple().digits)
    context = decimal.Context(prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
    scaled = number.scaleb(decimals, context=context)
    return str(int(scaled.to_integral_value(ROUNDINGS[rounding])))


def fixed_point_simplex(weights: Any, *, decimals: int = 18, tolerance: float = 1e-6) -> list[str]:
    """Return weights as fixed point whose integers sum to exactly 10^decimals.

    The weights are divided by their exact sum and rounded down; what is then missing goes, one unit
    each, to the largest remainders (Hamilton's method), the first of equal ones first. No weight
    is off by a whole unit.

    Args:
        weights: (n,) numbers of at least 0 that sum to 1 but for rounding.
        decimals: Digits after the point.
        tolerance: How far from 1 the sum may be.

    Raises:
        ParameterError: No list of numbers, one that is negative or not finite, or a sum that is not
            1.
    """
    _check_decimals(decimals)
    plain = _plain(weights)
    if not isinstance(plain, list) or not plain or any(isinstance(w, list) for w in plain):
        raise ParameterError(f"weights are {weights!r}; give a list of at least one number.")
    exact = [Fraction(_decimal(weight)) for weight in plain]
    total = sum(exact, Fraction(0))
    if min(exact) < 0:
        raise ParameterError(f"weights hold {float(min(exact))}; give weights of at least 0.")
    if abs(total - 1) > Fraction(tolerance):
        raise ParameterError(
            f"weights sum to {float(total)}, which is not 1 within {tolerance}; normalise them."
        )
    shares = [weight / total * 10**decimals for weight in exact]
    units = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: units[i] - shares[i])
    for i in by_remainder[: 10**decimals - sum(units)]:
        units[i] += 1
    return [str(unit) for unit in units]


def _check_decimals(decimals: Any) -> None:
    if isinstance(decimals, bool) or not isinstance(decimals, numbers.Integral) or decimals < 0:
        raise ParameterError(f"decimals is {decimals!r}; give a whole number of at least 0.")


def _plain(value: Any) -> Any:
    """Return a number or nested lists of numbers as Python has them."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    # NumPy's own scalars and arrays, and those of JAX.
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def _decimal(value: Any) -> Decimal:
    known = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not known or not math.isfinite(value):
        raise ParameterError(f"{value!r} has no fixed point; give finite numbers.")
    return Decimal(value)
