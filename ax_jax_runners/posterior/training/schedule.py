"""How the learning rate goes with the epochs, with every number of it traced."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.configuration import OptimiserConfiguration


def schedule_scales(configuration: OptimiserConfiguration) -> dict[str, float]:
    """Return the numbers that `learning_rate` takes.

    Without a cosine the least rate is the largest one, and there is no warm-up.
    """
    horizon = float(configuration.schedule_epochs or configuration.epochs)
    if not configuration.cosine:
        return {
            "learning_rate": configuration.learning_rate,
            "min_learning_rate": configuration.learning_rate,
            "warmup_epochs": 0.0,
            "schedule_epochs": horizon,
        }
    warmup = configuration.warmup_epochs
    return {
        "learning_rate": configuration.learning_rate,
        "min_learning_rate": configuration.min_learning_rate,
        "warmup_epochs": configuration.warmup_fraction * horizon if warmup is None else warmup,
        "schedule_epochs": horizon,
    }


def learning_rate(epochs: Array | float, scales: Mapping[str, Array | float]) -> Array:
    """Return the rate after so many epochs, whole or not.

    It rises linearly from the least to the largest rate in the warm-up, falls along half a cosine
    to the least at the end of the schedule, and stays there (Loshchilov and Hutter 2017, without
    restarts).
    """
    largest, least = scales["learning_rate"], scales["min_learning_rate"]
    warmup, end = scales["warmup_epochs"], scales["schedule_epochs"]
    rising = jnp.asarray(epochs / jnp.maximum(warmup, np.finfo(np.float32).tiny))
    falling = jnp.clip((epochs - warmup) / jnp.maximum(end - warmup, 1e-6), 0.0, 1.0)
    share = jnp.where(epochs < warmup, rising, 0.5 * (1.0 + jnp.cos(jnp.pi * falling)))
    return least + (largest - least) * share
