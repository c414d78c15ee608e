"""Masked transforms: every coordinate is transformed, given those before it and the embedding."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.flows.conditioner import Conditioner
from ax_jax_runners.posterior.flows.layer import Layer
from ax_jax_runners.posterior.flows.transformer import Transformer


class MaskedAutoregressive(Layer):
    """All coordinates at once towards the base, one after the other away from it.

    Papamakarios et al. 2017. The Jacobian is lower triangular.

    Attributes:
        conditioner: An autoregressive one.
        transformer: What is done to each coordinate.
        shape: (d,).
        cond_shape: (embedding_dim,).
    """

    conditioner: Conditioner
    transformer: Transformer = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """Map x (d, ...) towards the base; return the image and the log determinants."""
        y, slopes = self.transformer.transform(x, self.conditioner(x, condition))
        return y, slopes.sum(axis=0)

    def backward(self, y: Array, condition: Array) -> tuple[Array, Array]:
        """Map y (d, ...) away from the base; return the image and the log determinants."""
        places = jnp.arange(y.shape[0]).reshape(-1, *(1,) * (y.ndim - 1))

        def step(x: Array, index: Array) -> tuple[Array, Array]:
            raw = self.conditioner(x, condition)
            found, slope = self.transformer.inverse(
                jax.lax.dynamic_slice_in_dim(y, index, 1),
                jax.lax.dynamic_slice_in_dim(raw, index, 1),
            )
            # A mask instead of an indexed update, whose gradient is a scatter.
            return jnp.where(places == index, found, x), slope[0]

        x, slopes = jax.lax.scan(step, jnp.zeros_like(y), jnp.arange(y.shape[0]))
        return x, slopes.sum(axis=0)
