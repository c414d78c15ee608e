"""Shifts and scales whose logarithm is bounded."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

#: Largest absolute logarithm of a scale; beyond, float32 loses the way back.
MAX_LOG_SCALE = 3.0


@dataclass(frozen=True)
class Affine:
    """x -> x exp(s) + t, with s = 3 tanh(raw / 3); the identity if all raw numbers are zero."""

    @property
    def parameters(self) -> int:
        """Raw numbers for each coordinate."""
        return 2

    def transform(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """Return the images (n,) of x (n,) and the logarithms of the slopes (n,)."""
        shift, log_scale = raw[:, 0], bounded(raw[:, 1])
        return x * jnp.exp(log_scale) + shift, log_scale

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """Return what `transform` takes to y (n,), and the logarithms of the inverse's slopes."""
        shift, log_scale = raw[:, 0], bounded(raw[:, 1])
        return (y - shift) * jnp.exp(-log_scale), -log_scale


def bounded(raw: Array) -> Array:
    """Return raw numbers pressed smoothly into +-`MAX_LOG_SCALE`, of slope 1 at zero."""
    return MAX_LOG_SCALE * jnp.tanh(raw / MAX_LOG_SCALE)
