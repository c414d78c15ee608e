"""Posterior predictive check: whether simulations of the draws look like what was observed.

Gelman, Meng and Stern 1996, "Posterior predictive assessment of model fitness via realized
discrepancies". Tail probabilities crowd around the middle even for an exact posterior, because the
draws have seen the observation; only those near 0 or 1 say something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.posterior.calibration.levels import levels_of_truth


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """What was observed, among simulations of the posterior's draws.

    Attributes:
        levels: (B, m), share of simulations below each observed number; near 0 or 1: hardly one
            reaches it.
        discrepancy_levels: (B,), share of simulations with a smaller discrepancy; near 1: the
            observation is farther off than any simulation.
        nonfinite: Simulations that were left out because a number was NaN or infinite.
        draws: Of each observation.
    """

    levels: NDArray[np.float64]
    discrepancy_levels: NDArray[np.float64]
    nonfinite: int
    draws: int

    @property
    def tail_probabilities(self) -> NDArray[np.float64]:
        """Two-sided tail probability of each observed number, (B, m)."""
        return 2 * np.minimum(self.levels, 1 - self.levels)

    @property
    def discrepancy_p_values(self) -> NDArray[np.float64]:
        """Share of simulations with a larger discrepancy than the observation, (B,)."""
        return 1 - self.discrepancy_levels

    def describe(self) -> dict[str, Any]:
        """Return the smallest probabilities as plain JSON."""
        return {
            "smallest_tail_probability": float(self.tail_probabilities.min()),
            "smallest_discrepancy_p_value": float(self.discrepancy_p_values.min()),
            "discrepancy_p_values": self.discrepancy_p_values.tolist(),
            "nonfinite": self.nonfinite,
            "draws": self.draws,
        }


def check_predictions(
    draws: ArrayLike,
    observed: ArrayLike,
    simulator: FeatureEvaluator | Callable[[NDArray[np.float64]], Any],
    *,
    discrepancy: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    seed: int = 0,
) -> PredictiveCheck:
    """Simulate from draws and compare with what was observed.

    Args:
        draws: (B, L, d), physical units, of the posterior of each observation.
        observed: (B, m), what the simulator would have returned for the truth: its array
            flattened, or the arrays of its dict flattened and joined in the order of their names.
        simulator: An evaluator, or a function of theta (n, d) to an array (n, ...) or a dict of
            them; with the noise of a measurement, which the draws know nothing of.
        discrepancy: Of rows (n, m) to (n,). None: the mean squared distance from the mean of an
            observation's simulations, in units of their standard deviations.
        seed: Of a stochastic evaluator, and of ties.

    Raises:
        ConfigurationError: Arrays that do not fit together, or an observation none of whose
            simulations is finite.
    """
    theta, truth = np.asarray(draws, np.float64), np.asarray(observed, np.float64)
    if theta.ndim != 3 or truth.ndim != 2 or len(theta) != len(truth) or 0 in theta.shape:
        raise ConfigurationError(
            f"Draws of the shape {theta.shape} for observations of the shape {truth.shape}; give "
            "(B, L, d) and (B, m)."
        )
    simulated = _simulate(simulator, theta.reshape(-1, theta.shape[2]), seed)
    if simulated.shape != (theta.shape[0] * theta.shape[1], truth.shape[1]):
        raise ConfigurationError(
            f"The simulator returned {simulated.shape[1]} numbers for each of {len(simulated)} "
            f"rows of {theta.shape[0] * theta.shape[1]}; the observations hold {truth.shape[1]}."
        )
    rows = simulated.reshape(*theta.shape[:2], -1)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=-1))
    if not finite.any(axis=-1).all():
        raise ConfigurationError(
            f"No simulation of observation {int((~finite.any(axis=-1)).argmax())} is finite; check "
            "its draws and the simulator."
        )
    levels, places = np.empty(truth.shape), np.empty(len(truth))
    seeds = np.random.SeedSequence(seed).generate_state(len(truth))
    for i, (held, tie_seed) in enumerate(zip(finite, seeds, strict=True)):
        kept = rows[i, held]
        columns = np.broadcast_to(kept.T, (truth.shape[1], len(kept)))
        levels[i] = levels_of_truth(truth[i], columns, seed=int(tie_seed))
        measure = discrepancy or _distance_from(kept)
        of_truth = np.asarray(measure(truth[i : i + 1]), np.float64)
        of_kept = np.asarray(measure(kept), np.float64)[None]
        places[i] = levels_of_truth(of_truth, of_kept, seed=int(tie_seed))[0]
    return PredictiveCheck(levels, places, int(finite.size - finite.sum()), theta.shape[1])


def _simulate(
    simulator: FeatureEvaluator | Callable[[NDArray[np.float64]], Any],
    theta: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    if isinstance(simulator, FeatureEvaluator):
        key = jax.random.key(seed, impl="threefry2x32") if simulator.stochastic else None
        features = simulator.model_features(theta, key)
    else:
        features = simulator(theta)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(features)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _distance_from(
    rows: NDArray[np.float64],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return lambda values: np.square((values - centre) / scale).mean(axis=1)
