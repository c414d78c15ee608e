"""Attention over patches, for spectra and time series."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.encoders.dense import Dense, Perceptron, WeightSource
from ax_jax_runners.posterior.encoders.inputs import BlockInputs
from ax_jax_runners.posterior.encoders.noise import Row
from ax_jax_runners.posterior.encoders.schema import BlockSchema

_MOST_HEADS = 4
_NEVER = -1e9


class Attention(eqx.Module):
    """Every patch gathers from all patches in which something was measured.

    Attributes:
        projection: To queries, keys and values, side by side.
        output: Of the gathered values.
        heads: How many; a divisor of the width.
    """

    projection: Dense
    output: Dense
    heads: int = eqx.field(static=True)

    @classmethod
    def draw(cls, source: WeightSource, width: int) -> Attention:
        """Return one with four heads, or as many as divide ``width``."""
        return cls(
            Dense.draw(source, width, 3 * width),
            Dense.draw(source, width, width),
            math.gcd(width, _MOST_HEADS),
        )

    def __call__(self, x: Array, mask: Array) -> Array:
        """Return (n, width) of (n, width) and (n,) booleans."""
        parts = self.projection(x).reshape(len(x), 3, self.heads, -1)
        queries, keys, values = parts[:, 0], parts[:, 1], parts[:, 2]
        scores = jnp.einsum("qhd,khd->hqk", queries, keys) / math.sqrt(queries.shape[-1])
        weights = jax.nn.softmax(jnp.where(mask, scores, _NEVER), axis=-1)
        gathered = jnp.einsum("hqk,khd->qhd", jnp.where(mask, weights, 0), values)
        return self.output(gathered.reshape(x.shape))


class PatchEncoder(eqx.Module):
    """Patches of equal length, told where they stand, that look at each other once.

    Attributes:
        inputs: Of the block.
        embedding: Of the channels of a patch, end to end.
        positions: (patches, width), added to it.
        attention: Between the patches.
        perceptron: Of each patch alone.
        projection: Of the mean over patches.
        patch_size: Entries in a patch; the last is padded.
    """

    inputs: BlockInputs
    embedding: Dense
    positions: Array
    attention: Attention
    perceptron: Perceptron
    projection: Dense
    patch_size: int = eqx.field(static=True)

    @classmethod
    def draw(
        cls,
        source: WeightSource,
        schema: BlockSchema,
        *,
        width: int,
        outputs: int,
        patch_size: int,
    ) -> PatchEncoder:
        """Return one whose patches are described by ``width`` numbers."""
        inputs = BlockInputs(schema)
        count = -(-schema.length // patch_size)
        return cls(
            inputs,
            Dense.draw(source, patch_size * inputs.count, width),
            source.draw((count, width), deviation=0.5),
            Attention.draw(source, width),
            Perceptron.draw(source, [width, width, width]),
            Dense.draw(source, width, outputs),
            patch_size,
        )

    def __call__(self, row: Row) -> Array:
        """Return (outputs,) of the block of one standardised observation."""
        x, mask = self.inputs(row)
        count = len(self.positions)
        padding = count * self.patch_size - len(mask)
        x = jnp.pad(x, ((0, padding), (0, 0))).reshape(count, -1)
        share = jnp.pad(mask.astype(x.dtype), (0, padding)).reshape(count, -1).mean(axis=1)
        x = self.embedding(x) + self.positions
        x = x + self.attention(_normalised(x), share > 0)
        x = x + self.perceptron(_normalised(x))
        total = share.sum()
        # What a patch of few measured entries says counts less.
        mean = (x * share[:, None]).sum(axis=0) / jnp.where(total > 0, total, 1)
        return self.projection(mean)


def _normalised(x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
