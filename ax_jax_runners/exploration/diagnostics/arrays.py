"""Checks of the arrays that diagnostics get, and standard errors over independent particles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError

_GROUPS = 16


def as_states(states: ArrayLike) -> NDArray[np.float64]:
    """States as a float64 array of shape (iterations, particles, parameters).

    Raises:
        ConfigurationError: another shape, no state at all, or one that is not finite.
    """
    array = np.asarray(states, dtype=np.float64)
    if array.ndim != 3 or 0 in array.shape:
        raise ConfigurationError(
            f"States have the shape {array.shape}; give (iterations, particles, parameters), each "
            f"at least 1."
        )
    if not np.isfinite(array).all():
        raise ConfigurationError(
            "A state is NaN or infinite; give the states of the chains, which stay where they are "
            "when a proposal fails."
        )
    return array


def standard_error(per_particle: ArrayLike) -> float:
    """Standard error of the mean of one value per particle; NaN for a single particle."""
    values = np.asarray(per_particle, dtype=np.float64)
    if values.size < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(values.size))


def particle_groups(particles: int) -> int:
    """Number of groups that particle ``p`` falls into as ``p % groups``.

    Taken in turn, so that the particles of one seed point are spread over the groups.
    """
    return min(_GROUPS, particles)


def jackknife(
    statistic: Callable[[NDArray[np.float64]], ArrayLike], states: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A statistic of states, with its standard error over independent particles.

    The particles are put into at most 16 groups, each of which is left out once (Efron and Stein
    1981, The Annals of Statistics 9:586, eq. 1.4).

    Args:
        statistic: of states (iterations, particles, parameters): a number or an array.
        states: shape (iterations, particles, parameters).

    Returns:
        The statistic of all states, and its standard error: NaN for a single particle.
    """
    array = as_states(states)
    whole = np.asarray(statistic(array), dtype=np.float64)
    groups = particle_groups(array.shape[1])
    if groups < 2:
        return whole, np.full_like(whole, np.nan)
    group = np.arange(array.shape[1]) % groups
    parts = np.stack([np.asarray(statistic(array[:, group != g])) for g in range(groups)])
    return whole, jackknife_error(parts)


def jackknife_error(left_out: ArrayLike) -> NDArray[np.float64]:
    """Standard error from the values (groups, ...) without each of the groups."""
    values = np.asarray(left_out, dtype=np.float64)
    groups = len(values)
    return np.sqrt((groups - 1) / groups * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
