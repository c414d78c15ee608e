"""What every analytic region of the unit box offers, and the geometry of balls."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.parameters import Parameter, ParameterSpace


@dataclass(frozen=True)
class AnalyticRegion(ABC):
    """A part of the unit box [0, 1]^d, given by constraints on features. Called as a simulator.

    Attributes:
        dimension: Number of coordinates d, at least 2; the parameters are x0, x1, ...
    """

    dimension: int

    def __post_init__(self) -> None:
        """Check the dimension.

        Raises:
            ConfigurationError: It is not a whole number, or below 2.
        """
        d = self.dimension
        if isinstance(d, bool) or not isinstance(d, int) or d < 2:
            raise ConfigurationError(f"dimension is {d!r}; give a whole number, at least 2.")

    @property
    def space(self) -> ParameterSpace:
        """The unit box."""
        return ParameterSpace(
            [Parameter(f"x{i}", lower=0.0, upper=1.0) for i in range(self.dimension)]
        )

    def evaluator(self, dtype: str = "float64", chunk: int = 32) -> FeatureEvaluator:
        """The features that `constraints` speak of, as functions of the coordinates."""
        return FeatureEvaluator(self, self.space, dtype=dtype, chunk=chunk)

    @abstractmethod
    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Scalar features of one point from its coordinates by name; traceable."""

    @property
    @abstractmethod
    def constraints(self) -> tuple[Constraint, ...]:
        """What holds for the features inside the region, and only there."""

    @property
    @abstractmethod
    def log_volume(self) -> float:
        """Natural logarithm of the volume."""

    @property
    def volume(self) -> float:
        """Fraction of the unit box that lies inside."""
        return math.exp(self.log_volume)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the uniform distribution on the region, (d,); the box's centre unless told."""
        return np.full(self.dimension, 0.5)

    @property
    @abstractmethod
    def covariance(self) -> np.ndarray:
        """Covariance of the uniform distribution on the region, (d, d)."""

    def sample(self, rng: Any, n: int) -> np.ndarray:
        """Draw independent points, uniform on the region.

        Args:
            rng: A numpy Generator, a seed for one, or a typed JAX key.
            n: Number of points.

        Returns:
            (n, d) float64.
        """
        if isinstance(rng, jax.Array):
            rng = np.asarray(jax.random.key_data(rng)).tolist()
        return self._sample(np.random.default_rng(rng), n)

    @abstractmethod
    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw (n, d) points."""

    def contains(self, points: ArrayLike) -> np.ndarray:
        """Tell which points (..., d) lie inside, by geometry in numpy rather than the features."""
        x = np.asarray(points, dtype=np.float64)
        return ((x >= 0.0) & (x <= 1.0)).all(axis=-1) & self._contains(x)

    @abstractmethod
    def _contains(self, x: np.ndarray) -> np.ndarray:
        """Tell which points (..., d) of the unit box lie inside."""


def log_ball_volume(dimension: int) -> float:
    """Logarithm of the volume of the unit ball in ``dimension`` dimensions."""
    return 0.5 * dimension * math.log(math.pi) - math.lgamma(0.5 * dimension + 1.0)


def directions(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    """Unit vectors (n, dimension), uniform on the sphere."""
    normal = rng.standard_normal((n, dimension))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def ball_points(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    """Points (n, dimension), uniform in the unit ball around the origin."""
    return directions(rng, n, dimension) * rng.random((n, 1)) ** (1.0 / dimension)


def check_fits(region: AnalyticRegion, fits: bool, rule: str) -> None:
    """Refuse sizes for which the closed forms do not hold.

    Raises:
        ConfigurationError: The region does not fit.
    """
    if not fits:
        raise ConfigurationError(f"{region} does not lie inside the unit box: {rule}.")
