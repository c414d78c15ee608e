"""All calibration checks of a posterior, on the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.calibration.coverage import (
    Coverage,
    highest_density_coverage,
    tarp,
)
from ax_jax_runners.posterior.calibration.leakage import Leakage, measure_leakage
from ax_jax_runners.posterior.calibration.protocol import AmortisedPosterior
from ax_jax_runners.posterior.calibration.ranks import RankTest, as_truth_and_draws, rank_test
from ax_jax_runners.posterior.calibration.references import (
    informed_references,
    standard_coordinates,
)
from ax_jax_runners.posterior.records import observation_rows

# Fewer rows leave tests of uniformity without power.
_FEWEST_ROWS = 20


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """How far a posterior can be believed.

    Attributes:
        ranks: Simulation-based calibration of each parameter and of the log density.
        coverage: Of regions of highest density.
        tarp: Of balls around points that the observations tell of.
        leakage: Draws outside the prior; None without a prior.
        nonfinite_draws: Draws that were NaN or infinite.
    """

    ranks: RankTest
    coverage: Coverage
    tarp: Coverage
    leakage: Leakage | None
    nonfinite_draws: int

    @property
    def sbc_p_value(self) -> float:
        """Of all rank tests together."""
        return self.ranks.p_value

    @property
    def coverage_area(self) -> float:
        """Absolute area between the coverage of regions of highest density and the diagonal."""
        return self.coverage.absolute_area

    @property
    def coverage_p_value(self) -> float:
        """Of regions of highest density."""
        return self.coverage.p_value

    @property
    def tarp_area(self) -> float:
        """Absolute area between the coverage of balls and the diagonal."""
        return self.tarp.absolute_area

    @property
    def tarp_p_value(self) -> float:
        """Of balls."""
        return self.tarp.p_value

    @property
    def leak_fraction(self) -> float | None:
        """Share of draws outside the prior; None without a prior."""
        return None if self.leakage is None else self.leakage.fraction

    def passed(self, level: float = 0.05) -> bool:
        """Whether no check speaks against the posterior at this level.

        The ranks (the coverage of regions of highest density is among them, as the rank of the log
        density) and TARP are two families of tests, so that each has half of the level: an exact
        posterior fails with a probability of at most ``level``. Leakage is no test; weigh
        ``leak_fraction`` by itself.
        """
        return 2 * min(self.sbc_p_value, self.tarp_p_value) >= level

    def describe(self) -> dict[str, Any]:
        """Return everything but the single levels as plain JSON."""
        return {
            "sbc_p_value": self.sbc_p_value,
            "coverage_area": self.coverage_area,
            "coverage_p_value": self.coverage_p_value,
            "tarp_area": self.tarp_area,
            "tarp_p_value": self.tarp_p_value,
            "leak_fraction": self.leak_fraction,
            "nonfinite_draws": self.nonfinite_draws,
            "ranks": self.ranks.describe(),
            "coverage": self.coverage.describe(),
            "tarp": self.tarp.describe(),
            "leakage": None if self.leakage is None else self.leakage.describe(),
        }


def calibrate(
    posterior: AmortisedPosterior,
    parameters: ArrayLike,
    observations: Any,
    *,
    draws: int = 100,
    seed: int = 0,
    prior: ParameterSpace | None = None,
) -> CalibrationReport:
    """Check a posterior on simulations that it was not trained on.

    Args:
        posterior: What is checked.
        parameters: (B, d), physical units, from the prior; some 300 rows find a posterior that is
            0.7 times as wide as it should be.
        observations: Simulated from them, in any of the forms of a `PosteriorBatch`.
        draws: For each observation.
        seed: Of draws, ties and reference points.
        prior: Names the parameters, gives the coordinates of distances and tells what leaks; None:
            unnamed, standardised by the parameters themselves, no leakage.

    Raises:
        ConfigurationError: Arrays that do not fit together, or fewer than 20 rows.
    """
    truth = np.asarray(parameters, np.float64)
    rows = observation_rows(observations)
    if truth.ndim != 2 or len(truth) != rows or rows < _FEWEST_ROWS:
        raise ConfigurationError(
            f"Parameters of the shape {truth.shape} with {rows} observations; give (B, d) and one "
            f"observation for each row, at least {_FEWEST_ROWS}."
        )
    drawn = np.asarray(posterior.draw(observations, draws, seed=seed), np.float64)
    truth, drawn = as_truth_and_draws(truth, drawn)
    finite = np.asarray(np.isfinite(drawn).all(axis=-1))
    densities = _log_densities(posterior, observations, truth, drawn, finite)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
    ranks = rank_test(
        truth,
        drawn,
        log_densities=densities,
        names=None if prior is None else prior.names,
        seed=seeds[0],
    )
    placed, placed_draws = standard_coordinates(truth, drawn, prior)
    references = informed_references(placed, observations, seed=seeds[1])
    return CalibrationReport(
        ranks,
        highest_density_coverage(*densities, seed=seeds[2]),
        tarp(placed, placed_draws, references, seed=seeds[3]),
        None if prior is None else measure_leakage(drawn, prior),
        int(finite.size - finite.sum()),
    )


def _log_densities(
    posterior: AmortisedPosterior,
    observations: Any,
    truth: NDArray[np.float64],
    drawn: NDArray[np.float64],
    finite: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log density of truths (B,) and draws (B, L); NaN for a draw that is not finite."""

    def evaluate(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(posterior.log_density(observations, values), np.float64)

    of_truth = evaluate(truth)
    of_draws = np.empty(finite.shape)
    for i in range(drawn.shape[1]):
        # The truth stands in for what has no density.
        usable = np.where(finite[:, i, None], drawn[:, i], truth)
        of_draws[:, i] = np.where(finite[:, i], evaluate(usable), np.nan)
    return of_truth, of_draws
