"""One step of Adam with decoupled weight decay and clipped gradients, every number of it traced.

Loshchilov and Hutter (2019) for the weight decay. Trials that differ in these numbers only share
one compiled program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

_ADAM = optax.scale_by_adam()


def first_moments(trainable: Any) -> optax.ScaleByAdamState:
    """Return Adam's state before the first step."""
    state = _ADAM.init(trainable)
    assert isinstance(state, optax.ScaleByAdamState)  # noqa: S101
    return state


def step(
    trainable: Any, moments: Any, gradient: Any, rate: Array, scales: Mapping[str, Array]
) -> tuple[Any, Any, Array, Array]:
    """Return the weights and moments after a step, the gradient's norm, and whether it was taken.

    A step whose gradient is not finite is left out: weights and moments stay as they are.

    Args:
        trainable: Weights.
        moments: Adam's state.
        gradient: Of the loss.
        rate: Learning rate.
        scales: "gradient_clip_norm" (infinite: none) and "weight_decay".
    """
    norm = optax.tree.norm(gradient)
    finite = jnp.isfinite(norm)
    shrink = jnp.minimum(1.0, scales["gradient_clip_norm"] / jnp.maximum(norm, 1e-30))
    clipped = jax.tree.map(lambda leaf: leaf * shrink, gradient)
    direction, next_moments = _ADAM.update(clipped, moments)
    moved = jax.tree.map(
        lambda weight, along: weight - rate * (along + scales["weight_decay"] * weight),
        trainable,
        direction,
    )

    def kept(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

    return kept(moved, trainable), kept(next_moments, moments), norm, finite
