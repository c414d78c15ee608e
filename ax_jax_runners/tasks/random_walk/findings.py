"""What a walk is worth: the outputs of a trial, from its recorded states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.diagnostics import (
    Coverage,
    acceptance_rate,
    cell_coverage,
    ess_with_error,
    jackknife,
    split_rhat,
)

#: Output -> (mean, standard error or None).
Outputs = dict[str, tuple[float, float | None]]

SAMPLING = ("ess_per_1000", "log10_ess_per_1000", "rhat", "new_coverage", "acceptance")
DIRECTED = ("distance_to_aim", "new_coverage", "acceptance")
#: Share of the recorded states that a walk may need to leave its seed point.
_SETTLING = 0.25
#: A walk that stands still has no effective draw, whose logarithm would be no number.
_LEAST_ESS = 1.0
_LARGEST_RHAT = 10.0
_PLANES, _CELLS = 16, 16
_FEWEST = 16


@dataclass(frozen=True, eq=False)
class Walked:
    """What a walk has recorded until now.

    Attributes:
        unit: (n, P, k), states of the particles that go on, in the search box.
        moves: (P,), iterations that moved each particle.
        iterations: (P,), iterations of each.
        evaluations: Of all particles, warm-up included.
    """

    unit: np.ndarray
    moves: np.ndarray
    iterations: np.ndarray
    evaluations: int


def outputs(walked: Walked, course: Course, known: Coverage | None, *, final: bool) -> Outputs:
    """Return the outputs of a walk; until there are enough states, those that can be told.

    Effective draws per 1,000 evaluations are those of the worst parameter, at least of one draw;
    R-hat is that of the worst, at most 10. Both leave out the first quarter of the states. New
    coverage counts cells of 16 x 16 in up to 16 planes of two parameters that were not known.

    Args:
        walked: The walk.
        course: Where it goes.
        known: Cells that were known before.
        final: Whether the walk is over: the error of R-hat is worth its time then.
    """
    found: Outputs = {}
    moved, error = acceptance_rate((walked.moves / np.maximum(walked.iterations, 1))[None])
    found["acceptance"] = (moved, _known(error))
    if not len(walked.unit):
        return found
    cells, error = coverage(walked.unit).new_cells(known)
    found["new_coverage"] = (float(cells), _known(error))
    if course.aims:
        distance = course.distance(walked.unit[-1])
        spread = distance.std(ddof=1) / math.sqrt(len(distance)) if len(distance) > 1 else math.nan
        found["distance_to_aim"] = (float(distance.mean()), _known(spread))
    if not course.free or len(walked.unit) < _FEWEST:
        return found
    settled = walked.unit[round(len(walked.unit) * _SETTLING) :]
    draws, errors = ess_with_error(settled)
    worst = int(np.argmin(draws))
    # The evaluations before the settled part count: they had to be made.
    rate = 1000.0 / max(walked.evaluations, 1)
    ess = max(float(draws[worst]), _LEAST_ESS)
    error = float(errors[worst])
    found["ess_per_1000"] = (ess * rate, _known(error * rate))
    found["log10_ess_per_1000"] = (math.log10(ess * rate), _known(error / ess / math.log(10)))
    found["rhat"] = _rhat(settled, final=final)
    return found


def coverage(unit: np.ndarray) -> Coverage:
    """Return the visited cells of states (n, P, k)."""
    return cell_coverage(np.clip(unit, 0.0, 1.0), planes=_PLANES, cells=_CELLS, seed=0)


def _rhat(states: np.ndarray, *, final: bool) -> tuple[float, float | None]:
    def worst(part: np.ndarray) -> float:
        return float(np.minimum(np.nanmax(split_rhat(part)), _LARGEST_RHAT))

    if states.shape[1] < 2:
        return math.nan, None
    if not final:
        return worst(states), None
    value, error = jackknife(worst, states)
    return float(value), _known(float(error))


def _known(error: float) -> float | None:
    return float(error) if math.isfinite(error) else None
