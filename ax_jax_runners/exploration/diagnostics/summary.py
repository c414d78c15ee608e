"""All diagnostics of a walk in one frozen summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.arrays import as_states
from ax_jax_runners.exploration.diagnostics.extent import (
    Coverage,
    cell_coverage,
    explored_range,
    log_det_covariance,
)
from ax_jax_runners.exploration.diagnostics.mixing import (
    acceptance_rate,
    autocorrelation_time,
    bulk_ess,
    ess_with_error,
    split_rhat,
    squared_jump_distance,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How a walk moved, mixed and spread. Distances are in coordinates of the unit box.

    Attributes:
        names: the explored parameters.
        iterations: of each particle.
        particles: how many.
        evaluations: rows that were evaluated, warm-up included.
        nonfinite: how many of them had a feature that was NaN or infinite.
        stalled: how many particles stopped before their time.
        acceptance: share of iterations that moved a particle, and standard error.
        squared_jump_distance: mean squared distance of an iteration, and standard error.
        autocorrelation_time: of each parameter, in iterations.
        bulk_ess: effective draws of each parameter over all particles.
        mean_ess: the same without ranking; ``ess_error`` is its standard error.
        ess_error: standard error of ``mean_ess`` over particles.
        split_rhat: disagreement of the particles for each parameter; 1 is agreement.
        explored_range: largest minus smallest value of each parameter.
        log_det_covariance: of all states, and standard error.
        coverage: which cells of random planes were visited.
    """

    names: tuple[str, ...]
    iterations: int
    particles: int
    evaluations: int
    nonfinite: int
    stalled: int
    acceptance: tuple[float, float]
    squared_jump_distance: tuple[float, float]
    autocorrelation_time: NDArray[np.float64]
    bulk_ess: NDArray[np.float64]
    mean_ess: NDArray[np.float64]
    ess_error: NDArray[np.float64]
    split_rhat: NDArray[np.float64]
    explored_range: NDArray[np.float64]
    log_det_covariance: tuple[float, float]
    coverage: Coverage

    @property
    def ess_per_1000_evaluations(self) -> float:
        """Bulk effective draws of the worst parameter per 1,000 evaluations."""
        return float(self.bulk_ess.min()) * 1000 / self.evaluations

    def to_frame(self) -> pd.DataFrame:
        """One row a parameter, indexed by its name."""
        import pandas as pd

        return pd.DataFrame(
            {
                "bulk_ess": self.bulk_ess,
                "mean_ess": self.mean_ess,
                "ess_error": self.ess_error,
                "split_rhat": self.split_rhat,
                "autocorrelation_time": self.autocorrelation_time,
                "explored_range": self.explored_range,
            },
            index=pd.Index(self.names, name="parameter"),
        )


def diagnose(
    states_unit: ArrayLike,
    moved: ArrayLike,
    *,
    names: Sequence[str],
    evaluations: int,
    nonfinite: int = 0,
    stalled: int = 0,
    planes: int = 16,
    cells: int = 16,
    seed: int = 0,
) -> Diagnostics:
    """Compute all diagnostics of a walk.

    Args:
        states_unit: chain states (iterations, particles, parameters), coordinates of the unit box;
            a state is repeated where a proposal was rejected.
        moved: whether an iteration moved a particle, bool (iterations, particles).
        names: of the parameters.
        evaluations: rows that were evaluated, at least 1.
        nonfinite: how many of them had a feature that was NaN or infinite.
        stalled: how many particles stopped before their time.
        planes: pairs of parameters whose cells are looked at.
        cells: cells along each parameter.
        seed: chooses the pairs; the same for walks that are to be compared.

    Raises:
        ConfigurationError: arrays, names or numbers that do not fit together.
    """
    states = as_states(states_unit)
    iterations, particles, parameters = states.shape
    if np.shape(moved) != (iterations, particles) or len(names) != parameters or evaluations < 1:
        raise ConfigurationError(
            f"States of shape {states.shape} do not fit moved of shape {np.shape(moved)}, "
            f"{len(names)} names and {evaluations} evaluations; give (iterations, particles), a "
            f"name for each parameter and at least 1 evaluation."
        )
    mean_ess, ess_error = ess_with_error(states)
    return Diagnostics(
        names=tuple(names),
        iterations=iterations,
        particles=particles,
        evaluations=evaluations,
        nonfinite=nonfinite,
        stalled=stalled,
        acceptance=acceptance_rate(moved),
        squared_jump_distance=squared_jump_distance(states),
        autocorrelation_time=autocorrelation_time(states),
        bulk_ess=bulk_ess(states),
        mean_ess=mean_ess,
        ess_error=ess_error,
        split_rhat=split_rhat(states),
        explored_range=explored_range(states)[-1],
        log_det_covariance=log_det_covariance(states),
        coverage=cell_coverage(states, planes=planes, cells=cells, seed=seed),
    )
