"""Neural posterior estimation: the log density of the parameters that made an observation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.posterior.flows import SplineParts
from ax_jax_runners.posterior.objectives.penalties import (
    observation_scale,
    spline_penalties,
)
from ax_jax_runners.posterior.training.rows import Rows


@dataclass(frozen=True)
class NeuralPosterior:
    """Minus the log density of the row's parameters, with penalties while training.

    Attributes:
        penalties: Names among "small_bin", "entropy" and "derivative", of splines.
        scale_head: Whether the model has a head that tells the observation's scale.
        parameter_head: Whether it has one that tells the parameters.
    """

    penalties: tuple[str, ...] = ()
    scale_head: bool = False
    parameter_head: bool = False

    @property
    def is_log_density(self) -> bool:
        return True

    @property
    def scored_rows(self) -> int | None:
        return None

    @property
    def needs_raw(self) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        return {"name": "npe", **dataclasses.asdict(self)}

    def training_loss(
        self, model: Any, row: Rows, key: Array, scales: Mapping[str, Array]
    ) -> Array:
        embedding = model.embed(row.observation)
        log_prob, parts = model.flow.log_prob_and_spline_parts(row.y, embedding)
        return self.with_extras(-log_prob, parts, model, row, embedding, scales)

    def with_extras(
        self,
        loss: Array,
        parts: SplineParts | None,
        model: Any,
        row: Rows,
        embedding: Array,
        scales: Mapping[str, Array],
    ) -> Array:
        """Return a loss () with the weighted penalties and auxiliary losses of one row."""
        total = loss
        if self.penalties and parts is not None:
            found = spline_penalties(parts, scales)
            for name in self.penalties:
                total = total + scales[f"{name}_weight"] * found[name]
        if self.scale_head:
            error = model.heads.tell_scale(embedding) - observation_scale(row.observation)
            total = total + scales["auxiliary_scale_weight"] * error**2
        if self.parameter_head:
            error = model.heads.tell_parameters(embedding) - row.y
            total = total + scales["auxiliary_parameter_weight"] * jnp.mean(error**2)
        return total

    def validation_loss(self, model: Any, row: Rows, key: Array) -> Array:
        return -model.log_prob(row.y, model.embed(row.observation))

    def closure(self, model: Any, row: Rows, key: Array) -> Array:
        return flow_closure(model, row, key)


def flow_closure(model: Any, row: Rows, key: Array) -> Array:
    """Return how far a flow is from its own inverse, (3,); see `Objective.closure`."""
    embedding = model.embed(row.observation)
    base, there = model.flow.to_base(row.y, embedding)
    again, back = model.flow.from_base(base, embedding)
    drawn = model.sample(key, embedding)
    # In the unconstrained space these are the draws that the cube cannot tell from its edges.
    on_edge = jnp.any(jax.nn.sigmoid(jnp.abs(drawn)) == 1.0)
    return jnp.stack(
        [jnp.max(jnp.abs(again - row.y)), jnp.abs(there + back), on_edge.astype(jnp.float32)]
    )
