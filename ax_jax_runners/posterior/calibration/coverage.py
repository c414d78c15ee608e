"""Expected coverage: how often credible regions hold the truth.

By regions of highest density (Hermans et al. 2022, "A crisis in simulation-based inference? Beware,
your posterior approximations can be unfaithful") and by balls around reference points (TARP, Lemos
et al. 2023, "Sampling-based accuracy testing of posterior estimators for general inference").
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.calibration.levels import (
    chi_square_p_value,
    kolmogorov_smirnov_p_value,
    levels_of_truth,
)
from ax_jax_runners.posterior.calibration.ranks import as_truth_and_draws


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often the truth lies in credible regions, against their credibility.

    Attributes:
        levels: (B,), the smallest credibility whose region holds the truth; uniform where the
            posterior is exact.
    """

    levels: NDArray[np.float64]

    def share(self, credibility: ArrayLike) -> NDArray[np.float64]:
        """Return the share of truths within regions of these credibilities, any shape."""
        held = np.searchsorted(np.sort(self.levels), np.asarray(credibility), side="right")
        return held / len(self.levels)

    @property
    def area(self) -> float:
        """Area between curve and diagonal, with its sign.

        Below 0: regions hold the truth too seldom (too narrow or beside it); above: too often.
        """
        return float(0.5 - self.levels.mean())

    @property
    def area_error(self) -> float:
        """Standard error of ``area``; NaN for a single row."""
        return _standard_error(self.levels)

    @property
    def absolute_area(self) -> float:
        """Area between curve and diagonal without sign; 0.313 / sqrt(B) on average where exact."""
        return self._absolute[0]

    @property
    def absolute_area_error(self) -> float:
        """Standard error of ``absolute_area``, by its influence function; NaN for one row."""
        return self._absolute[1]

    @functools.cached_property
    def _absolute(self) -> tuple[float, float]:
        levels = np.sort(self.levels)
        # Between its steps the curve is constant: every integral has a closed form.
        edges = np.concatenate([[0.0], levels, [1.0]])
        heights = np.arange(len(levels) + 1) / len(levels)
        left, right = heights - edges[:-1], heights - edges[1:]
        area = ((left * np.abs(left) - right * np.abs(right)) / 2).sum()
        # A row counts where the curve is above the diagonal, minus where it is below, beyond it.
        signs = np.cumsum(np.abs(left) - np.abs(right))[:-1]
        return float(area), _standard_error(signs)

    @functools.cached_property
    def p_value(self) -> float:
        """Whether the levels can be uniform: twice the smaller of a KS and a chi-square p-value."""
        smallest = min(kolmogorov_smirnov_p_value(self.levels), chi_square_p_value(self.levels))
        return min(1.0, 2 * smallest)

    def describe(self) -> dict[str, Any]:
        """Return the numbers as plain JSON; an error that is not known is None."""
        numbers = {
            "area": self.area,
            "area_error": self.area_error,
            "absolute_area": self.absolute_area,
            "absolute_area_error": self.absolute_area_error,
            "p_value": self.p_value,
        }
        known = {k: value if math.isfinite(value) else None for k, value in numbers.items()}
        return {"rows": len(self.levels), **known}


def highest_density_coverage(
    log_density: ArrayLike, draw_log_densities: ArrayLike, *, seed: int = 0
) -> Coverage:
    """Compute the coverage of regions of highest density.

    The levels are those of the rank of the log density, counted from the other end.

    Args:
        log_density: (B,), of the true parameters under the posterior of their observation.
        draw_log_densities: (B, L), of its draws.
        seed: Breaks ties.

    Raises:
        ConfigurationError: Arrays that do not fit together.
    """
    return Coverage(1 - levels_of_truth(log_density, draw_log_densities, seed=seed))


def tarp(
    parameters: ArrayLike, draws: ArrayLike, references: ArrayLike, *, seed: int = 0
) -> Coverage:
    """Compute the coverage of balls around reference points.

    Levels are uniform for an exact posterior whatever the references are, as long as they know of
    their row's parameters only what its observation tells. With references that know nothing of
    the observation a posterior equal to the prior passes; see `informed_references`.

    Args:
        parameters: (B, d), the truths, in coordinates in which distances mean something.
        draws: (B, L, d), in the same.
        references: (B, d), in the same.
        seed: Breaks ties.

    Raises:
        ConfigurationError: Arrays that do not fit together, or references that are not finite.
    """
    truth, drawn = as_truth_and_draws(parameters, draws)
    points = np.asarray(references, np.float64)
    if points.shape != truth.shape or not np.isfinite(points).all():
        raise ConfigurationError(
            f"References of the shape {points.shape} for parameters of the shape {truth.shape}; "
            "give one finite point for each row."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        from_truth = np.square(truth - points).sum(axis=1)
        from_draws = np.square(drawn - points[:, None]).sum(axis=2)
    return Coverage(levels_of_truth(from_truth, from_draws, seed=seed))


def _standard_error(values: NDArray[np.float64]) -> float:
    if len(values) < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(len(values)))
