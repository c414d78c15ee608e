"""Couplings: one half of the coordinates is transformed, given the other half and the embedding."""

from __future__ import annotations

from typing import cast

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.flows.conditioner import Conditioner
from ax_jax_runners.posterior.flows.layer import Layer
from ax_jax_runners.posterior.flows.spline import RationalQuadratic, SplineParts
from ax_jax_runners.posterior.flows.transformer import Transformer


class Coupling(Layer):
    """The first ``kept`` coordinates stay, the others are transformed (Dinh et al. 2017).

    A single coordinate is transformed given the embedding alone.

    Attributes:
        conditioner: Of the kept coordinates and the embedding.
        transformer: What is done to each of the others.
        kept: d // 2.
        shape: (d,).
        cond_shape: (embedding_dim,).
    """

    conditioner: Conditioner
    transformer: Transformer = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    @property
    def kept(self) -> int:
        """How many coordinates stay."""
        return self.shape[0] // 2

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """Map x (d, ...) towards the base; return the image and the log determinants."""
        stays, moves = x[: self.kept], x[self.kept :]
        moved, slopes = self.transformer.transform(moves, self.conditioner(stays, condition))
        return jnp.concatenate([stays, moved]), slopes.sum(axis=0)

    def backward(self, y: Array, condition: Array) -> tuple[Array, Array]:
        """Map y (d, ...) away from the base; return the image and the log determinants."""
        stays, moves = y[: self.kept], y[self.kept :]
        moved, slopes = self.transformer.inverse(moves, self.conditioner(stays, condition))
        return jnp.concatenate([stays, moved]), slopes.sum(axis=0)


class SplineCoupling(Coupling):
    """A coupling by rational-quadratic splines, which shows its splines."""

    def transform_and_parts(self, x: Array, condition: Array) -> tuple[Array, Array, SplineParts]:
        """Return what `forward` returns, and the splines that did it."""
        stays, moves = x[: self.kept], x[self.kept :]
        raw = self.conditioner(stays, condition)
        splines = cast(RationalQuadratic, self.transformer)
        moved, slopes = splines.transform(moves, raw)
        return jnp.concatenate([stays, moved]), slopes.sum(axis=0), splines.parts(raw)
