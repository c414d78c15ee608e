"""A conditional density: transforms of an embedding between the real space and a base."""

from __future__ import annotations

import equinox as eqx
import jax
from jax import Array

from ax_jax_runners.posterior.flows.affine import Affine
from ax_jax_runners.posterior.flows.base import Base
from ax_jax_runners.posterior.flows.conditioner import Conditioner
from ax_jax_runners.posterior.flows.coupling import SplineCoupling
from ax_jax_runners.posterior.flows.regression import Regression
from ax_jax_runners.posterior.flows.spline import SplineParts
from ax_jax_runners.posterior.flows.stack import Stack


class ConditionalFlow(eqx.Module):
    """A density of y in R^d given an embedding, for one row; float32.

    `to_base`, `from_base` and `log_prob` take many rows, too, as `Layer` does: in a last axis.

    Attributes:
        regression: What is taken off y first; or None.
        stack: The transforms; forward is from y towards the base.
        base_affine: Gives a shift and a scale in front of the base, from the embedding; or None.
        base: The base distribution.
        dimension: d.
        embedding_dim: Length of an embedding.
        effective_family: The family of the transforms.
    """

    regression: Regression | None
    stack: Stack
    base_affine: Conditioner | None
    base: Base = eqx.field(static=True)
    dimension: int = eqx.field(static=True)
    embedding_dim: int = eqx.field(static=True)
    effective_family: str = eqx.field(static=True)

    def to_base(self, y: Array, embedding: Array) -> tuple[Array, Array]:
        """Return u (d,) and log|du/dy| () for y (d,)."""
        y, more = self._begin(y, embedding)
        x, log_det = self.stack.forward(y, embedding)
        return self._finish(x, log_det + more, embedding)

    def from_base(self, u: Array, embedding: Array) -> tuple[Array, Array]:
        """Return y (d,) and log|dy/du| () for u (d,)."""
        more: Array | float = 0.0
        if self.base_affine is not None:
            u, slopes = Affine().inverse(u, self.base_affine(embedding[:0], embedding))
            more = slopes.sum(axis=0)
        y, log_det = self.stack.backward(u, embedding)
        log_det = log_det + more
        if self.regression is not None:
            y, more = self.regression.restore(y, embedding)
            log_det = log_det + more
        return y, log_det

    def log_prob(self, y: Array, embedding: Array) -> Array:
        """Return the log density () at y (d,)."""
        u, log_det = self.to_base(y, embedding)
        return self.base.log_prob(u) + log_det

    def sample(self, key: Array, embedding: Array) -> Array:
        """Return one draw (d,), differentiable with respect to the weights."""
        return self.from_base(self.base.sample(key), embedding)[0]

    def sample_rows(self, keys: Array, embedding: Array) -> Array:
        """Return draws (n, d) of n keys, given an embedding (E,) for all or (n, E)."""
        u = jax.vmap(self.base.sample)(keys)
        return self.from_base(u.T, _columns(embedding))[0].T

    def log_prob_rows(self, y: Array, embedding: Array) -> Array:
        """Return the log densities (n,) at y (n, d), given an embedding (E,) for all or (n, E)."""
        return self.log_prob(y.T, _columns(embedding))

    def sample_and_log_prob(self, key: Array, embedding: Array) -> tuple[Array, Array]:
        """Return one draw (d,) and its log density (), differentiable like `sample`."""
        u = self.base.sample(key)
        y, log_det = self.from_base(u, embedding)
        return y, self.base.log_prob(u) - log_det

    def spline_parts(self, y: Array, embedding: Array) -> SplineParts | None:
        """Return all splines that y (d,) meets on its way to the base; None for other families.

        Returns:
            Parts with n = layers x coordinates that a layer transforms.
        """
        return self.log_prob_and_spline_parts(y, embedding)[1]

    def log_prob_and_spline_parts(
        self, y: Array, embedding: Array
    ) -> tuple[Array, SplineParts | None]:
        """Return what `log_prob` and `spline_parts` return, at the cost of one."""
        if not isinstance(self.stack.layers, SplineCoupling):
            return self.log_prob(y, embedding), None
        y, more = self._begin(y, embedding)
        x, log_det, parts = self.stack.transform_and_parts(y, embedding)
        u, log_det = self._finish(x, log_det + more, embedding)
        flat = jax.tree.map(lambda part: part.reshape(-1, part.shape[-1]), parts)
        return self.base.log_prob(u) + log_det, flat

    def _begin(self, y: Array, embedding: Array) -> tuple[Array, Array | float]:
        return (y, 0.0) if self.regression is None else self.regression.remove(y, embedding)

    def _finish(self, x: Array, log_det: Array, embedding: Array) -> tuple[Array, Array]:
        if self.base_affine is None:
            return x, log_det
        u, slopes = Affine().transform(x, self.base_affine(embedding[:0], embedding))
        return u, log_det + slopes.sum(axis=0)


def _columns(embedding: Array) -> Array:
    return embedding[:, None] if embedding.ndim == 1 else embedding.T
