"""The distributions that flows begin with: independent coordinates, without parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

_DEGREES = 5


@dataclass(frozen=True)
class Base:
    """The standard form of one distribution in every coordinate.

    The logistic one is what the logit of a uniform variable has: with it, a new flow over logits of
    the prior's cumulative probabilities is the prior.

    Attributes:
        name: "gaussian", "logistic" or "student_t" (5 degrees of freedom).
        dimension: d.
    """

    name: str
    dimension: int

    @property
    def standard_deviation(self) -> float:
        """Of each coordinate."""
        return {
            "gaussian": 1.0,
            "logistic": math.pi / math.sqrt(3.0),
            "student_t": math.sqrt(_DEGREES / (_DEGREES - 2)),
        }[self.name]

    def log_prob(self, u: Array) -> Array:
        """Return the log density () at u (d,)."""
        if self.name == "gaussian":
            each = -0.5 * u**2 - 0.5 * math.log(2.0 * math.pi)
        elif self.name == "logistic":
            size = jnp.abs(u)
            each = -size - 2.0 * jnp.log1p(jnp.exp(-size))
        else:
            half = 0.5 * (_DEGREES + 1)
            norm = math.lgamma(half) - math.lgamma(0.5 * _DEGREES)
            norm -= 0.5 * math.log(_DEGREES * math.pi)
            each = norm - half * jnp.log1p(u**2 / _DEGREES)
        return each.sum(axis=0)

    def sample(self, key: Array) -> Array:
        """Return one draw (d,), float32."""
        if self.name == "gaussian":
            return jax.random.normal(key, (self.dimension,), jnp.float32)
        if self.name == "logistic":
            return jax.random.logistic(key, (self.dimension,), jnp.float32)
        # A normal variable over the root of a mean of squares of five others.
        draws = jax.random.normal(key, (_DEGREES + 1, self.dimension), jnp.float32)
        return draws[0] / jnp.sqrt(jnp.mean(draws[1:] ** 2, axis=0))
