"""Simple likelihood, complex posterior: four points of a normal in the plane.

    mean (theta1, theta2),  standard deviations s1 = theta3^2 and s2 = theta4^2,
    correlation tanh(theta5),  theta uniform on [-3, 3]^5

(Papamakarios, Sterratt and Murray 2019; Lueckmann et al. 2021, tasks T.3 and T.4). The formula is
the paper's; the public implementation adds 1e-6 to both variances, against round-off in its
factorisation, which the factor below does not need.
"""

from __future__ import annotations

import functools
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

BOUND = 3.0
POINTS = 4
DISTRACTORS = 92
COMPONENTS = 20  # of the distractors' mixture
DISTRACTOR_SEED = 42


@dataclass(frozen=True)
class SLCP(InferenceProblem):
    """Five parameters, four points in the plane one after the other; the reference is exact."""

    @property
    def space(self) -> ParameterSpace:
        """theta1, ..., theta5, uniform on [-3, 3]."""
        return uniform_space(5, BOUND)

    @property
    def observation_size(self) -> int:
        """8."""
        return 2 * POINTS

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """Four independent points, x and y in turn."""
        theta = vector(values, self.space)
        z = jax.random.normal(key, (POINTS, 2), theta.dtype)
        # 1 / cosh is sqrt(1 - tanh^2) without cancellation.
        second = jnp.tanh(theta[4]) * z[:, 0] + z[:, 1] / jnp.cosh(theta[4])
        spread = theta[2:4] ** 2 * jnp.stack([z[:, 0], second], axis=1)
        return {"x": (theta[:2] + spread).ravel()}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        points = x.reshape(POINTS, 2)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            z = (points - theta[:, None, :2]) / theta[:, None, 2:4] ** 2
            cosh = np.cosh(theta[:, 4, None])
            # Of the second, what the first does not explain.
            rest = (z[..., 1] - np.tanh(theta[:, 4, None]) * z[..., 0]) * cosh
            squares = (z[..., 0] ** 2 + rest**2).sum(axis=1)
            scales = 2.0 * np.log(np.abs(theta[:, 2] * theta[:, 3])) - np.log(cosh[:, 0])
            density = -0.5 * squares - POINTS * (scales + math.log(2.0 * math.pi))
        return np.where(np.isfinite(density), density, -np.inf)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Rejection from an inverse Wishart distribution that lies above the posterior.

        With the mean integrated out, and seen as a density of the covariance S, the posterior is
        that of an inverse Wishart distribution with 5/2 degrees of freedom and the points'
        scatter matrix as its scale, times (1 - rho^2)^(1/4) <= 1, on the S that the prior allows:
        the likelihood gives |S|^(-3/2), the Jacobian of (theta3, theta4, theta5) gives
        (s1 s2)^(-5/2) / (1 - rho^2). The mean given S is normal around the points' own with
        covariance S / 4. Accepted are draws inside the prior's cube; the signs of theta3 and
        theta4 are free.
        """
        points = x.reshape(POINTS, 2)
        mean = points.mean(axis=0)
        # The longer axis first: its variance is drawn below the prior's bound from the start.
        order = [0, 1] if points[:, 0].var() >= points[:, 1].var() else [1, 0]
        scatter = (points - mean)[:, order]
        scatter = scatter.T @ scatter

        def propose(count: int) -> np.ndarray:
            first, slope, rest = _inverse_wishart(rng, scatter, count)
            second = rest + slope**2 * first
            fraction = rest / second  # 1 - rho^2
            kept = rng.random(count) < fraction**0.25
            kept &= (second <= BOUND**4) & (fraction >= 1.0 / math.cosh(BOUND) ** 2)
            first, slope, rest = first[kept], slope[kept], rest[kept]
            second, fraction = second[kept], fraction[kept]
            z = rng.standard_normal((2, first.size)) / math.sqrt(POINTS)
            along = np.sqrt(first) * z[0]
            theta = np.empty((first.size, 5))
            theta[:, order[0]] = mean[order[0]] + along
            theta[:, order[1]] = mean[order[1]] + slope * along + np.sqrt(rest) * z[1]
            signs = rng.choice([-1.0, 1.0], (first.size, 2))
            theta[:, 2 + order[0]] = signs[:, 0] * first**0.25
            theta[:, 2 + order[1]] = signs[:, 1] * second**0.25
            theta[:, 4] = np.arcsinh(slope * np.sqrt(first / rest))
            return theta[(np.abs(theta) <= BOUND).all(axis=1)]

        return collect(propose, n)


def _inverse_wishart(
    rng: np.random.Generator, scale: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw 2 x 2 matrices S with 5/2 degrees of freedom and S_11 at most BOUND^4.

    Returns:
        S_11, S_12 / S_11 and S_22 - S_12^2 / S_11, each (count,): by the decomposition of the
        distribution, an inverse chi-squared variable with 3/2 degrees of freedom, a normal one
        given the third, and an inverse chi-squared variable with 5/2.
    """
    from scipy.special import gammaincc, gammainccinv

    slope = scale[0, 1] / scale[0, 0]
    rest = 0.5 * (scale[1, 1] - slope * scale[0, 1]) / rng.gamma(1.25, size=count)
    # S_11 = scale_11 / (2 gamma) stays below its bound where gamma stays above this.
    least = 0.5 * scale[0, 0] / BOUND**4
    gamma = gammainccinv(0.75, gammaincc(0.75, least) * (1.0 - rng.random(count)))
    noise = rng.standard_normal(count) * np.sqrt(rest / scale[0, 0])
    return 0.5 * scale[0, 0] / np.maximum(gamma, least), slope + noise, rest


@dataclass(frozen=True)
class SLCPDistractors(SLCP):
    """The same points among 92 numbers that say nothing about the parameters.

    The distractors come from a fixed mixture of 20 multivariate t distributions with 2 degrees of
    freedom, and stand in a fixed order among the data, both as in the benchmark. The likelihood is
    that of the eight informative numbers; the posterior is that of `SLCP`.
    """

    @property
    def observation_size(self) -> int:
        """100."""
        return 2 * POINTS + DISTRACTORS

    @property
    def informative(self) -> np.ndarray:
        """Where the points' numbers stand in an observation, (8,) indices."""
        return np.argsort(_distractors()[2])[: 2 * POINTS]

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """The points and the distractors, shuffled."""
        for_points, for_component, for_normal, for_tail = jax.random.split(key, 4)
        points = super().__call__(values, for_points)["x"]
        means, factors, order = _distractors()
        component = jax.random.randint(for_component, (), 0, COMPONENTS, jnp.int32)
        z = jax.random.normal(for_normal, (DISTRACTORS,), points.dtype)
        # Half a chi-squared variable with 2 degrees of freedom is an exponential one.
        tail = jax.lax.rsqrt(jax.random.exponential(for_tail, (), points.dtype))
        factor = jnp.asarray(factors, points.dtype)[component]
        noise = jnp.asarray(means, points.dtype)[component] + tail * (factor @ z)
        return {"x": jnp.concatenate([points, noise])[order]}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return super()._log_likelihood(theta, x[self.informative])

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        return super()._sample_posterior(x[self.informative], n, rng)


@functools.cache
def _distractors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (20, 92), Cholesky factors (20, 92, 92) and order (100,) of the published problem.

    They are defined by NumPy's frozen legacy generator and the sequence of calls.
    """
    rng = np.random.RandomState(DISTRACTOR_SEED)
    d = DISTRACTORS
    means = 15.0 * np.stack([rng.normal(size=d) for _ in range(COMPONENTS)])
    factors = [
        np.tril(rng.normal(size=(d, d))) + np.diag(np.exp(rng.normal(size=d)))
        for _ in range(COMPONENTS)
    ]
    order = rng.permutation(d + 2 * POINTS).astype(np.int32)
    return means, 3.0 * np.stack(factors), order
