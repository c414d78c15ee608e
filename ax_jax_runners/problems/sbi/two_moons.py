"""Two moons: a bimodal posterior with a fine crescent in each mode.

    x = (r cos a + 1/4, r sin a) + (-|theta1 + theta2|, theta2 - theta1) / sqrt(2)

with a uniform on (-pi/2, pi/2) and r normal, 0.1 +- 0.01; theta uniform on [-1, 1]^2 (Greenberg,
Nonnenmacher and Macke 2019; Lueckmann et al. 2021, task T.8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.problems.sbi.base import InferenceProblem, uniform_space, vector
from ax_jax_runners.problems.sbi.sampling import collect

BOUND = 1.0
OFFSET = 0.25
RADIUS, RADIUS_SD = 0.1, 0.01


@dataclass(frozen=True)
class TwoMoons(InferenceProblem):
    """Two parameters, two data; the reference posterior is exact."""

    @property
    def space(self) -> ParameterSpace:
        """theta1 and theta2, uniform on [-1, 1]."""
        return uniform_space(2, BOUND)

    @property
    def observation_size(self) -> int:
        """2."""
        return 2

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """A point of the crescent, moved by the parameters."""
        theta = vector(values, self.space)
        for_angle, for_radius = jax.random.split(key)
        a = math.pi * (jax.random.uniform(for_angle, dtype=theta.dtype) - 0.5)
        r = RADIUS + RADIUS_SD * jax.random.normal(for_radius, dtype=theta.dtype)
        moved = jnp.stack([-jnp.abs(theta[0] + theta[1]), theta[1] - theta[0]]) / math.sqrt(2.0)
        return {"x": jnp.stack([r * jnp.cos(a) + OFFSET, r * jnp.sin(a)]) + moved}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Density of (r, a) in Cartesian coordinates; on the left of the centre r is negative."""
        u = x[0] - OFFSET + np.abs(theta[:, 0] + theta[:, 1]) / math.sqrt(2.0)
        v = x[1] - (theta[:, 1] - theta[:, 0]) / math.sqrt(2.0)
        rho = np.maximum(np.hypot(u, v), np.finfo(np.float64).tiny)
        standardised = (np.copysign(rho, u) - RADIUS) / RADIUS_SD
        normal = -0.5 * standardised**2 - math.log(RADIUS_SD * math.sqrt(2.0 * math.pi))
        return normal - np.log(math.pi * rho)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Points of the crescent, turned back into parameters.

        A point p of the crescent belongs to |theta1 + theta2| = sqrt(2) (p_1 - x_1), if that is not
        negative, and theta2 - theta1 = sqrt(2) (x_2 - p_2). Both signs are rotations of p, hence
        equally likely; what lies outside the prior's square is rejected.
        """

        def propose(count: int) -> np.ndarray:
            a = math.pi * (rng.random(count) - 0.5)
            r = RADIUS + RADIUS_SD * rng.standard_normal(count)
            along = r * np.cos(a) + OFFSET - x[0]
            across = x[1] - r * np.sin(a)
            signed = np.where(rng.random(count) < 0.5, along, -along)
            theta = np.stack([signed - across, signed + across], axis=1) / math.sqrt(2.0)
            return theta[(along >= 0.0) & (np.abs(theta) <= BOUND).all(axis=1)]

        return collect(propose, n)
