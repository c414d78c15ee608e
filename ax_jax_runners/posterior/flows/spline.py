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
    """Splines with ``bins`` bins on [-bound, bound], the identity outside and if all raw numbers
    are zero.

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
        widths, heights, derivatives = jnp.split(raw, [self.bins, 2 * self.bins], axis=-1)
        inner = MIN_DERIVATIVE + jax.nn.softplus(derivatives + _UNIT_DERIVATIVE)
        ends = jnp.ones_like(raw[:, :1])
        return SplineParts(
            self._lengths(widths),
            self._lengths(heights),
            jnp.concatenate([ends, inner, ends], axis=-1),
        )

    def transform(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """Return the images (n,) of x (n,) and the logarithms of the slopes there (n,)."""
        return self.transform_by(x, self.parts(raw))

    def transform_by(self, x: Array, parts: SplineParts) -> tuple[Array, Array]:
        """Do the same with the parts of the splines at hand."""
        inside = jnp.abs(x) < self.bound
        bin_ = self._bin(jnp.where(inside, x, 0.0), parts, parts.widths)
        share = jnp.clip((bin_.x - bin_.left) / bin_.width, 0.0, 1.0)
        both = share * (1.0 - share)
        rise = bin_.slope * share**2 + bin_.before * both
        y = bin_.bottom + bin_.height * rise / (bin_.slope + bin_.bend * both)
        return jnp.where(inside, y, x), jnp.where(inside, bin_.log_slope(share), 0.0)

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """Return what `transform` takes to y (n,), and the logarithms of the inverse's slopes."""
        inside = jnp.abs(y) < self.bound
        parts = self.parts(raw)
        bin_ = self._bin(jnp.where(inside, y, 0.0), parts, parts.heights)
        risen = jnp.clip((bin_.x - bin_.bottom) / bin_.height, 0.0, 1.0)
        # Equations 6 to 8, divided by the height of the bin; this root never cancels.
        linear = bin_.before - risen * bin_.bend
        square = bin_.slope - linear
        root = jnp.sqrt(jnp.maximum(linear**2 + 4.0 * square * bin_.slope * risen, 1e-12))
        share = jnp.clip(2.0 * bin_.slope * risen / (linear + root), 0.0, 1.0)
        x = bin_.left + share * bin_.width
        return jnp.where(inside, x, y), jnp.where(inside, -bin_.log_slope(share), 0.0)

    def _lengths(self, raw: Array) -> Array:
        least = MIN_BIN / self.bins
        return 2.0 * self.bound * (least + (1.0 - MIN_BIN) * jax.nn.softmax(raw, axis=-1))

    def _bin(self, x: Array, parts: SplineParts, lengths: Array) -> _Bin:
        # Masked sums instead of indexing: their gradient is no scatter, which is slow on CPUs.
        ends = jnp.cumsum(jax.lax.stop_gradient(lengths), axis=-1)[:, :-1] - self.bound
        passed = (ends <= x[:, None]).astype(x.dtype)
        one = jnp.ones_like(x[:, None])
        here = jnp.concatenate([one, passed], axis=-1) - jnp.concatenate(
            [passed, 0.0 * one], axis=-1
        )
        width = jnp.sum(here * parts.widths, axis=-1)
        height = jnp.sum(here * parts.heights, axis=-1)
        before = jnp.sum(here * parts.derivatives[:, :-1], axis=-1)
        after = jnp.sum(here * parts.derivatives[:, 1:], axis=-1)
        left = jnp.sum(passed * parts.widths[:, :-1], axis=-1) - self.bound
        bottom = jnp.sum(passed * parts.heights[:, :-1], axis=-1) - self.bound
        slope = height / width
        return _Bin(x, left, width, bottom, height, before, after, slope, before + after - 2 * slope)


class _Bin(NamedTuple):
    """The bin that each coordinate is in."""

    x: Array
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
        return (
            2.0 * jnp.log(self.slope)
            + jnp.log(steepness)
            - 2.0 * jnp.log(self.slope + self.bend * share * rest)
        )
