"""Monotone networks of one input, for masked transforms (after Huang et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.flows.affine import bounded

_REACH = 2.0


@dataclass(frozen=True)
class MonotoneNetwork:
    """One hidden layer of monotone units beside a linear part.

    The image of x is t + m x + (1 - m) exp(s) (r x + (1 - r) sum_j w_j h_j(x)) with the units
    h_j(x) = x + a_j tanh(k_j (x - c_j)) / k_j, a_j > -1, positive weights that sum to 1, and
    m = ``min_slope``, r >= ``min_residual``. The identity if all raw numbers are zero.

    Attributes:
        units: How many.
        min_slope: m, below 1.
        min_residual: Least r.
        bisection_steps: To invert it.
    """

    units: int
    min_slope: float
    min_residual: float
    bisection_steps: int

    @property
    def parameters(self) -> int:
        """Raw numbers for each coordinate."""
        return 3 + 4 * self.units

    def transform(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """Return the images (n,) of x (n,) and the logarithms of the slopes there (n,)."""
        curve = self._curve(raw)
        return curve.value(x), jnp.log(curve.slope(x))

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """Return what `transform` takes to y (n,), and the logarithms of the inverse's slopes.

        Its gradient is that of the exact inverse (the implicit function theorem).
        """
        curve = self._curve(raw)

        def bisect(difference, start: Array) -> Array:
            # The units together leave the line by no more than this, so it brackets the root.
            reach = curve.largest_departure() / curve.line

            def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
                low, high = bracket
                middle = 0.5 * (low + high)
                above = difference(middle) > 0.0
                return jnp.where(above, low, middle), jnp.where(above, middle, high)

            bracket = (start - reach, start + reach)
            low, high = jax.lax.fori_loop(0, self.bisection_steps, halve, bracket)
            return 0.5 * (low + high)

        def solve_linear(slopes, value: Array) -> Array:
            return value / slopes(jnp.ones_like(value))

        x = jax.lax.custom_root(
            lambda x: curve.value(x) - y, (y - curve.shift) / curve.line, bisect, solve_linear
        )
        return x, -jnp.log(curve.slope(x))

    def _curve(self, raw: Array) -> _Curve:
        shift, log_scale, residual = raw[:, 0], bounded(raw[:, 1]), jax.nn.sigmoid(raw[:, 2])
        weights, gains, steepnesses, centres = jnp.split(raw[:, 3:], 4, axis=1)
        scale = (1.0 - self.min_slope) * jnp.exp(log_scale)
        bent = (1.0 - self.min_residual) * (1.0 - residual) * scale
        places = np.linspace(-_REACH, _REACH, self.units + 2, dtype=np.float32)[1:-1]
        return _Curve(
            shift,
            self.min_slope + scale,
            bent[:, None] * jax.nn.softmax(weights, axis=1) * jnp.expm1(bounded(gains)),
            jnp.exp(bounded(steepnesses)),
            centres + places.reshape(-1, *(1,) * (raw.ndim - 2)),
        )


class _Curve(NamedTuple):
    """t + line x + sum_j gain_j tanh(k_j (x - c_j)) / k_j for each coordinate."""

    shift: Array
    line: Array
    gains: Array
    steepnesses: Array
    centres: Array

    def value(self, x: Array) -> Array:
        """Return the images (n,) of x (n,)."""
        bends = jnp.tanh(self.steepnesses * (x[:, None] - self.centres))
        return self.shift + self.line * x + jnp.sum(self.gains * bends / self.steepnesses, 1)

    def slope(self, x: Array) -> Array:
        """Return the slopes (n,) at x (n,)."""
        bends = jnp.tanh(self.steepnesses * (x[:, None] - self.centres))
        return self.line + jnp.sum(self.gains * (1.0 - bends**2), axis=1)

    def largest_departure(self) -> Array:
        """Return how far (n,) the curve can be from its straight part."""
        return jnp.sum(jnp.abs(self.gains) / self.steepnesses, axis=1)
