"""Regions that isotropic steps cross badly: a bent tube and a needle across the axes."""

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
    log_ball_volume,
)


@dataclass(frozen=True)
class Banana(AnalyticRegion):
    """A tube along the first coordinate, bent into the second by a parabola.

        x0 = 0.5 + length t,   (x1, ..., x_{d-1}) = 0.5 + thickness u + bend (t^2 - 1/3) e_1

    with t in [-1, 1] and u in the unit ball of d - 1 dimensions. The bend is a shear: it changes
    no volume, and with the 1/3 no mean.

    Attributes:
        length: Half the tube's length.
        thickness: Its radius.
        bend: How far its ends are pushed ahead of its middle.
    """

    length: float = 0.4
    thickness: float = 0.15
    bend: float = 0.45

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: They do not fit into the unit box.
        """
        super().__post_init__()
        fits = 0.0 < self.length <= 0.5 and 0.0 < self.thickness and 0.0 <= self.bend
        fits = fits and self.thickness + 2.0 * self.bend / 3.0 <= 0.5
        check_fits(self, fits, "length at most 0.5, thickness + 2 bend / 3 at most 0.5")

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The features ``along``, |x0 - 0.5|, and ``across``, the distance from the tube's line."""
        t = (values["x0"] - 0.5) / self.length
        square = (values["x1"] - 0.5 - self.bend * (t**2 - 1.0 / 3.0)) ** 2
        for i in range(2, self.dimension):
            square = square + (values[f"x{i}"] - 0.5) ** 2
        return {"along": jnp.abs(values["x0"] - 0.5), "across": jnp.sqrt(square)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Within the tube's length, and within its thickness."""
        return (
            Constraint("along", upper=self.length),
            Constraint("across", upper=self.thickness),
        )

    @property
    def log_volume(self) -> float:
        """Logarithm of length times cross-section."""
        section = log_ball_volume(self.dimension - 1)
        section += (self.dimension - 1) * math.log(self.thickness)
        return math.log(2.0 * self.length) + section

    @property
    def covariance(self) -> np.ndarray:
        """Diagonal: the bend is even in t, so nothing is correlated."""
        variances = np.full(self.dimension, self.thickness**2 / (self.dimension + 1))
        variances[0] = self.length**2 / 3.0
        variances[1] += self.bend**2 * 4.0 / 45.0
        return np.diag(variances)

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        t = rng.uniform(-1.0, 1.0, n)
        rest = self.thickness * ball_points(rng, n, self.dimension - 1)
        rest[:, 0] += self.bend * (t**2 - 1.0 / 3.0)
        return 0.5 + np.column_stack([self.length * t, rest])

    def _contains(self, x: np.ndarray) -> np.ndarray:
        centred = x - 0.5
        line = np.zeros_like(centred[..., 1:])
        line[..., 0] = self.bend * ((centred[..., 0] / self.length) ** 2 - 1.0 / 3.0)
        across = np.linalg.norm(centred[..., 1:] - line, axis=-1)
        return (np.abs(centred[..., 0]) <= self.length) & (across <= self.thickness)


@dataclass(frozen=True)
class Needle(AnalyticRegion):
    """A long thin ellipsoid along the diagonal (1, -1, 1, ...) of the unit box.

    Its long half axis is extent * sqrt(d), all others are thickness: every coordinate is correlated
    with every other one.

    Attributes:
        extent: How far the needle's tip is from the centre in each coordinate.
        thickness: Length of the short half axes.
    """

    extent: float = 0.4
    thickness: float = 0.02

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ConfigurationError: They do not fit into the unit box.
        """
        super().__post_init__()
        fits = self.extent > 0.0 and self.thickness > 0.0
        fits = fits and self.extent**2 + self.thickness**2 <= 0.25
        check_fits(self, fits, "extent^2 + thickness^2 is at most 0.25")

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``scaled_radius``, 1 on the ellipsoid's surface."""
        centred = [(values[f"x{i}"] - 0.5) * (-1.0) ** i for i in range(self.dimension)]
        along = sum(centred) / self.dimension
        # Subtracted before squaring: float32 would lose the thin directions otherwise.
        across = sum((c - along) ** 2 for c in centred)
        scaled = (along / self.extent) ** 2 + across / self.thickness**2
        return {"scaled_radius": jnp.sqrt(scaled)}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Within the surface."""
        return (Constraint("scaled_radius", upper=1.0),)

    @property
    def direction(self) -> np.ndarray:
        """Unit vector along the needle, (d,)."""
        return (-1.0) ** np.arange(self.dimension) / math.sqrt(self.dimension)

    @property
    def log_volume(self) -> float:
        """Logarithm of the ellipsoid's volume."""
        long = math.log(self.extent * math.sqrt(self.dimension))
        short = (self.dimension - 1) * math.log(self.thickness)
        return log_ball_volume(self.dimension) + long + short

    @property
    def covariance(self) -> np.ndarray:
        """Squared half axes / (d + 2) along the axes of the ellipsoid."""
        return self._shape @ self._shape / (self.dimension + 2)

    @property
    def _shape(self) -> np.ndarray:
        """Symmetric matrix that takes the unit ball to the ellipsoid."""
        along = np.outer(self.direction, self.direction)
        half_length = self.extent * math.sqrt(self.dimension)
        return half_length * along + self.thickness * (np.eye(self.dimension) - along)

    def _sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return 0.5 + ball_points(rng, n, self.dimension) @ self._shape

    def _contains(self, x: np.ndarray) -> np.ndarray:
        in_ball = (x - 0.5) @ np.linalg.inv(self._shape)
        return np.linalg.norm(in_ball, axis=-1) <= 1.0
