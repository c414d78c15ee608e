"""What every benchmark problem of simulation-based inference offers."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.parameters.theta import as_rows


@dataclass(frozen=True)
class InferenceProblem(ABC):
    """A stochastic simulator with a known likelihood. Called as a simulator.

    The likelihood is for references and checks; an amortised estimator sees simulations only.
    """

    @property
    @abstractmethod
    def space(self) -> ParameterSpace:
        """The parameters and their independent priors."""

    @property
    @abstractmethod
    def observation_size(self) -> int:
        """Length m of an observation x."""

    @abstractmethod
    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """Simulate one observation; traceable by JAX.

        Args:
            values: Every parameter by name, scalars.
            key: A typed PRNG key.

        Returns:
            ``x``, (m,), in the parameters' dtype.
        """

    def evaluator(self, **options: Any) -> FeatureEvaluator:
        """The simulator, compiled for batches.

        Args:
            **options: Those of `FeatureEvaluator`.
        """
        return FeatureEvaluator(self, self.space, stochastic=True, **options)

    def log_likelihood(self, theta: ArrayLike, x: ArrayLike) -> np.ndarray:
        """Natural logarithm of the density of one observation under many parameters.

        Terms that do not depend on theta may be left out where the class says so.

        Args:
            theta: (B, d).
            x: (m,).

        Returns:
            (B,) float64.

        Raises:
            InvalidTheta: theta has another number of columns.
            ConfigurationError: x has another shape, or is not finite.
        """
        rows = as_rows(theta, self.space.dimension, self.space.names, "theta")
        return self._log_likelihood(np.atleast_2d(rows), self._observation(x))

    @abstractmethod
    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Evaluate (B, d) and (m,) to (B,)."""

    def log_posterior(self, theta: ArrayLike, x: ArrayLike) -> np.ndarray:
        """Log prior plus `log_likelihood`, not normalised, (B, d) and (m,) to (B,) float64."""
        prior = self.space.log_prior(np.atleast_2d(np.asarray(theta, dtype=np.float64)))
        with np.errstate(invalid="ignore"):
            return np.where(prior > -np.inf, prior + self.log_likelihood(theta, x), -np.inf)

    def observe(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw parameters from the prior and an observation under them.

        Args:
            seed: Any integer; the same seed gives the same pair.

        Returns:
            theta (d,) and x (m,), float64.
        """
        with jax.enable_x64(True):
            key = jax.random.key(seed, impl="threefry2x32")
            u = jax.random.uniform(jax.random.fold_in(key, 0), (self.space.dimension,))
            theta = self.space.icdf(np.asarray(u, dtype=np.float64))
            x = _simulated(self, jnp.asarray(theta), jax.random.fold_in(key, 1))
        return theta, np.asarray(x, dtype=np.float64)

    def reference_posterior(self, x: ArrayLike, n: int, *, seed: int) -> np.ndarray:
        """Draw from the posterior by what is known of the simulator; the class says how.

        Args:
            x: One observation, (m,).
            n: Number of draws.
            seed: Any non-negative integer; the same seed gives the same draws.

        Returns:
            (n, d) float64.

        Raises:
            ConfigurationError: x has another shape or is not finite, or no parameters of the
                prior's support can have produced it.
        """
        return self._sample_posterior(self._observation(x), n, np.random.default_rng(seed))

    @abstractmethod
    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (n, d) from the posterior given x (m,)."""

    def _observation(self, x: ArrayLike) -> np.ndarray:
        given = np.asarray(x, dtype=np.float64)
        if given.shape != (self.observation_size,) or not np.isfinite(given).all():
            raise ConfigurationError(
                f"The observation for {type(self).__name__} has the shape {given.shape} and "
                f"{np.count_nonzero(~np.isfinite(given))} values that are not finite; give "
                f"{self.observation_size} finite numbers."
            )
        return given


@functools.partial(jax.jit, static_argnums=0)
def _simulated(problem: InferenceProblem, theta: Array, key: Array) -> Array:
    return problem(problem.space.traced(theta), key)["x"]


@functools.cache
def uniform_space(dimension: int, bound: float) -> ParameterSpace:
    """theta1, theta2, ... uniform on [-bound, bound]."""
    return ParameterSpace(
        [Parameter(f"theta{i + 1}", lower=-bound, upper=bound) for i in range(dimension)]
    )


@functools.cache
def normal_space(dimension: int, sd: float, name: str = "theta") -> ParameterSpace:
    """theta1, theta2, ... normal around 0."""
    import numpyro.distributions as dist

    return ParameterSpace(
        [Parameter(f"{name}{i + 1}", dist.Normal(0.0, sd)) for i in range(dimension)]
    )


def vector(values: Mapping[str, Any], space: ParameterSpace) -> Array:
    """The free parameters of a simulator's argument as one traced vector (d,)."""
    return jnp.stack([jnp.asarray(values[name]) for name in space.names])
