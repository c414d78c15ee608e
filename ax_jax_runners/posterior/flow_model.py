"""An encoder and a conditional flow side by side: the density that training fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.configuration import EncoderConfiguration, FlowConfiguration
from ax_jax_runners.posterior.encoders import ObservationSchema, build_encoder
from ax_jax_runners.posterior.encoders.fusion import VectorEncoder
from ax_jax_runners.posterior.flows import ConditionalFlow, build_flow


class AuxiliaryHeads(eqx.Module):
    """Linear read-outs of an embedding, which make it tell what it might otherwise leave out."""

    scale: Array | None
    parameters: Array | None

    def tell_scale(self, embedding: Array) -> Array:
        """Return the logarithm of the spread of the standardised observation, ()."""
        assert self.scale is not None  # noqa: S101
        return self.scale[:-1] @ embedding + self.scale[-1]

    def tell_parameters(self, embedding: Array) -> Array:
        """Return the flow's coordinates of the parameters, (d,)."""
        assert self.parameters is not None  # noqa: S101
        return embedding @ self.parameters[:-1] + self.parameters[-1]


class FlowModel(eqx.Module):
    """A density of flow coordinates y (d,), given one standardised observation."""

    encoder: Any
    flow: ConditionalFlow
    heads: AuxiliaryHeads

    def embed(self, row: Any) -> Array:
        """Return the embedding (E,) of one standardised observation."""
        return self.encoder(row)

    def log_prob(self, y: Array, embedding: Array) -> Array:
        """Return the log density () of y (d,)."""
        return self.flow.log_prob(y, embedding)

    def sample(self, key: Array, embedding: Array) -> Array:
        """Draw one y (d,)."""
        return self.flow.sample(key, embedding)

    def log_prob_rows(self, y: Array, embedding: Array) -> Array:
        """Return the log densities (n,) of y (n, d), given an embedding (E,) for all or (n, E)."""
        return self.flow.log_prob_rows(y, embedding)

    def sample_rows(self, keys: Array, embedding: Array) -> Array:
        """Draw y (n, d) by n keys, given an embedding (E,) for all or (n, E)."""
        return self.flow.sample_rows(keys, embedding)


@dataclass(frozen=True)
class FlowRecipe:
    """What decides the structure of a `FlowModel`; equal recipes share compiled programs.

    Attributes:
        dimension: Number of parameters.
        schema: Of the observations; None: not known, and nothing can be encoded.
        flow: The flow.
        encoder: The encoder.
        scale_head: Whether a head tells the observation's scale.
        parameter_head: Whether a head tells the parameters.
    """

    dimension: int
    schema: ObservationSchema | None
    flow: FlowConfiguration
    encoder: EncoderConfiguration
    scale_head: bool = False
    parameter_head: bool = False

    def build(self, key: Array) -> FlowModel:
        """Return the untrained model of a typed key."""
        first, second = jax.random.split(key)
        encoder = None if self.schema is None else build_encoder(first, self.schema, self.encoder)
        size = self.encoder.embedding_dim if encoder is None else encoder.embedding_dim
        heads = AuxiliaryHeads(
            jnp.zeros(size + 1, jnp.float32) if self.scale_head else None,
            jnp.zeros((size + 1, self.dimension), jnp.float32) if self.parameter_head else None,
        )
        # Only an embedding that stays what it is can be regressed on once and for all.
        plain = isinstance(encoder, VectorEncoder) and encoder.perceptron is None
        chosen = replace(self.flow, regression=self.flow.regression and plain)
        flow = build_flow(second, chosen, dimension=self.dimension, embedding_dim=size)
        return FlowModel(encoder, flow, heads)
