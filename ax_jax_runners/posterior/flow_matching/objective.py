"""Regression of a velocity field on straight paths from noise to parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.training.rows import Rows

#: Times at which a validation row is looked at, and rows whose log density is computed.
_TIMES, _SCORED = 8, 128


@dataclass(frozen=True)
class VelocityRegression:
    """Mean squared difference of the field from ``y / scale - noise`` on the way between the two.

    Attributes:
        time_exponent: See `FlowMatchingConfiguration`.
    """

    time_exponent: float = 0.0

    @property
    def is_log_density(self) -> bool:
        return False

    @property
    def scored_rows(self) -> int | None:
        # A log density costs as much as many epochs of the row.
        return _SCORED

    @property
    def needs_raw(self) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        return {"name": "flow_matching", "time_exponent": self.time_exponent}

    def training_loss(
        self, model: Any, row: Rows, key: Array, scales: Mapping[str, Array]
    ) -> Array:
        on_time, on_noise = jax.random.split(key)
        uniform = jax.random.uniform(on_time, (), jnp.float32)
        return self._squared_error(model, row, model.embed(row.observation), uniform, on_noise)

    def validation_loss(self, model: Any, row: Rows, key: Array) -> Array:
        embedding = model.embed(row.observation)
        on_time, on_noise = jax.random.split(key)
        # Evenly spread times, shifted by one number a row, have less noise than drawn ones.
        shift = jax.random.uniform(on_time, (), jnp.float32)
        uniform = (jnp.arange(_TIMES, dtype=jnp.float32) + shift) / _TIMES
        keys = jax.random.split(on_noise, _TIMES)
        return jax.vmap(lambda u, own: self._squared_error(model, row, embedding, u, own))(
            uniform, keys
        ).mean()

    def closure(self, model: Any, row: Rows, key: Array) -> Array:
        # A field has no inverse of its own to be held against.
        return jnp.zeros(3, jnp.float32)

    def _squared_error(
        self, model: Any, row: Rows, embedding: Array, uniform: Array, key: Array
    ) -> Array:
        time = uniform ** (1.0 / (1.0 + self.time_exponent))
        end = row.y / model.scale
        noise = jax.random.normal(key, end.shape, end.dtype)
        state = (1.0 - time) * noise + time * end
        return jnp.mean((model.field(state, time, embedding) - (end - noise)) ** 2)
