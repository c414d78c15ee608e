"""A running mean of the weights, which is scored and kept in place of the last ones.

Polyak and Juditsky (1992): steps at a finite rate wander about the minimum, their mean does not. An
exponential mean forgets the way there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Averaged(NamedTuple):
    """The optimiser's state where weights are averaged.

    Attributes:
        moments: Adam's state.
        average: The mean of the weights.
    """

    moments: Any
    average: Any


def blend(average: Any, weights: Any, steps: Array, decay: Array) -> Any:
    """Return the mean after a step; traced.

    Args:
        average: Before it.
        weights: After it.
        steps: Steps taken so far. The first ones, of which the mean knows little else, count more.
        decay: What a step leaves of the mean before it.
    """
    count = steps.astype(jnp.float32)
    kept = jnp.minimum(decay, (1.0 + count) / (10.0 + count))
    return jax.tree.map(lambda old, new: kept * old + (1.0 - kept) * new, average, weights)


def evaluated(trainable: Any, moments: Any) -> Any:
    """Return the weights that are scored and kept: their mean where there is one."""
    return moments.average if isinstance(moments, Averaged) else trainable
