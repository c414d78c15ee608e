"""Measures on one scalar parameter: a cdf, a quantile function and a log density.

Here are the continuous ones; :mod:`ax_jax_runners.parameters.discrete_priors` has the others. All
functions are traceable JAX, elementwise, and follow the dtype of their argument. Arguments outside
the support have a cdf of 0 or 1 and a log density of -inf; quantiles stay in the support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jax import Array


class Measure(Protocol):
    """A probability measure on an interval, a run of integers or a list of choices."""

    @property
    def support(self) -> tuple[float, float]:
        """Return its ends, infinite where it has none."""
        ...

    def cdf(self, x: Array) -> Array:
        """Return the probability of a value of at most ``x``."""
        ...

    def icdf(self, u: Array) -> Array:
        """Return the finite quantile of ``u`` in [0, 1]."""
        ...

    def log_density(self, x: Array) -> Array:
        """Return the log density, or the log probability of a discrete value."""
        ...


def _inside(x: Array, lower: float, upper: float) -> Array:
    return (x >= lower) & (x <= upper)


@dataclass(frozen=True)
class UniformMeasure:
    """Uniform on [lower, upper]."""

    lower: float
    upper: float

    @property
    def support(self) -> tuple[float, float]:
        return self.lower, self.upper

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        return jnp.clip((x - self.lower) / (self.upper - self.lower), 0.0, 1.0)

    def icdf(self, u: Array) -> Array:
        import jax.numpy as jnp

        # Measured from the nearer end, so that both ends are met exactly.
        width = self.upper - self.lower
        x = jnp.where(u < 0.5, self.lower + u * width, self.upper - (1.0 - u) * width)
        return jnp.clip(x, self.lower, self.upper)

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        level = -math.log(self.upper - self.lower)
        return jnp.where(_inside(x, self.lower, self.upper), level + 0.0 * x, -jnp.inf)


@dataclass(frozen=True)
class LogUniformMeasure:
    """Log-uniform (reciprocal) on [lower, upper] with 0 < lower: density 1 / (x log(b / a))."""

    lower: float
    upper: float

    @property
    def support(self) -> tuple[float, float]:
        return self.lower, self.upper

    @property
    def _span(self) -> float:
        return math.log1p((self.upper - self.lower) / self.lower)

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = jnp.clip(x, self.lower, self.upper)
        cdf = jnp.log1p((inside - self.lower) / self.lower) / self._span
        return jnp.where(x >= self.upper, 1.0, jnp.clip(cdf, 0.0, 1.0))

    def icdf(self, u: Array) -> Array:
        import jax.numpy as jnp

        x = self.lower + self.lower * jnp.expm1(u * self._span)
        x = jnp.where(u >= 1.0, self.upper, x)
        return jnp.clip(x, self.lower, self.upper)

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = _inside(x, self.lower, self.upper)
        safe = jnp.where(inside, x, self.lower)
        return jnp.where(inside, -jnp.log(safe) - math.log(self._span), -jnp.inf)


@dataclass(frozen=True, eq=False)
class DistributionMeasure:
    """A continuous numpyro distribution, whole or renormalised on [lower, upper].

    Attributes:
        distribution: scalar, with a cdf, its constants held as Python floats.
        lower: lower end of the support, may be -inf.
        upper: upper end of the support, may be inf.
        below: cdf just under ``lower``.
        mass: probability of [lower, upper]; 1 for a whole distribution.
        centre: centre of symmetry when [lower, upper] lies in the upper half of a symmetric
            family: everything is then computed in the mirrored lower tail, where a cdf is exact.
        closed: whether the distribution's own icdf is usable; otherwise the cdf is inverted.
    """

    distribution: Any
    lower: float
    upper: float
    below: float
    mass: float
    centre: float | None
    closed: bool

    @property
    def support(self) -> tuple[float, float]:
        return self.lower, self.upper

    @property
    def _anchor(self) -> float:
        """Return a point inside the support, for densities that are evaluated but not used."""
        if math.isfinite(self.lower) and math.isfinite(self.upper):
            return (self.lower + self.upper) / 2
        if math.isfinite(self.lower):
            return self.lower + 1.0
        return self.upper - 1.0 if math.isfinite(self.upper) else 0.0

    def _quantile(self, p: Array, lower: float, upper: float) -> Array:
        if self.closed:
            return self.distribution.icdf(p)
        import jax.numpy as jnp

        from ax_jax_runners.parameters.inversion import invert_cdf

        # On the plateau where a cdf rounds to 1 every point would do: stay below it.
        return invert_cdf(
            self.distribution.cdf,
            lambda x: jnp.exp(self.distribution.log_prob(x)),
            jnp.minimum(p, 1.0 - 16 * float(jnp.finfo(p.dtype).eps)),
            lower=lower,
            upper=upper,
        )

    def cdf(self, x: Array) -> Array:
        import jax.numpy as jnp

        x = jnp.clip(x, self.lower, self.upper)
        if self.centre is not None:
            below = self.distribution.cdf(2 * self.centre - x)
            return jnp.clip(1.0 - (below - self.below) / self.mass, 0.0, 1.0)
        cdf = self.distribution.cdf(x)
        if self.mass != 1.0:
            cdf = (cdf - self.below) / self.mass
        # A cdf may be 0/0 at the very ends of its support.
        cdf = jnp.where(x <= self.lower, 0.0, jnp.where(x >= self.upper, 1.0, cdf))
        return jnp.clip(jnp.where(jnp.isnan(x), jnp.nan, cdf), 0.0, 1.0)

    def icdf(self, u: Array) -> Array:
        import jax.numpy as jnp

        limits = jnp.finfo(u.dtype)
        # Away from 0 and 1 an infinite tail has finite quantiles.
        p = u if self.centre is None else 1.0 - u
        p = jnp.clip(p, float(limits.tiny), 1.0 - float(limits.epsneg))
        if self.mass != 1.0:
            p = jnp.clip(self.below + p * self.mass, float(limits.tiny), 1 - float(limits.epsneg))
        if self.centre is not None:
            mirrored = 2 * self.centre
            x = mirrored - self._quantile(p, mirrored - self.upper, mirrored - self.lower)
        else:
            x = self._quantile(p, self.lower, self.upper)
        low, high = max(self.lower, float(limits.min)), min(self.upper, float(limits.max))
        x = jnp.clip(x, low, high)
        if math.isfinite(self.lower):
            x = jnp.where(u <= 0.0, self.lower, x)
        if math.isfinite(self.upper):
            x = jnp.where(u >= 1.0, self.upper, x)
        return x

    def log_density(self, x: Array) -> Array:
        import jax.numpy as jnp

        inside = _inside(x, self.lower, self.upper) & self.distribution.support(x)
        inside = inside & jnp.isfinite(x)
        safe = jnp.where(inside, x, self._anchor)
        density = self.distribution.log_prob(safe) - math.log(self.mass)
        return jnp.where(inside, density, -jnp.inf)
