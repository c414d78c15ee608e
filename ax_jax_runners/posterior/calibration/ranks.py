"""Simulation-based calibration: ranks of the true parameters among draws.

Talts et al. 2018, "Validating Bayesian inference algorithms with simulation-based calibration".
Where parameters come from the prior and draws from the exact posterior, ranks are uniform. The rank
of the log density (Modrak et al. 2023, "Simulation-based calibration checking for Bayesian
computation") is uniform as well and sees what no single parameter shows, correlations above all.
"""

from __future__ import annotations

from collections.abc import Sequence
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

#: Name of the statistic that is not a parameter.
LOG_DENSITY = "log density"


@dataclass(frozen=True, eq=False)
class RankTest:
    """Ranks of the truth among draws, and whether they can be uniform.

    Attributes:
        names: Of the k statistics: the parameters, and the log density where it was given.
        levels: (k, B), normalised ranks within (0, 1); see `levels_of_truth`.
        draws: Of each observation.
        ks_p_values: (k,), Kolmogorov and Smirnov's test of each statistic.
        chi_square_p_values: (k,), the test by counts, which sees narrow and wide better.
    """

    names: tuple[str, ...]
    levels: NDArray[np.float64]
    draws: int
    ks_p_values: NDArray[np.float64]
    chi_square_p_values: NDArray[np.float64]

    @property
    def p_value(self) -> float:
        """The smallest of all p-values times their number (Bonferroni), at most 1."""
        smallest = min(self.ks_p_values.min(), self.chi_square_p_values.min())
        return float(min(1.0, 2 * len(self.names) * smallest))

    @property
    def worst(self) -> str:
        """The statistic with the smallest p-value."""
        return self.names[int(np.minimum(self.ks_p_values, self.chi_square_p_values).argmin())]

    def describe(self) -> dict[str, Any]:
        """Return names and p-values as plain JSON."""
        return {
            "names": list(self.names),
            "rows": self.levels.shape[1],
            "draws": self.draws,
            "ks_p_values": self.ks_p_values.tolist(),
            "chi_square_p_values": self.chi_square_p_values.tolist(),
            "p_value": self.p_value,
            "worst": self.worst,
        }


def rank_test(
    parameters: ArrayLike,
    draws: ArrayLike,
    *,
    log_densities: tuple[ArrayLike, ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> RankTest:
    """Rank the true parameters among draws from their posteriors.

    Args:
        parameters: (B, d), from the prior; their observations are simulations.
        draws: (B, L, d), independent of each other. A draw that is not a number counts as below
            or above at random.
        log_densities: Of the parameters (B,) and of the draws (B, L), under the posterior; None
            leaves that statistic out.
        names: Of the parameters; None: "theta_0" and so on.
        seed: Breaks ties.

    Raises:
        ConfigurationError: Arrays or names that do not fit together.
    """
    truth, drawn = as_truth_and_draws(parameters, draws)
    d = truth.shape[1]
    labels = tuple(names) if names is not None else tuple(f"theta_{i}" for i in range(d))
    if len(labels) != d:
        raise ConfigurationError(f"{len(labels)} names for {d} parameters; give a name for each.")
    statistics: list[tuple[ArrayLike, ArrayLike]] = [
        (truth[:, i], drawn[:, :, i]) for i in range(d)
    ]
    if log_densities is not None:
        labels += (LOG_DENSITY,)
        statistics.append(log_densities)
    seeds = np.random.SeedSequence(seed).generate_state(len(statistics))
    levels = np.stack(
        [levels_of_truth(*pair, seed=int(s)) for pair, s in zip(statistics, seeds, strict=True)]
    )
    return RankTest(
        labels,
        levels,
        drawn.shape[1],
        np.array([kolmogorov_smirnov_p_value(row) for row in levels]),
        np.array([chi_square_p_value(row) for row in levels]),
    )


def as_truth_and_draws(
    parameters: ArrayLike, draws: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return parameters (B, d) and draws (B, L, d) as float64.

    Raises:
        ConfigurationError: Shapes that do not fit together, or parameters that are not finite.
    """
    truth, drawn = np.asarray(parameters, np.float64), np.asarray(draws, np.float64)
    fits = truth.ndim == 2 and drawn.ndim == 3 and 0 not in drawn.shape
    if not fits or truth.shape != (drawn.shape[0], drawn.shape[2]):
        raise ConfigurationError(
            f"Parameters of the shape {truth.shape} with draws of the shape {drawn.shape}; give "
            "(B, d) and (B, L, d)."
        )
    wrong = ~np.isfinite(truth).all(axis=1)
    if wrong.any():
        raise ConfigurationError(
            f"{int(wrong.sum())} of {len(truth)} rows of true parameters are not finite (the first "
            f"is row {int(wrong.argmax())}); leave them out."
        )
    return truth, drawn
