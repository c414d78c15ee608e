"""How well chains mix: acceptance, jumps, autocorrelation, effective draws, agreement of particles.

Effective draws and R-hat are ArviZ's (Vehtari et al. 2021, Bayesian Analysis 16:667); a parameter
that never moves, which ArviZ counts as perfectly mixed, has no effective draw here.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.arrays import (
    as_states,
    particle_groups,
    standard_error,
)

# Split chains of fewer draws than this have no variance or autocovariance to speak of.
_LEAST_ITERATIONS = 4


def acceptance_rate(moved: ArrayLike) -> tuple[float, float]:
    """Share of the iterations that moved a particle, with its standard error over particles.

    For tracking only: it is highest where the steps are smallest.

    Args:
        moved: bool, shape (iterations, particles).

    Raises:
        ConfigurationError: another shape.
    """
    array = np.asarray(moved)
    if array.ndim != 2 or array.size == 0:
        raise ConfigurationError(
            f"moved has the shape {array.shape}; give (iterations, particles), each at least 1."
        )
    per_particle = array.mean(axis=0, dtype=np.float64)
    return float(per_particle.mean()), standard_error(per_particle)


def squared_jump_distance(states: ArrayLike) -> tuple[float, float]:
    """Mean squared Euclidean distance of one iteration, with its standard error over particles.

    Args:
        states: shape (iterations, particles, parameters); the distance is in their units squared.

    Returns:
        The mean and its standard error; both NaN for a single iteration.
    """
    array = as_states(states)
    if len(array) < 2:
        return float("nan"), float("nan")
    per_particle = (np.diff(array, axis=0) ** 2).sum(axis=2).mean(axis=0)
    return float(per_particle.mean()), standard_error(per_particle)


def ess_from_jumps(
    states: ArrayLike, *, variance: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective draws per parameter for chains much shorter than their autocorrelation time.

    An estimate of effective draws from the autocorrelation cannot fall below about one per
    particle. This one takes the chain as first-order autoregressive: with the correlation
    ``rho = 1 - E[jump**2] / (2 variance)`` of neighbours, a draw counts ``(1 - rho) / (1 + rho)``.
    It needs the variance of the region, so it must be given or the particles be spread over it; it
    is too high where slow directions hide in no single parameter.

    Args:
        states: shape (iterations, particles, parameters).
        variance: of the region, for each parameter or for all; None: that of the states, which
            must come from particles started uniformly.

    Returns:
        Effective draws (parameters,) of all particles together, and their standard error over
        particles: NaN for a single iteration, and the error for a single particle.
    """
    array = as_states(states)
    iterations, particles, parameters = array.shape
    if iterations < 2:
        return np.full(parameters, np.nan), np.full(parameters, np.nan)
    jumps = (np.diff(array, axis=0) ** 2).mean(axis=0)
    if variance is None:
        variance = array.reshape(-1, parameters).var(axis=0)
    variance = np.broadcast_to(np.asarray(variance, dtype=np.float64), (parameters,))
    # 1 - rho; a walk that repels itself (rho < 0) is counted as independent.
    gap = np.minimum(jumps.mean(axis=0) / (2 * np.where(variance > 0, variance, 1.0)), 1.0)
    draws = iterations * particles * gap / (2 - gap)
    relative = np.full(parameters, np.nan)
    if particles > 1:
        mean = np.where(gap > 0, jumps.mean(axis=0), 1.0)
        relative = jumps.std(axis=0, ddof=1) / np.sqrt(particles) / mean
    return draws, draws * relative * 2 / (2 - gap)


def autocorrelation_time(states: ArrayLike) -> NDArray[np.float64]:
    """Integrated autocorrelation time of each parameter, in iterations.

    The number of iterations of one particle worth one independent draw, ``1 + 2 sum rho_t``, by
    ArviZ's multi-chain estimator with Geyer's initial monotone sequence.

    Args:
        states: shape (iterations, particles, parameters).

    Returns:
        Shape (parameters,); infinite for a parameter that never moves, NaN below 4 iterations.
    """
    array = as_states(states)
    with np.errstate(divide="ignore"):
        return array.shape[0] * array.shape[1] / _ess(array, "mean")


def bulk_ess(states: ArrayLike) -> NDArray[np.float64]:
    """Bulk effective sample size of each parameter over all particles, rank-normalised.

    Args:
        states: shape (iterations, particles, parameters).

    Returns:
        Shape (parameters,); 0 for a parameter that never moves, NaN below 4 iterations.
    """
    return _ess(as_states(states), "bulk")


def split_rhat(states: ArrayLike) -> NDArray[np.float64]:
    """Split R-hat of each parameter: how far the halves of all particles disagree; 1 is agreement.

    The rank-normalised form, the larger of the bulk's and of the folded values'.

    Args:
        states: shape (iterations, particles, parameters).

    Returns:
        Shape (parameters,); infinite for a parameter that never moves, of which nothing shows that
        the particles agree; NaN for a single particle or below 4 iterations.
    """
    array = as_states(states)
    iterations, particles, parameters = array.shape
    if particles < 2 or iterations < _LEAST_ITERATIONS:
        return np.full(parameters, np.nan)
    moving = _moves(array)
    values = np.full(parameters, np.inf)
    arviz = _arviz()
    for i in np.flatnonzero(moving):
        with np.errstate(divide="ignore", invalid="ignore"):
            values[i] = float(arviz.rhat(array[:, :, i].T, method="rank"))
    return values


def ess_with_error(states: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective draws for the mean of each parameter, with a standard error: cheap and interim.

    The value is ArviZ's for all particles, without the ranking of `bulk_ess`. Its error is that of
    a sum over at most 16 groups of particles, each estimated by itself.

    Args:
        states: shape (iterations, particles, parameters).

    Returns:
        Effective draws (parameters,) and their standard errors: NaN below 4 particles (the error)
        or 4 iterations (both). A parameter that never moves has 0 and 0.
    """
    array = as_states(states)
    particles, parameters = array.shape[1:]
    groups = min(particle_groups(particles), particles // 2)
    if groups < 2:
        return _ess(array, "mean"), np.full(parameters, np.nan)
    parts = np.stack([_ess(array[:, g::groups], "mean") for g in range(groups)])
    return _ess(array, "mean"), parts.std(axis=0, ddof=1) * np.sqrt(groups)


def _ess(array: NDArray[np.float64], method: Literal["bulk", "mean"]) -> NDArray[np.float64]:
    iterations, _, parameters = array.shape
    if iterations < _LEAST_ITERATIONS:
        return np.full(parameters, np.nan)
    values = np.zeros(parameters)
    arviz = _arviz()
    for i in np.flatnonzero(_moves(array)):
        values[i] = float(arviz.ess(array[:, :, i].T, method=method))
    return values


def _moves(array: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which parameters change within at least one of the halves of a chain that ArviZ compares."""
    half = len(array) // 2
    return ((np.ptp(array[:half], axis=0) > 0) | (np.ptp(array[-half:], axis=0) > 0)).any(axis=0)


def _arviz() -> ModuleType:
    with warnings.catch_warnings():
        # It announces its next major version at import.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz
