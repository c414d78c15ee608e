"""Monotone rational-quadratic splines (Durkan et al. 2019, Neural Spline Flows, section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

#: Least width and height of a bin, as a share of those of equal bins.
MIN_BIN = 0.01
#: Least derivative at a knot.
MIN_DERIVATIVE = 1e-3

_UNIT_DERIVATIVE = math.log(math.expm1(1.0 - MIN_DERIVATIVE))


class SplineParts(NamedTuple):
    """What n splines are made of, in the units of what they transform.

    Attributes:
        widths: (n, K), of the bins; each row sums to twice the bound.
        heights: (n, K), likewise.
        derivatives: (n, K + 1), at the knots; 1 at both ends.
    """

    widths: Array
    heights: Array
    derivatives: Array


@dataclass(frozen=True)
class RationalQuadratic:
    """Splines with ``bins`` bins on [-bound, bound], the identity outside.

    All raw numbers zero are the identity everywhere.

    Attributes:
        bins: K.
        bound: Where the tails begin.
    """

    bins: int
    bound: float

    @property
    def parameters(self) -> int:
        """Raw numbers for each coordinate."""
        return 3 * self.bins - 1

    def parts(self, raw: Array) -> SplineParts:
        """Return what the raw numbers (n, 3 K - 1) mean."""
        lengths, derivatives = self._knots(raw)
        return SplineParts(lengths[:, 0], lengths[:, 1], derivatives)

    def transform(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """Return the images (n,) of x (n,) and the logarithms of the slopes there (n,)."""
        inside = jnp.abs(x) < self.bound
        here = jnp.where(inside, x, 0.0)
        bin_ = self._bin(here, raw, side=0)
        share = jnp.clip((here - bin_.left) / bin_.width, 0.0, 1.0)
        both = share * (1.0 - share)
        rise = bin_.slope * share**2 + bin_.before * both
        y = bin_.bottom + bin_.height * rise / (bin_.slope + bin_.bend * both)
        return jnp.where(inside, y, x), jnp.where(inside, bin_.log_slope(share), 0.0)

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """Return what `transform` takes to y (n,), and the logarithms of the inverse's slopes."""
        inside = jnp.abs(y) < self.bound
        here = jnp.where(inside, y, 0.0)
        bin_ = self._bin(here, raw, side=1)
        risen = jnp.clip((here - bin_.bottom) / bin_.height, 0.0, 1.0)
        # Equations 6 to 8, divided by the height of the bin; this root never cancels.
        linear = bin_.before - risen * bin_.bend
        square = bin_.slope - linear
        root = jnp.sqrt(jnp.maximum(linear**2 + 4.0 * square * bin_.slope * risen, 1e-12))
        share = jnp.clip(2.0 * bin_.slope * risen / (linear + root), 0.0, 1.0)
        x = bin_.left + share * bin_.width
        return jnp.where(inside, x, y), jnp.where(inside, -bin_.log_slope(share), 0.0)

    def _knots(self, raw: Array) -> tuple[Array, Array]:
        """Return widths and heights (n, 2, K) and derivatives (n, K + 1)."""
        shares = jax.nn.softmax(raw[:, : 2 * self.bins].reshape(-1, 2, self.bins), axis=-1)
        lengths = 2.0 * self.bound * (MIN_BIN / self.bins + (1.0 - MIN_BIN) * shares)
        inner = MIN_DERIVATIVE + jax.nn.softplus(raw[:, 2 * self.bins :] + _UNIT_DERIVATIVE)
        return lengths, jnp.pad(inner, ((0, 0), (1, 1)), constant_values=1.0)

    def _bin(self, x: Array, raw: Array, *, side: int) -> _Bin:
        lengths, derivatives = self._knots(raw)
        ends = jnp.cumsum(jax.lax.stop_gradient(lengths[:, side, :-1]), axis=-1) - self.bound
        index = jnp.sum(ends <= x[:, None], axis=-1, keepdims=True)
        # Masked sums instead of indexing: their gradient is no scatter, which is slow on CPUs.
        places = jnp.arange(self.bins + 1)
        bins = places[:-1]
        size = jnp.sum((bins == index)[:, None] * lengths, axis=-1)
        start = jnp.sum((bins < index)[:, None] * lengths, axis=-1) - self.bound
        before = jnp.sum((places == index) * derivatives, axis=-1)
        after = jnp.sum((places == index + 1) * derivatives, axis=-1)
        slope = size[:, 1] / size[:, 0]
        return _Bin(
            left=start[:, 0],
            width=size[:, 0],
            bottom=start[:, 1],
            height=size[:, 1],
            before=before,
            after=after,
            slope=slope,
            bend=before + after - 2.0 * slope,
        )


class _Bin(NamedTuple):
    """The bin that each coordinate is in."""

    left: Array
    width: Array
    bottom: Array
    height: Array
    before: Array
    after: Array
    slope: Array
    bend: Array

    def log_slope(self, share: Array) -> Array:
        """Return the logarithm of equation 5, ``share`` of the bin's width to the right."""
        rest = 1.0 - share
        steepness = self.after * share**2 + 2 * self.slope * share * rest + self.before * rest**2
        return jnp.log(steepness * (self.slope / (self.slope + self.bend * share * rest)) ** 2)
