"""Random steps in the shape of a cloud of points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Kinds of steps: in the shape of the covariance, the difference of two points, along some axes.
KINDS = SKEWED, APART, STRAIGHT = range(3)
# Points of which differences are taken; their memory is kept for every level.
_MOST_POINTS = 1000


@dataclass(frozen=True, eq=False)
class Cloud:
    """Symmetric steps in the shape of a cloud.

    Attributes:
        points: (n, dimension) float32, some of the cloud.
        factor: (dimension, dimension), lower triangle of the factored covariance.
    """

    points: NDArray[np.float32]
    factor: NDArray[np.float64]

    @classmethod
    def of_points(cls, points: NDArray[np.float64], rng: np.random.Generator) -> Cloud:
        """Return the cloud of points (n, dimension)."""
        centred = points - points.mean(axis=0)
        covariance = centred.T @ centred / len(points)
        # A cloud of few points is flat; the ridge keeps all directions open.
        spread = np.diag(covariance)
        ridge = 1e-3 * spread + 1e-6 * spread.max() + 1e-30
        factor = np.linalg.cholesky(covariance + np.diag(ridge))
        some = rng.choice(len(points), min(len(points), _MOST_POINTS), replace=False)
        return cls(points[some].astype(np.float32), np.asarray(factor, dtype=np.float64))

    def whiten(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return steps (n, dimension) in units of the cloud's own width in every direction."""
        return np.asarray(np.linalg.solve(self.factor, steps.T).T, dtype=np.float64)

    def steps(self, kind: int, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return n steps (n, dimension) of a kind, with about the cloud's covariance."""
        d = self.factor.shape[0]
        if kind == APART:
            i, j = rng.integers(len(self.points), size=(2, n))
            return (self.points[i] - self.points[j]) * np.float32(math.sqrt(0.5))
        normal = rng.standard_normal((n, d), dtype=np.float32)
        if kind == SKEWED:
            return normal @ self.factor.T.astype(np.float32)
        # From one coordinate to all of them, as many on the logarithmic scale.
        share = d ** -rng.random((n, 1), dtype=np.float32)
        chosen = rng.random((n, d), dtype=np.float32) < share
        chosen[np.arange(n), rng.integers(d, size=n)] = True
        width = np.sqrt((self.factor**2).sum(axis=1)).astype(np.float32)
        return normal * (chosen * (width / np.sqrt(share)))
