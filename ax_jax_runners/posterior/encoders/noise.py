"""Noise that is added to observations while training."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

#: One standardised observation: by block and channel, (L,) arrays.
Row = Mapping[str, Mapping[str, Array]]


def add_observation_noise(
    row: Row,
    key: Array,
    *,
    multiplier: Array | float,
    floor: Array | float,
    typical: Mapping[str, Array | float],
) -> dict[str, dict[str, Array]]:
    """Return a standardised observation with Gaussian noise on its values.

    The standard deviation is ``multiplier * max(uncertainty, floor * typical)``, and ``multiplier``
    for a block without uncertainties.

    Args:
        row: One standardised observation.
        key: Its own; every block and entry draws its own number.
        multiplier: Of the uncertainties; 0 leaves every bit as it is.
        floor: Least noise as a share of the typical uncertainty.
        typical: Median standardised uncertainty by block.

    Returns:
        The observation with other values; what is masked stays as it is.
    """
    noisy: dict[str, dict[str, Array]] = {}
    for position, name in enumerate(sorted(row)):
        channels = dict(row[name])
        values = channels["values"]
        scale = jnp.asarray(multiplier, values.dtype)
        if "uncertainties" in channels:
            least = jnp.asarray(floor * typical[name], values.dtype)
            scale = scale * jnp.maximum(channels["uncertainties"], least)
        draws = jax.random.normal(jax.random.fold_in(key, position), values.shape, values.dtype)
        touched = (scale != 0) & channels.get("mask", True)
        # Adding a zero would turn a negative zero into a positive one.
        channels["values"] = jnp.where(touched, values + scale * draws, values)
        noisy[name] = channels
    return noisy
