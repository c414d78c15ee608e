"""Regions with flat faces: a box and the corner simplex."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.problems.regions.base import AnalyticRegion, check_fits


@dataclass(frozen=True)
class Box(AnalyticRegion):
    """The cube around the centre of the unit box; by default all of it.

    Attributes:
        half_width: Half the length of an edge.
    """

    half_width: float = 0.5

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: They do not fit into the unit box.
        """
        super().__post_init__()
        check_fits(self, 0.0 < self.half_width <= 0.5, "half_width is above 0, at most 0.5")

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``distance``, the largest of the coordinates' distances from 0.5."""
        distances = [jnp.abs(values[f"x{i}"] - 0.5) for i in range(self.dimension)]
        return {"distance": reduce(jnp.maximum, distances)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """At most half the edge away from the centre."""
        return (Constraint("distance", upper=self.half_width),)

    @property
    def log_volume(self) -> float:
        """Logarithm of the edge's length, d times."""
        return self.dimension * math.log(2.0 * self.half_width)

    @property
    def covariance(self) -> np.ndarray:
        """A third of the squared half width on the diagonal."""
        return np.eye(self.dimension) * self.half_width**2 / 3.0

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return 0.5 + self.half_width * (2.0 * rng.random((n, self.dimension)) - 1.0)

    def _contains(self, x: np.ndarray) -> np.ndarray:
        lower, upper = 0.5 - self.half_width, 0.5 + self.half_width
        return np.asarray(((x >= lower) & (x <= upper)).all(axis=-1))


@dataclass(frozen=True)
class Simplex(AnalyticRegion):
    """The corner of the unit box where the coordinates sum to at most 1.

    It touches d faces of the box. With a last coordinate that completes the sum to 1, its points
    follow the flat Dirichlet distribution.
    """

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``sum`` of the coordinates."""
        coordinates = (values[f"x{i}"] for i in range(self.dimension))
        return {"sum": reduce(jnp.add, coordinates)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """A sum of at most 1; the faces of the unit box do the rest."""
        return (Constraint("sum", upper=1.0),)

    @property
    def log_volume(self) -> float:
        """Logarithm of 1 / d!."""
        return -math.lgamma(self.dimension + 1.0)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the flat Dirichlet distribution."""
        return np.full(self.dimension, 1.0 / (self.dimension + 1))

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the flat Dirichlet distribution."""
        d = self.dimension
        return ((d + 1) * np.eye(d) - 1.0) / ((d + 1) ** 2 * (d + 2))

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        waits = rng.standard_exponential((n, self.dimension + 1))
        return waits[:, :-1] / waits.sum(axis=1, keepdims=True)

    def _contains(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.sum(axis=-1) <= 1.0)
