"""Penalties on splines that are about to collapse, and what auxiliary heads are to tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.flows import SplineParts

_TINY = 1e-12


def spline_penalties(parts: SplineParts, scales: Mapping[str, Array]) -> dict[str, Array]:
    """Return the penalty of each name for the splines on the way of one row, each ().

    "small_bin": mean squared shortfall of bin widths and heights, as ratios to those of equal
    bins, from ``min_bin_ratio``. "entropy": squared shortfall of the entropy of widths and heights,
    as a share of that of equal bins, from ``entropy_floor``. "derivative": mean squared distance of
    the logarithm of the derivatives from that of ``min_derivative`` to ``max_derivative``. All are
    0 for equal bins with derivatives of 1.

    Args:
        parts: The splines.
        scales: The targets.
    """
    shares = jnp.concatenate([_shares(parts.widths), _shares(parts.heights)])
    bins = shares.shape[-1]
    short = jnp.maximum(scales["min_bin_ratio"] - shares * bins, 0.0)
    entropy = -(shares * jnp.log(shares + _TINY)).sum(axis=-1) / jnp.log(float(bins))
    lacking = jnp.maximum(scales["entropy_floor"] - entropy, 0.0)
    slope = jnp.log(parts.derivatives + _TINY)
    below = jnp.maximum(jnp.log(scales["min_derivative"] + _TINY) - slope, 0.0)
    above = jnp.maximum(slope - jnp.log(scales["max_derivative"] + _TINY), 0.0)
    return {
        "small_bin": jnp.mean(short**2),
        "entropy": jnp.mean(lacking**2),
        "derivative": jnp.mean(below**2 + above**2),
    }


def _shares(lengths: Array) -> Array:
    return lengths / lengths.sum(axis=-1, keepdims=True)


def observation_scale(observation: Mapping[str, Mapping[str, Any]]) -> Array:
    """Return the logarithm of the root mean square of a standardised observation's values, ()."""
    squares, count = jnp.zeros(()), jnp.zeros(())
    for block in observation.values():
        there = block.get("mask")
        weight = jnp.ones_like(block["values"]) if there is None else there.astype(jnp.float32)
        squares = squares + (weight * block["values"] ** 2).sum()
        count = count + weight.sum()
    return 0.5 * jnp.log(squares / jnp.maximum(count, 1.0) + _TINY)
