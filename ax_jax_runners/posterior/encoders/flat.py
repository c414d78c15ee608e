"""Encoder of everything that has no order: photometry and auxiliary blocks."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.encoders.dense import Perceptron, WeightSource
from ax_jax_runners.posterior.encoders.inputs import BlockInputs
from ax_jax_runners.posterior.encoders.noise import Row
from ax_jax_runners.posterior.encoders.schema import BlockSchema


class FlatEncoder(eqx.Module):
    """One perceptron for all such blocks, however many there are.

    Coordinates on a common grid are left out: they would be constants.

    Attributes:
        inputs: Of the blocks.
        perceptron: From all their channels, end to end.
    """

    inputs: tuple[BlockInputs, ...]
    perceptron: Perceptron

    @classmethod
    def draw(
        cls, source: WeightSource, blocks: Sequence[BlockSchema], *, width: int, outputs: int
    ) -> FlatEncoder:
        """Return one with two hidden layers."""
        inputs = tuple(BlockInputs(block, with_grid=False) for block in blocks)
        size = sum(read.count * read.schema.length for read in inputs)
        return cls(inputs, Perceptron.draw(source, [size, width, width, outputs]))

    def __call__(self, row: Row) -> Array:
        """Return (outputs,) for all the blocks."""
        return self.perceptron(jnp.concatenate([read(row)[0].ravel() for read in self.inputs]))
