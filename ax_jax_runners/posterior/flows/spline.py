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

    All raw numbers zero are the identity everywhere. Further axes, of rows, come last everywhere:
    sums over the bins of many rows are fast on CPUs if bins are not next to each other.

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
        widths, heights, inner = self._split(raw)
        derivatives = jnp.pad(_derivative(inner), ((0, 0), (1, 1)), constant_values=1.0)
        return SplineParts(self._lengths(widths), self._lengths(heights), derivatives)

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

    def _split(self, raw: Array) -> list[Array]:
        """Return the raw widths (n, K), heights (n, K) and inner derivatives (n, K - 1)."""
        return jnp.split(raw, [self.bins, 2 * self.bins], axis=1)

    def _lengths(self, raw: Array) -> Array:
        shares = jax.nn.softmax(raw, axis=1)
        return 2.0 * self.bound * (MIN_BIN / self.bins + (1.0 - MIN_BIN) * shares)

    def _bin(self, x: Array, raw: Array, *, side: int) -> _Bin:
        # Widths and heights apart: a mask for both at once is slow to broadcast on CPUs.
        *raw_lengths, raw_derivatives = self._split(raw)
        widths, heights = (self._lengths(part) for part in raw_lengths)
        before_last = jax.lax.stop_gradient((widths, heights)[side][:, :-1])
        # A product with a triangle is a cumulative sum, and faster than one of a few numbers.
        triangle = jnp.triu(jnp.ones((self.bins - 1,) * 2, raw.dtype))
        highest = jax.lax.Precision.HIGHEST
        ends = jnp.einsum("nb...,bk->nk...", before_last, triangle, precision=highest) - self.bound
        index = jnp.sum(ends <= x[:, None], axis=1, keepdims=True)
        # Masked sums instead of indexing: their gradient is no scatter, which is slow on CPUs.
        places = jnp.arange(self.bins + 1).reshape(-1, *(1,) * (x.ndim - 1))
        here, below = places[:-1] == index, places[:-1] < index
        # Raw numbers are chosen first, so that two softplus are taken instead of K - 1; that of 0
        # is the derivative of 1 at both ends.
        knots = jnp.pad(raw_derivatives, ((0, 0), (1, 1), *((0, 0),) * (x.ndim - 1)))
        before = _derivative(jnp.sum((places == index) * knots, axis=1))
        after = _derivative(jnp.sum((places == index + 1) * knots, axis=1))
        width, height = (jnp.sum(here * lengths, axis=1) for lengths in (widths, heights))
        slope = height / width
        return _Bin(
            left=jnp.sum(below * widths, axis=1) - self.bound,
            width=width,
            bottom=jnp.sum(below * heights, axis=1) - self.bound,
            height=height,
            before=before,
            after=after,
            slope=slope,
            bend=before + after - 2.0 * slope,
        )


def _derivative(raw: Array) -> Array:
    return MIN_DERIVATIVE + jax.nn.softplus(raw + _UNIT_DERIVATIVE)


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
