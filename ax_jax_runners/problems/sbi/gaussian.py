"""Gaussian benchmarks: a mean under two priors, and a mixture of a wide and a narrow normal.

Lueckmann et al. 2021, tasks T.1, T.2 and T.7; the mixture goes back to Sisson, Fan and Tanaka
(2007).
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

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.problems.sbi.base import (
    InferenceProblem,
    normal_space,
    uniform_space,
    vector,
)
from ax_jax_runners.problems.sbi.sampling import truncated_normal, truncated_normal_log_mass

PRIOR_VARIANCE = 0.1
VARIANCE = 0.1
BOUND = 1.0
MIXTURE_BOUND = 10.0
MIXTURE_SDS = (1.0, 0.1)  # equally likely


@dataclass(frozen=True)
class GaussianLinear(InferenceProblem):
    """The mean of one normal observation of covariance 0.1 I, itself normal with covariance 0.1 I.

    The posterior is normal, mean x / 2 and covariance 0.05 I; the reference draws from it.

    Attributes:
        dimension: Number of parameters, as many as data; 10 in the benchmark.
    """

    dimension: int = 10

    def __post_init__(self) -> None:
        """Check the dimension.

        Raises:
            ConfigurationError: It is not a positive whole number.
        """
        d = self.dimension
        if isinstance(d, bool) or not isinstance(d, int) or d < 1:
            raise ConfigurationError(f"dimension is {d!r}; give a positive whole number.")

    @property
    def space(self) -> ParameterSpace:
        """theta1, theta2, ..., independently normal around 0 with variance 0.1."""
        return normal_space(self.dimension, math.sqrt(PRIOR_VARIANCE))

    @property
    def observation_size(self) -> int:
        """As many as parameters."""
        return self.dimension

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """The mean and noise."""
        theta = vector(values, self.space)
        noise = jax.random.normal(key, theta.shape, theta.dtype)
        return {"x": theta + math.sqrt(VARIANCE) * noise}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return _isotropic(theta, x, VARIANCE)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        precision = 1.0 / PRIOR_VARIANCE + 1.0 / VARIANCE
        noise = rng.standard_normal((n, self.dimension))
        return x / (VARIANCE * precision) + noise / math.sqrt(precision)


@dataclass(frozen=True)
class GaussianLinearUniform(GaussianLinear):
    """The mean of one normal observation of covariance 0.1 I, uniform on [-1, 1]^d.

    The posterior's coordinates are independent truncated normals, which the reference draws by
    their quantile function.
    """

    @property
    def space(self) -> ParameterSpace:
        """theta1, theta2, ..., uniform on [-1, 1]."""
        return uniform_space(self.dimension, BOUND)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        return truncated_normal(rng, x, math.sqrt(VARIANCE), -BOUND, BOUND, n)


@dataclass(frozen=True)
class GaussianMixture(InferenceProblem):
    """The common mean of a wide and a narrow normal in the plane, uniform on [-10, 10]^2.

    An observation is of covariance I or 0.01 I with equal probability. The posterior is a mixture
    of two truncated normals, weighted by what the square holds of each; the reference draws it
    exactly.
    """

    @property
    def space(self) -> ParameterSpace:
        """theta1 and theta2, uniform on [-10, 10]."""
        return uniform_space(2, MIXTURE_BOUND)

    @property
    def observation_size(self) -> int:
        """2."""
        return 2

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """The mean and noise of one of the two sizes, the same for both coordinates."""
        theta = vector(values, self.space)
        for_size, for_noise = jax.random.split(key)
        sd = jnp.where(jax.random.bernoulli(for_size), *MIXTURE_SDS)
        return {"x": theta + sd * jax.random.normal(for_noise, theta.shape, theta.dtype)}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        wide, narrow = (_isotropic(theta, x, sd**2) for sd in MIXTURE_SDS)
        return np.logaddexp(wide, narrow) - math.log(2.0)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        bounds = (-MIXTURE_BOUND, MIXTURE_BOUND)
        wide, narrow = (truncated_normal_log_mass(x, sd, *bounds).sum() for sd in MIXTURE_SDS)
        is_wide = rng.random(n) < np.exp(wide - np.logaddexp(wide, narrow))
        first, second = (truncated_normal(rng, x, sd, *bounds, n) for sd in MIXTURE_SDS)
        return np.where(is_wide[:, None], first, second)


def _isotropic(theta: np.ndarray, x: np.ndarray, variance: float) -> np.ndarray:
    """Log density of x under normals of one variance around the rows of theta."""
    squares = ((x - theta) ** 2).sum(axis=1)
    return -0.5 * squares / variance - 0.5 * x.size * math.log(2.0 * math.pi * variance)
