"""A conditional velocity field, followed from noise to parameters and back.

Lipman et al. (2023), "Flow matching for generative modeling"; for posteriors Wildberger et al.
(2023), "Flow matching for scalable simulation-based inference". The log density follows from the
divergence along the way back (Chen et al. 2018, equation 8), which is computed exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.configuration import EncoderConfiguration
from ax_jax_runners.posterior.encoders import ObservationSchema, build_encoder
from ax_jax_runners.posterior.encoders.dense import Dense, WeightSource
from ax_jax_runners.posterior.flow_matching.configuration import FlowMatchingConfiguration

#: Frequencies of the sines and cosines by which the network is told the time.
_FREQUENCIES = 4


class VelocityField(eqx.Module):
    """A residual network of the state, the time and the embedding."""

    entrance: Dense
    blocks: tuple[tuple[Dense, Dense], ...]
    exit: Dense

    def __call__(self, state: Array, time: Array, embedding: Array) -> Array:
        """Return the velocity (d,) of a state (d,) at a time () in [0, 1]."""
        angles = jnp.pi * time * 2.0 ** jnp.arange(_FREQUENCIES, dtype=state.dtype)
        told = jnp.concatenate([jnp.sin(angles), jnp.cos(angles), embedding])
        hidden = self.entrance(jnp.concatenate([state, told]))
        for layer, gate in self.blocks:
            # What is told opens and shuts the units of every layer, not of the first alone.
            hidden = hidden + jax.nn.sigmoid(gate(told)) * layer(jax.nn.silu(hidden))
        return self.exit(jax.nn.silu(hidden))


class FlowMatchingModel(eqx.Module):
    """A density of flow coordinates y (d,), given one standardised observation.

    Attributes:
        encoder: The network of the observation.
        field: The velocity field, of y / scale.
        scale: Typical size of y, so that the field works with numbers of order 1.
        steps: Midpoint steps.
    """

    encoder: Any
    field: VelocityField
    scale: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def embed(self, row: Any) -> Array:
        """Return the embedding (E,) of one standardised observation."""
        return self.encoder(row)

    def sample(self, key: Array, embedding: Array) -> Array:
        """Draw one y (d,)."""
        size = self.field.exit.bias.shape
        return self.follow(jax.random.normal(key, size, jnp.float32), embedding)

    def follow(self, noise: Array, embedding: Array) -> Array:
        """Return the y (d,) to which noise (d,) is carried."""
        length = 1.0 / self.steps

        def advance(number: Array, state: Array) -> Array:
            time = number * length
            halfway = state + 0.5 * length * self.field(state, time, embedding)
            return state + length * self.field(halfway, time + 0.5 * length, embedding)

        return self.scale * jax.lax.fori_loop(0, self.steps, advance, noise)

    def log_prob(self, y: Array, embedding: Array) -> Array:
        """Return the log density () of y (d,)."""
        length = 1.0 / self.steps

        def advance(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            state, gained = carry
            time = 1.0 - number * length
            halfway = state - 0.5 * length * self.field(state, time, embedding)
            velocity, divergence = self._with_divergence(halfway, time - 0.5 * length, embedding)
            return state - length * velocity, gained + length * divergence

        start = (y / self.scale, jnp.zeros((), y.dtype))
        noise, gained = jax.lax.fori_loop(0, self.steps, advance, start)
        size = noise.shape[0]
        log_noise = -0.5 * (noise @ noise) - 0.5 * size * math.log(2.0 * math.pi)
        return log_noise - gained - size * math.log(self.scale)

    def log_prob_rows(self, y: Array, embedding: Array) -> Array:
        """Return the log densities (n,) of y (n, d), given an embedding (E,) for all or (n, E)."""
        return jax.vmap(self.log_prob, (0, 0 if embedding.ndim > 1 else None))(y, embedding)

    def sample_rows(self, keys: Array, embedding: Array) -> Array:
        """Draw y (n, d) by n keys, given an embedding (E,) for all or (n, E)."""
        return jax.vmap(self.sample, (0, 0 if embedding.ndim > 1 else None))(keys, embedding)

    def _with_divergence(self, state: Array, time: Array, embedding: Array) -> tuple[Array, Array]:
        def velocity(at: Array) -> Array:
            return self.field(at, time, embedding)

        value, push = jax.linearize(velocity, state)
        columns = jax.vmap(push)(jnp.eye(state.shape[0], dtype=state.dtype))
        return value, jnp.trace(columns)


@dataclass(frozen=True)
class FlowMatchingRecipe:
    """What decides the structure of a `FlowMatchingModel`.

    Attributes:
        dimension: Number of parameters.
        schema: Of the observations; None: not known, and nothing can be encoded.
        field: The velocity field.
        encoder: The encoder.
        scale: Typical size of the flow's coordinates.
    """

    dimension: int
    schema: ObservationSchema | None
    field: FlowMatchingConfiguration
    encoder: EncoderConfiguration
    scale: float = 1.0

    def build(self, key: Array) -> FlowMatchingModel:
        """Return the untrained model of a typed key."""
        first, second = jax.random.split(key)
        encoder = None if self.schema is None else build_encoder(first, self.schema, self.encoder)
        size = self.encoder.embedding_dim if encoder is None else encoder.embedding_dim
        return FlowMatchingModel(
            encoder, self._field(second, size), self.scale, self.field.integration_steps
        )

    def _field(self, key: Array, embedding_dim: int) -> VelocityField:
        source = WeightSource(key)
        width, told = self.field.width, 2 * _FREQUENCIES + embedding_dim

        return VelocityField(
            Dense.draw(source, self.dimension + told, width),
            tuple(
                (Dense.draw(source, width, width), Dense.draw(source, told, width))
                for _ in range(self.field.layers)
            ),
            # The field begins at rest: untrained, noise stays where it is.
            Dense.draw(source, width, self.dimension, gain=0.0),
        )
