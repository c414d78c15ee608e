"""Round regions: a ball, a shell and two balls that do not touch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.problems.regions.base import (
    AnalyticRegion,
    ball_points,
    check_fits,
    directions,
    log_ball_volume,
)


@dataclass(frozen=True)
class Ball(AnalyticRegion):
    """The ball around the centre of the unit box.

    Attributes:
        radius: Its radius.
    """

    radius: float = 0.3

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: They do not fit into the unit box.
        """
        super().__post_init__()
        check_fits(self, 0.0 < self.radius <= 0.5, "radius is above 0, at most 0.5")

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``radius``, the distance from the centre."""
        return {"radius": _distance(values, self.dimension)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """At most the radius away from the centre."""
        return (Constraint("radius", upper=self.radius),)

    @property
    def log_volume(self) -> float:
        """Logarithm of the ball's volume."""
        return log_ball_volume(self.dimension) + self.dimension * math.log(self.radius)

    @property
    def covariance(self) -> np.ndarray:
        """Squared radius / (d + 2) on the diagonal."""
        return np.eye(self.dimension) * self.radius**2 / (self.dimension + 2)

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return 0.5 + self.radius * ball_points(rng, n, self.dimension)

    def _contains(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x - 0.5, axis=-1) <= self.radius


@dataclass(frozen=True)
class Shell(AnalyticRegion):
    """The points between two spheres around the centre of the unit box.

    Attributes:
        inner: Radius of the inner sphere.
        outer: Radius of the outer sphere.
    """

    inner: float = 0.2
    outer: float = 0.4

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: They do not fit into the unit box.
        """
        super().__post_init__()
        check_fits(self, 0.0 < self.inner < self.outer <= 0.5, "0 < inner < outer <= 0.5")

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``radius``, the distance from the centre."""
        return {"radius": _distance(values, self.dimension)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Between the two radii away from the centre."""
        return (Constraint("radius", lower=self.inner, upper=self.outer),)

    @property
    def log_volume(self) -> float:
        """Logarithm of the difference of two balls' volumes."""
        outer = log_ball_volume(self.dimension) + self.dimension * math.log(self.outer)
        return outer + math.log1p(-((self.inner / self.outer) ** self.dimension))

    @property
    def covariance(self) -> np.ndarray:
        """Mean squared radius / d on the diagonal."""
        d, ratio = self.dimension, self.inner / self.outer
        scale = (1.0 - ratio ** (d + 2)) / (1.0 - ratio**d)
        return np.eye(d) * self.outer**2 * scale / (d + 2)

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        least = (self.inner / self.outer) ** self.dimension
        radius = self.outer * rng.uniform(least, 1.0, (n, 1)) ** (1.0 / self.dimension)
        return 0.5 + radius * directions(rng, n, self.dimension)

    def _contains(self, x: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(x - 0.5, axis=-1)
        return (radius >= self.inner) & (radius <= self.outer)


@dataclass(frozen=True)
class TwoBalls(AnalyticRegion):
    """Two equal balls that do not touch, one behind the other along the first coordinate.

    Attributes:
        radius: Radius of each, below a quarter.
    """

    radius: float = 0.2

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: The balls would touch.
        """
        super().__post_init__()
        check_fits(self, 0.0 < self.radius < 0.25, "two balls need a radius above 0, below 0.25")

    @property
    def centres(self) -> np.ndarray:
        """Centres of the balls, (2, d)."""
        centres = np.full((2, self.dimension), 0.5)
        centres[:, 0] = (0.25, 0.75)
        return centres

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``distance`` from the nearer of the two centres."""
        # The nearer centre is on the same side of 0.5.
        first = jnp.abs(values["x0"] - 0.5) - 0.25
        rest = sum((values[f"x{i}"] - 0.5) ** 2 for i in range(1, self.dimension))
        return {"distance": jnp.sqrt(first**2 + rest)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """At most the radius away from a centre."""
        return (Constraint("distance", upper=self.radius),)

    @property
    def log_volume(self) -> float:
        """Logarithm of twice a ball's volume."""
        one = log_ball_volume(self.dimension) + self.dimension * math.log(self.radius)
        return one + math.log(2.0)

    @property
    def covariance(self) -> np.ndarray:
        """That of one ball, and the centres' own along the first coordinate."""
        covariance = np.eye(self.dimension) * self.radius**2 / (self.dimension + 2)
        covariance[0, 0] += 0.25**2
        return covariance

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        which = rng.integers(2, size=n)
        return self.centres[which] + self.radius * ball_points(rng, n, self.dimension)

    def _contains(self, x: np.ndarray) -> np.ndarray:
        distances = np.linalg.norm(x[..., None, :] - self.centres, axis=-1)
        return (distances <= self.radius).any(axis=-1)


def _distance(values: Mapping[str, Any], dimension: int) -> Array:
    """Distance from the centre, one sum over scalars that fuses into a single loop."""
    return jnp.sqrt(sum((values[f"x{i}"] - 0.5) ** 2 for i in range(dimension)))
