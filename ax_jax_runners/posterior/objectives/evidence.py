"""Amortised variational inference: the evidence lower bound of a differentiable likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.fingerprint import Fingerprint
from ax_jax_runners.posterior.objectives.neural import NeuralPosterior, flow_closure
from ax_jax_runners.posterior.training.rows import Rows

#: Of cube coordinates (batch, d) and observations as given, (batch,).
LogLikelihood = Callable[[Array, Any], Array]


@dataclass(frozen=True)
class EvidenceLowerBound:
    """Minus ``E_q[log p(x | theta) - log q(theta | x)]`` on the cube, where the prior is uniform.

    Draws come from the base through the flow, so that gradients reach flow and encoder (Kingma and
    Welling 2014). The entropy of q keeps it from shrinking to a point.

    Attributes:
        log_likelihood: Cube coordinates (batch, d) and the batch's observations as the data set
            gave them -> (batch,); differentiable by JAX in the first.
        draws: Per observation; more make the gradient's variance smaller.
        extras: Penalties and auxiliary heads, as in neural posterior estimation.
    """

    log_likelihood: LogLikelihood
    draws: int = 1
    extras: NeuralPosterior = field(default_factory=NeuralPosterior)

    def __post_init__(self) -> None:
        if not callable(self.log_likelihood):
            raise ConfigurationError(
                "The 'elbo' objective needs elbo_log_likelihood_fn, a JAX function of cube "
                f"coordinates (batch, d) and observations; found {self.log_likelihood!r}."
            )
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 1:
            raise ConfigurationError(
                f"elbo_num_samples is {self.draws!r}; give a whole number from 1."
            )

    @property
    def is_log_density(self) -> bool:
        return False

    @property
    def scored_rows(self) -> int | None:
        return None

    @property
    def needs_raw(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        fingerprint = Fingerprint()
        fingerprint.add(self.log_likelihood)
        return {
            "name": "elbo",
            "draws": self.draws,
            "log_likelihood": fingerprint.hexdigest(),
            "extras": self.extras.describe(),
        }

    def training_loss(
        self, model: Any, row: Rows, key: Array, scales: Mapping[str, Array]
    ) -> Array:
        embedding = model.embed(row.observation)
        loss = self._negative_bound(model, row, embedding, key)
        parts = model.flow.spline_parts(row.y, embedding) if self.extras.penalties else None
        return self.extras.with_extras(loss, parts, model, row, embedding, scales)

    def validation_loss(self, model: Any, row: Rows, key: Array) -> Array:
        return self._negative_bound(model, row, model.embed(row.observation), key)

    def closure(self, model: Any, row: Rows, key: Array) -> Array:
        return flow_closure(model, row, key)

    def _negative_bound(self, model: Any, row: Rows, embedding: Array, key: Array) -> Array:
        def draw(number: Array) -> tuple[Array, Array]:
            y, log_q = model.flow.sample_and_log_prob(jax.random.fold_in(key, number), embedding)
            # From the density of logits to that on the cube: log du/dy of the logistic function.
            log_slope = -(jnp.abs(y) + 2.0 * jnp.log1p(jnp.exp(-jnp.abs(y)))).sum()
            return jax.nn.sigmoid(y), log_q - log_slope

        cube, log_q = jax.vmap(draw)(jnp.arange(self.draws, dtype=jnp.uint32))
        repeated = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.draws, *jnp.shape(leaf))), row.raw
        )
        return jnp.mean(log_q - self.log_likelihood(cube, repeated))
