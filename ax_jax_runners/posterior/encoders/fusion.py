"""From one standardised observation to its embedding."""

from __future__ import annotations

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.encoders.dense import Perceptron
from ax_jax_runners.posterior.encoders.gathering import VECTOR
from ax_jax_runners.posterior.encoders.noise import Row


class Piece(Protocol):
    """An encoder of one block, or of several together."""

    def __call__(self, row: Row) -> Array:
        """Return a vector, float32, that no masked entry of the row has a part in."""
        ...


class VectorEncoder(eqx.Module):
    """For plain vectors.

    Attributes:
        perceptron: None: the embedding is the standardised vector itself.
        embedding_dim: Length of the embedding.
    """

    perceptron: Perceptron | None
    embedding_dim: int = eqx.field(static=True)

    def __call__(self, row: Row) -> Array:
        """Return the embedding (embedding_dim,) of one standardised observation."""
        values = row[VECTOR]["values"]
        return values if self.perceptron is None else self.perceptron(values)


class FusionEncoder(eqx.Module):
    """For observations of blocks: each through an encoder of its kind, all fused by a perceptron.

    Attributes:
        pieces: One for each spectrum and time series, then one for all other blocks together.
        fusion: From their outputs, end to end, to the embedding.
        embedding_dim: Length of the embedding.
    """

    pieces: tuple[Piece, ...]
    fusion: Perceptron
    embedding_dim: int = eqx.field(static=True)

    def __call__(self, row: Row) -> Array:
        """Return the embedding (embedding_dim,) of one standardised observation."""
        return self.fusion(jnp.concatenate([piece(row) for piece in self.pieces]))
