"""Simulations of a Gaussian mean, and the smallest velocity field, which several tests train."""

from __future__ import annotations

from typing import Any

import numpy as np

from ax_jax_runners.posterior import ArrayDataset
from ax_jax_runners.problems.sbi import GaussianLinear

#: One compiled program serves all that train it on 800 simulations of one parameter.
SMALL_FIELD: dict[str, Any] = {
    "embedding_dim": 4,
    "hidden_dim": 16,
    "num_velocity_layers": 2,
    "integration_steps": 8,
    "learning_rate": 5e-3,
}


def gaussian_simulations(dimension: int, rows: int, seed: int = 0) -> ArrayDataset:
    """Draws of `GaussianLinear`, whose posterior has half the observation as its mean."""
    problem = GaussianLinear(dimension)
    rng = np.random.default_rng(seed)
    theta = problem.space.icdf(rng.random((rows, dimension)))
    x = theta + np.sqrt(0.1) * rng.standard_normal(theta.shape)
    return ArrayDataset(theta, x, space=problem.space)
