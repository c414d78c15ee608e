"""Numerical quantiles of a continuous distribution that only has a cdf and a density.

The root of ``cdf(x) = p`` is bracketed in a coordinate t that covers the whole support with full
relative resolution near a finite end (where densities may be singular) and far out in a tail:

    support (a, b)        x = a + (b - a) sigmoid(t)
    support (a, inf)      x = a + exp(t)
    support (-inf, b)     x = b - exp(-t)
    support (-inf, inf)   x = sinh(t)

Newton steps in t are kept inside the bracket; every third step halves it, so that a flat tail or a
noisy cdf cannot stall the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jax import Array

_MOST_STEPS = 240


class _Coordinate(NamedTuple):
    """A monotone map from t to the support, its slope, and the finite range of t."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    first: float
    last: float


def _coordinate(lower: float, upper: float, dtype: Any) -> _Coordinate:
    import jax
    import jax.numpy as jnp

    limits = jnp.finfo(dtype)
    largest = math.log(float(limits.max)) - 1.0
    smallest = math.log(float(limits.tiny))
    if math.isfinite(lower) and math.isfinite(upper):
        width = upper - lower
        return _Coordinate(
            lambda t: lower + width * jax.nn.sigmoid(t),
            lambda t: width * jax.nn.sigmoid(t) * jax.nn.sigmoid(-t),
            smallest,
            -math.log(float(limits.eps)) + 1.0,
        )
    if math.isfinite(lower):
        return _Coordinate(lambda t: lower + jnp.exp(t), jnp.exp, smallest, largest)
    if math.isfinite(upper):
        return _Coordinate(
            lambda t: upper - jnp.exp(-t), lambda t: jnp.exp(-t), -largest, -smallest
        )
    return _Coordinate(jnp.sinh, jnp.cosh, -largest, largest)


def invert_cdf(
    cdf: Callable[[Array], Array],
    density: Callable[[Array], Array],
    probability: Array,
    *,
    lower: float,
    upper: float,
) -> Array:
    """Solve ``cdf(x) = probability`` elementwise.

    Args:
        cdf: increasing function on the support, any shape to the same shape.
        density: its derivative; used to speed the search up, never trusted.
        probability: array of values in (0, 1); its dtype is the dtype of the result.
        lower: lower end of the support, may be -inf.
        upper: upper end of the support, may be inf.

    Returns:
        An array of the shape and dtype of ``probability``, finite where that is not NaN.
    """
    import jax
    import jax.numpy as jnp

    dtype = probability.dtype
    where = _coordinate(lower, upper, dtype)
    epsilon = float(jnp.finfo(dtype).eps)

    def unfinished(state: tuple[Array, ...]) -> Array:
        step, low, high, _, residual = state
        open_bracket = (high - low) > 2 * epsilon * jnp.maximum(1.0, jnp.abs(low + high) / 2)
        unsolved = jnp.abs(residual) > 4 * epsilon * probability
        return (step < _MOST_STEPS) & jnp.any(open_bracket & unsolved)

    def improve(state: tuple[Array, ...]) -> tuple[Array, ...]:
        step, low, high, t, residual = state
        low = jnp.where(residual < 0, t, low)
        high = jnp.where(residual < 0, high, t)
        newton = t - residual / (density(where.value(t)) * where.slope(t))
        usable = (newton > low) & (newton < high) & (step % 3 != 2)
        solved = jnp.abs(residual) <= 4 * epsilon * probability
        t = jnp.where(solved, t, jnp.where(usable, newton, (low + high) / 2))
        return step + 1, low, high, t, cdf(where.value(t)) - probability

    low = jnp.full_like(probability, where.first)
    high = jnp.full_like(probability, where.last)
    t = jnp.zeros_like(probability)
    start = (jnp.asarray(0), low, high, t, cdf(where.value(t)) - probability)
    _, _, _, t, _ = jax.lax.while_loop(unfinished, improve, start)
    return where.value(jnp.where(jnp.isnan(probability), jnp.nan, t))
