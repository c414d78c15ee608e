"""How far chains reach: range, ellipsoid of the covariance, occupied cells, distance to an aim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.arrays import (
    as_states,
    jackknife,
    jackknife_error,
    particle_groups,
)

# A standard deviation of 1e-8 of the box: what float64 keeps of a covariance of order 1.
_LEAST_EIGENVALUE = 1e-16
_EMPTY, _SHARED = -1, -2


def explored_range(states: ArrayLike) -> NDArray[np.float64]:
    """Largest minus smallest value of each parameter over all particles so far.

    It never falls and hangs on single outliers: the weakest of the measures of extent.

    Args:
        states: shape (iterations, particles, parameters).

    Returns:
        Shape (iterations, parameters), in the units of the states; the last row is the final range.
    """
    array = as_states(states)
    highest = np.maximum.accumulate(array.max(axis=1), axis=0)
    return highest - np.minimum.accumulate(array.min(axis=1), axis=0)


def log_det_covariance(states: ArrayLike) -> tuple[float, float]:
    """Natural logarithm of the determinant of the covariance of all states, with standard error.

    Twice the logarithm of the volume of the one-sigma ellipsoid, up to a constant of the dimension.
    Eigenvalues below 1e-16 count as 1e-16, so that states in a plane have a finite value too.

    Args:
        states: shape (iterations, particles, parameters), in unit-box coordinates.

    Returns:
        The value, and its standard error by jackknife over particles (NaN for a single particle).
    """
    value, error = jackknife(_log_det, states)
    return float(value), float(error)


def _log_det(array: NDArray[np.float64]) -> float:
    rows = array.reshape(-1, array.shape[2])
    centred = rows - rows.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(rows))
    return float(np.log(np.maximum(eigenvalues, _LEAST_EIGENVALUE)).sum())


@dataclass(frozen=True, eq=False)
class Coverage:
    """Cells of 2-D planes of the unit box that were visited.

    Attributes:
        pairs: the two parameters of each plane, shape (planes, 2); one index twice where there is
            only one parameter.
        owners: shape (planes, cells, cells): -1 for a cell that nobody visited, -2 for one that
            several groups of particles visited, else the only group.
        groups: how many groups the particles were put into.
    """

    pairs: NDArray[np.int64]
    owners: NDArray[np.int16]
    groups: int

    @property
    def occupied(self) -> NDArray[np.bool_]:
        """Visited cells, shape (planes, cells, cells)."""
        return self.owners != _EMPTY

    @property
    def share(self) -> tuple[float, float]:
        """Share of the cells that was visited, with its standard error over particles."""
        count, error = self.new_cells(None)
        return count / self.owners.size, error / self.owners.size

    def new_cells(self, earlier: Coverage | None) -> tuple[int, float]:
        """Number of visited cells that an earlier walk had not visited, with standard error.

        Raises:
            ConfigurationError: the earlier one looked at other planes or cells.
        """
        fresh = self.owners
        if earlier is not None:
            if self.owners.shape != earlier.owners.shape or not np.array_equal(
                self.pairs, earlier.pairs
            ):
                raise ConfigurationError(
                    "Two coverages have different planes or cells; compute both with the same "
                    "planes, cells and seed, of the same parameters."
                )
            fresh = np.where(earlier.occupied, np.int16(_EMPTY), self.owners)
        count = int((fresh != _EMPTY).sum())
        if self.groups < 2:
            return count, float("nan")
        lost = np.bincount(fresh[fresh >= 0].astype(np.int64), minlength=self.groups)
        return count, float(jackknife_error(count - lost))


def cell_coverage(states: ArrayLike, *, planes: int, cells: int, seed: int) -> Coverage:
    """Which cells of random planes of two parameters the states occupy.

    Args:
        states: shape (iterations, particles, parameters), in unit-box coordinates.
        planes: how many pairs of parameters to look at; all pairs where there are fewer.
        cells: cells along each parameter.
        seed: chooses the pairs; the same for walks that are to be compared.

    Raises:
        ConfigurationError: no plane or cell, or states outside the unit box.
    """
    array = as_states(states)
    if planes < 1 or cells < 1:
        raise ConfigurationError(f"planes={planes}, cells={cells}: both must be at least 1.")
    # A coordinate computed from physical units may round to just outside.
    if array.min() < -1e-9 or array.max() > 1.0 + 1e-9:
        raise ConfigurationError(
            f"States lie in [{array.min():.6g}, {array.max():.6g}]; coverage needs coordinates of "
            f"the unit box (SearchBox.to_unit)."
        )
    iterations, particles, parameters = array.shape
    pairs = np.stack(np.triu_indices(parameters, k=1), axis=1)
    if parameters == 1:
        pairs = np.zeros((1, 2), dtype=np.int64)
    elif planes < len(pairs):
        chosen = np.random.default_rng(seed).choice(len(pairs), size=planes, replace=False)
        pairs = pairs[np.sort(chosen)]
    groups = particle_groups(particles)
    group = np.broadcast_to(np.arange(particles) % groups, (iterations, particles))
    index = np.clip((array * cells).astype(np.int64), 0, cells - 1)
    owners = np.full((len(pairs), cells * cells), _EMPTY, dtype=np.int16)
    for plane, (i, j) in enumerate(pairs):
        visited = np.zeros((cells * cells, groups), dtype=bool)
        visited[index[..., i] * cells + index[..., j], group] = True
        visitors = visited.sum(axis=1)
        owners[plane, visitors > 1] = _SHARED
        alone = visitors == 1
        owners[plane, alone] = visited[alone].argmax(axis=1)
    return Coverage(pairs=pairs, owners=owners.reshape(-1, cells, cells), groups=groups)


def distance_to_aim(states: ArrayLike, aim: ArrayLike) -> NDArray[np.float64]:
    """Euclidean distance of every state to an aim, over the parameters that are aimed at.

    Args:
        states: shape (iterations, particles, parameters).
        aim: shape (parameters,), in the units of the states; NaN where there is no aim.

    Returns:
        Shape (iterations, particles).

    Raises:
        ConfigurationError: an aim of another shape, or one of NaN only.
    """
    array = as_states(states)
    target = np.asarray(aim, dtype=np.float64)
    if target.shape != array.shape[2:]:
        raise ConfigurationError(
            f"The aim has the shape {target.shape}; give {array.shape[2:]}, one value a parameter."
        )
    aimed = np.isfinite(target)
    if not aimed.any():
        raise ConfigurationError("The aim has no finite value; give at least one parameter's.")
    return np.linalg.norm(array[..., aimed] - target[aimed], axis=2)
