"""A small residual convolutional network for spectra and time series."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.encoders.dense import Dense, Perceptron, WeightSource
from ax_jax_runners.posterior.encoders.inputs import BlockInputs
from ax_jax_runners.posterior.encoders.noise import Row
from ax_jax_runners.posterior.encoders.schema import BlockSchema

# Into how many segments a sequence is pooled at most: fewer forget where a line stood.
_SEGMENTS = 8
# The first convolution shortens by this at most, the others and the pooling by 2.
_FIRST_STRIDE = 4


class ResidualBlock(eqx.Module):
    """A convolution of three entries that is added to its input.

    It is one matrix product of every entry with its neighbours' channels beside it: XLA's own
    convolution takes as long on a CPU, and longer once its kernels are batched over arms.

    Attributes:
        mixing: From the channels of three neighbours to one entry's.
    """

    mixing: Dense

    def __call__(self, x: Array, mask: Array) -> Array:
        """Return (n, channels) of (n, channels), 0 where nothing was measured."""
        active = jax.nn.silu(x)
        edge = jnp.zeros_like(active[:1])
        before = jnp.concatenate([edge, active[:-1]])
        after = jnp.concatenate([active[1:], edge])
        change = self.mixing(jnp.concatenate([before, active, after], axis=1))
        return jnp.where(mask[:, None], x + change, 0)


class ConvolutionEncoder(eqx.Module):
    """Strided convolutions, a residual block after each but the first, then means over segments.

    Attributes:
        inputs: Of the block.
        reductions: Strided convolutions whose windows do not overlap.
        blocks: The residual block after each; None after the first of several, where it would cost
            more than all others together.
        projection: From the segments, end to end.
        strides: Of the reductions.
        segments: How many the sequence is pooled into.
        padded: Length of the sequence once it is padded.
    """

    inputs: BlockInputs
    reductions: tuple[Dense, ...]
    blocks: tuple[ResidualBlock | None, ...]
    projection: Perceptron
    strides: tuple[int, ...] = eqx.field(static=True)
    segments: int = eqx.field(static=True)
    padded: int = eqx.field(static=True)

    @classmethod
    def draw(
        cls, source: WeightSource, schema: BlockSchema, *, width: int, outputs: int
    ) -> ConvolutionEncoder:
        """Return one with a quarter of ``width`` as channels."""
        inputs = BlockInputs(schema)
        channels = max(width // 4, 4)
        strides, segments, padded = _shape(schema.length)
        reductions: list[Dense] = []
        blocks: list[ResidualBlock | None] = []
        for position, stride in enumerate(strides):
            size = channels if position else inputs.count
            reductions.append(Dense.draw(source, stride * size, channels))
            mixes = position > 0 or len(strides) == 1
            mixing = Dense.draw(source, 3 * channels, channels) if mixes else None
            blocks.append(None if mixing is None else ResidualBlock(mixing))
        pooled = segments * (channels + 1)
        projection = Perceptron.draw(source, [pooled, width, outputs])
        return cls(inputs, tuple(reductions), tuple(blocks), projection, strides, segments, padded)

    def __call__(self, row: Row) -> Array:
        """Return (outputs,) of the block of one standardised observation."""
        x, mask = self.inputs(row)
        padding = self.padded - len(mask)
        x = jnp.pad(x, ((0, padding), (0, 0)))
        share = jnp.pad(mask.astype(x.dtype), (0, padding))
        for stride, reduction, block in zip(
            self.strides, self.reductions, self.blocks, strict=True
        ):
            share = share.reshape(-1, stride).mean(axis=1)
            x = jnp.where(share[:, None] > 0, reduction(x.reshape(len(share), -1)), 0)
            x = jax.nn.silu(x if block is None else block(x, share > 0))
        x = x.reshape(self.segments, -1, x.shape[1])
        share = share.reshape(self.segments, -1, 1)
        total = share.sum(axis=1)
        mean = (x * share).sum(axis=1) / jnp.where(total > 0, total, 1)
        return self.projection(jnp.concatenate([mean, share.mean(axis=1)], axis=1).ravel())


def _shape(length: int) -> tuple[tuple[int, ...], int, int]:
    """Return the strides of the convolutions, the number of segments and the padded length."""
    halvings = 0
    while -(-length // 2**halvings) > _SEGMENTS:
        halvings += 1
    segments = -(-length // 2**halvings)
    # The last halving is the pooling.
    left = 2 ** max(halvings - 1, 0)
    first = min(left, _FIRST_STRIDE)
    further = (left // first).bit_length() - 1
    return (first, *[2] * further), segments, segments * 2**halvings
