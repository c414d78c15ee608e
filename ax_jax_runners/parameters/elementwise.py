"""Functions of numbers that compute where their argument lives: in Python, in NumPy or in JAX.

Python and NumPy numbers are computed by NumPy in float64, float32 ones in float32, so that neither
needs JAX's x64 flag; JAX arrays are computed by JAX in their own dtype.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError

#: A function of a namespace (``numpy`` or ``jax.numpy``) and an array of floats.
Formula = Callable[[Any, Any], Any]


def _is_jax(x: Any) -> bool:
    # Where nobody has imported JAX there are no arrays of it.
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, jax.Array)


def _is_traced(x: Any) -> bool:
    from jax.core import Tracer

    return isinstance(x, Tracer)


def _floats(x: Any) -> Any:
    """Return a JAX array of floats, or a NumPy one of float32 or float64."""
    if _is_jax(x):
        import jax.numpy as jnp

        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ParameterError("A bijector was given complex numbers; give real ones.")
        return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"its type is {array.dtype}")
        return array if array.dtype == np.float32 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"A bijector was given a {type(x).__name__} that holds no real numbers ({error}); give "
            "a number or an array of numbers."
        ) from error


def compute(formula: Formula, x: Any) -> Any:
    """Apply a formula elementwise.

    Args:
        formula: What to compute.
        x: A number, anything that NumPy takes for an array of numbers, or a JAX array.

    Returns:
        A float for a Python number, else an array of the shape of ``x``.
    """
    array = _floats(x)
    if not isinstance(array, np.ndarray):
        import jax.numpy as jnp

        return formula(jnp, array)
    # Overflow to infinity is the right answer of an exponential, and no reason for a warning.
    with np.errstate(all="ignore"):
        result = formula(np, array)[()]
    # A Python float, unlike NumPy's, does not force its precision upon a traced computation.
    plain = isinstance(x, (int, float)) and not isinstance(x, np.generic)
    return float(result) if plain else result


def compute_inside(formula: Formula, x: Any, domain: tuple[float, float], what: str) -> Any:
    """Apply a formula that is defined on an open interval only.

    Args:
        formula: What to compute.
        x: As for `compute`; NaN gives NaN.
        domain: The two ends, which do not belong to it.
        what: The start of the message, such as ``"Log2()"``.

    Returns:
        As `compute`; where x is traced, NaN outside the domain.

    Raises:
        ParameterError: A value outside the domain, unless x is traced.
    """
    lower, upper = domain
    array = _floats(x)
    if _is_jax(array) and _is_traced(array):
        return _guarded(formula, array, domain)
    values = np.asarray(array)
    outside = ~((values > lower) & (values < upper)) & ~np.isnan(values)
    if np.any(outside):
        raise ParameterError(
            f"{what}: {values[outside].flat[0]} is outside its domain, the open interval "
            f"({lower:g}, {upper:g}); give values inside."
        )
    return compute(formula, x)


def _guarded(formula: Formula, x: Any, domain: tuple[float, float]) -> Any:
    import jax.numpy as jnp

    lower, upper = domain
    finite = np.isfinite(domain)
    anchor = (lower + upper) / 2 if finite.all() else lower + 1.0 if finite[0] else 0.0
    inside = (x > lower) & (x < upper)
    # Both branches are differentiated: the one that is not taken has to be finite too.
    return jnp.where(inside, formula(jnp, jnp.where(inside, x, anchor)), jnp.nan)
