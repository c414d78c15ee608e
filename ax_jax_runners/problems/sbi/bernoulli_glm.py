"""A generalised linear model of spikes: ten parameters, a smoothness prior, sufficient statistics.

Per time step a neuron spikes with probability sigmoid(b + sum_j f_j I(t - j)), for 100 steps of one
fixed white-noise stimulus I; offset b ~ N(0, 2), filter f ~ N(0, (F'F)^-1) with second differences
in F (Goncalves et al. 2020; Lueckmann et al. 2021, task T.5). The data are the number of spikes and
the sums of the stimulus before them, which are sufficient.
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
from numpy.typing import ArrayLike

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.problems.sbi.base import InferenceProblem, normal_space, vector
from ax_jax_runners.problems.sbi.laplace import sample_log_concave

STEPS = 100
LAGS = 9
OFFSET_VARIANCE = 2.0
STIMULUS_SEED = 42


@dataclass(frozen=True)
class BernoulliGLM(InferenceProblem):
    """Ten parameters, ten data.

    The published prior correlates the filter's elements, a `ParameterSpace` holds independent
    parameters: the parameters here are whitened, standard normal, and `to_published` is the linear
    map to offset and filter. It takes the prior to the published one, and so each posterior;
    densities of the two differ by a constant factor.
    """

    @property
    def space(self) -> ParameterSpace:
        """white1, ..., white10, standard normal."""
        return normal_space(LAGS + 1, 1.0, "white")

    @property
    def observation_size(self) -> int:
        """10."""
        return LAGS + 1

    @property
    def design(self) -> np.ndarray:
        """Per time step 1 and the stimulus now and up to 8 steps before, (100, 10)."""
        return _design().copy()

    @property
    def map(self) -> np.ndarray:
        """L of published = L white, (10, 10), lower triangular: blocks sqrt(2) and F^-1."""
        return _map().copy()

    def to_published(self, white: ArrayLike) -> np.ndarray:
        """Offset and filter (..., 10) for whitened parameters (..., 10)."""
        return np.asarray(white, dtype=np.float64) @ _map().T

    def to_white(self, published: ArrayLike) -> np.ndarray:
        """Whitened parameters (..., 10) for offset and filter (..., 10)."""
        given = np.asarray(published, dtype=np.float64)
        return np.linalg.solve(_map(), given[..., None])[..., 0]

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """Spikes, summed with the design's columns."""
        white = vector(values, self.space)
        drive = jnp.asarray(_design() @ _map(), white.dtype) @ white
        spikes = jax.random.bernoulli(key, jax.nn.sigmoid(drive))
        return {"x": spikes.astype(white.dtype) @ jnp.asarray(_design(), white.dtype)}

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Up to the logarithm of the number of spike trains with these statistics."""
        published = self.to_published(theta)
        return published @ x - _softplus(published @ _design().T).sum(axis=1)

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws by rejection; see `sample_log_concave`."""
        design, statistics = _design() @ _map(), _map().T @ x

        def log_density(white: np.ndarray) -> np.ndarray:
            drive = white @ design.T
            prior = -0.5 * (white**2).sum(axis=1)
            return prior + white @ statistics - _softplus(drive).sum(axis=1)

        def derivatives(white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            p = 1.0 / (1.0 + np.exp(-design @ white))
            curvature = np.eye(white.size) + (design.T * (p * (1.0 - p))) @ design
            return statistics - design.T @ p - white, curvature

        return sample_log_concave(log_density, derivatives, np.zeros(LAGS + 1), n, rng)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


@functools.cache
def _design() -> np.ndarray:
    # NumPy's frozen legacy generator: the published stimulus, rounded as it was stored.
    stimulus = np.random.RandomState(STIMULUS_SEED).randn(STEPS).astype(np.float32)
    design = np.zeros((STEPS, LAGS + 1))
    design[:, 0] = 1.0
    for lag in range(LAGS):
        design[lag:, lag + 1] = stimulus[: STEPS - lag]
    return design


@functools.cache
def _map() -> np.ndarray:
    """Second differences with a growing diagonal: F_ii = 1 + sqrt((i - 1) / 9), then -2 and 1."""
    f = np.diag(1.0 + np.sqrt(np.arange(LAGS) / LAGS))
    f += np.diag(np.full(LAGS - 1, -2.0), -1) + np.diag(np.ones(LAGS - 2), -2)
    linear = np.zeros((LAGS + 1, LAGS + 1))
    linear[0, 0] = math.sqrt(OFFSET_VARIANCE)
    linear[1:, 1:] = np.linalg.inv(f)
    return linear
