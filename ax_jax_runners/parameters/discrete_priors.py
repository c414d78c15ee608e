"""Measures on integers and on the indices of choices; see :mod:`ax_jax_runners.parameters.priors`.

A log density is here the log probability of a value, -inf between the integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax import Array

    from ax_jax_runners.parameters.priors import Measure


def _is_integer_within(x: Array, lower: float, upper: float) -> Array:
    import jax.numpy as jnp

    return (x >= lower) & (x <= upper) & (x == jnp.round(x)) & jnp.isfinite(x)


@dataclass(frozen=True, eq=False)
class RoundedMeasure:
    """A continuous measure rounded to the nearest integer in [lower, upper].

    ``base`` lives on [lower - 1/2, upper + 1/2], so that a uniform one gives every integer the
    same probability. The log density is the log probability of the integer.
    """

    base: Measure
    lower: float
    upper: float

    @property
    def support(self) -> tuple[float, float]:
        return self.lower, self.upper

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        return self.base.cdf(jnp.floor(x) + 0.5)

    def icdf(self, u: Array) -> Array:
        import jax.numpy as jnp

        return jnp.clip(jnp.ceil(self.base.icdf(u) - 0.5), self.lower, self.upper)

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = _is_integer_within(x, self.lower, self.upper)
        probability = self.base.cdf(x + 0.5) - self.base.cdf(x - 0.5)
        return jnp.where(inside, jnp.log(jnp.where(inside, probability, 1.0)), -jnp.inf)


@dataclass(frozen=True, eq=False)
class DiscreteMeasure:
    """A discrete numpyro distribution on the integers of [lower, upper], renormalised.

    ``last`` is a finite integer with all but a rounding error of the probability at or below it.
    """

    distribution: Any
    lower: float
    upper: float
    below: float
    mass: float
    last: float

    @property
    def support(self) -> tuple[float, float]:
        return self.lower, self.upper

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        k = jnp.clip(jnp.floor(x), self.lower, self.last)
        cdf = jnp.clip((self.distribution.cdf(k) - self.below) / self.mass, 0.0, 1.0)
        cdf = jnp.where(x < self.lower, 0.0, jnp.where(x >= self.last, 1.0, cdf))
        return jnp.where(jnp.isnan(x), jnp.nan, cdf)

    def icdf(self, u: Array) -> Array:
        import jax
        import jax.numpy as jnp

        target = u * (1.0 - 4.0 * float(jnp.finfo(u.dtype).eps))

        def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = jnp.floor((low + high) / 2)
            enough = self.cdf(middle) >= target
            return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

        steps = max(1, math.ceil(math.log2(self.last - self.lower + 1)) + 1)
        ends = jnp.full_like(u, self.lower), jnp.full_like(u, self.last)
        k = jax.lax.fori_loop(0, steps, halve, ends)[1]
        return jnp.where(jnp.isnan(u), jnp.nan, k)

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = _is_integer_within(x, self.lower, self.upper)
        safe = jnp.where(inside, x, self.lower)
        density = self.distribution.log_prob(safe) - math.log(self.mass)
        return jnp.where(inside, density, -jnp.inf)


@dataclass(frozen=True)
class ChoiceMeasure:
    """Equal probabilities on the indices 0 .. count - 1 of a list of choices."""

    count: int

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, self.count - 1.0

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        return jnp.clip((jnp.floor(x) + 1.0) / self.count, 0.0, 1.0)

    def icdf(self, u: Array) -> Array:
        import jax.numpy as jnp

        return jnp.clip(jnp.ceil(u * self.count) - 1.0, 0.0, self.count - 1.0)

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = _is_integer_within(x, 0.0, self.count - 1.0)
        return jnp.where(inside, -math.log(self.count) + 0.0 * x, -jnp.inf)
