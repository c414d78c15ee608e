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
    ess_from_jumps,
    ess_with_error,
    jackknife,
    split_rhat,
)

#: Output -> (mean, standard error or None).
Outputs = dict[str, tuple[float, float | None]]

SAMPLING = (
    "log10_jump_ess_per_1000",
    "ess_per_1000",
    "log10_ess_per_1000",
    "rhat",
    "new_coverage",
    "acceptance",
)
DIRECTED = ("distance_to_aim", "new_coverage", "acceptance")
#: Share of the recorded states that a walk may need to leave its seed point.
_SETTLING = 0.25
#: A walk that stands still has no effective draw, whose logarithm would be no number.
_LEAST_ESS = 1.0
_LEAST_JUMP_ESS = 1e-3
_LARGEST_RHAT = 10.0
#: Of a coordinate of the search box.
_BOX_VARIANCE = 1.0 / 12.0
_PLANES, _CELLS = 16, 16
#: Recorded states below which nothing can be told of mixing.
FEWEST = 16


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


@dataclass(frozen=True, eq=False)
class Known:
    """What earlier explorations told of the region.

    Attributes:
        cells: That they visited; None: nothing is known.
        variance: (k,) or one number, of the coordinates; that of the whole box where nothing is
            known.
    """

    cells: Coverage | None = None
    variance: np.ndarray | float = _BOX_VARIANCE


def outputs(walked: Walked, course: Course, known: Known, *, final: bool) -> Outputs:
    """Return the outputs of a walk; until there are enough states, those that can be told.

    Effective draws are those of the worst parameter per 1,000 evaluations. From jumps: of a
    first-order chain with the walk's squared jumps in a region of the known variance, which can be
    compared between walks that have not mixed. Otherwise from autocorrelations, which are to be
    believed where R-hat is near 1: a walk that hardly leaves its seed point seems to mix well
    there. Both R-hat, of the worst parameter and at most 10, and these leave out the first quarter
    of the states. New coverage counts cells of 16 x 16 in up to 16 planes of two parameters that
    were not known.

    Args:
        walked: The walk.
        course: Where it goes.
        known: What was known before.
        final: Whether the walk is over: the error of R-hat is worth its time then.
    """
    found: Outputs = {}
    moved, error = acceptance_rate((walked.moves / np.maximum(walked.iterations, 1))[None])
    found["acceptance"] = (moved, _known(error))
    if not len(walked.unit):
        return found
    cells, error = coverage(walked.unit).new_cells(known.cells)
    found["new_coverage"] = (float(cells), _known(error))
    if course.aims:
        distance = course.distance(walked.unit[-1])
        spread = distance.std(ddof=1) / math.sqrt(len(distance)) if len(distance) > 1 else math.nan
        found["distance_to_aim"] = (float(distance.mean()), _known(spread))
    if not course.free or len(walked.unit) < FEWEST:
        return found
    rate = 1000.0 / max(walked.evaluations, 1)
    draws, errors = ess_from_jumps(walked.unit, variance=known.variance)
    worst = int(np.argmin(draws))
    found["log10_jump_ess_per_1000"] = _logarithm(
        draws[worst] * rate, errors[worst] * rate, _LEAST_JUMP_ESS
    )
    settled = walked.unit[round(len(walked.unit) * _SETTLING) :]
    draws, errors = ess_with_error(settled)
    worst = int(np.argmin(draws))
    # The evaluations before the settled part count: they had to be made.
    ess, error = max(float(draws[worst]), _LEAST_ESS) * rate, float(errors[worst]) * rate
    found["ess_per_1000"] = (ess, _known(error))
    found["log10_ess_per_1000"] = _logarithm(ess, error, 0.0)
    found["rhat"] = _rhat(settled, final=final)
    return found


def _logarithm(value: float, error: float, least: float) -> tuple[float, float | None]:
    value = max(float(value), least)
    return math.log10(value), _known(float(error) / value / math.log(10))


def coverage(unit: np.ndarray) -> Coverage:
    """Return the visited cells of states (n, P, k)."""
    return cell_coverage(np.clip(unit, 0.0, 1.0), planes=_PLANES, cells=_CELLS, seed=0)


def _rhat(states: np.ndarray, *, final: bool) -> tuple[float, float | None]:
    def worst(part: np.ndarray) -> float:
        return float(np.minimum(np.nanmax(split_rhat(part)), _LARGEST_RHAT))

    if states.shape[1] < 2:
        # Nothing shows that particles agree.
        return _LARGEST_RHAT, None
    # Without one of two particles there is none that the other could be compared with.
    if not final or states.shape[1] == 2:
        return worst(states), None
    value, error = jackknife(worst, states)
    return float(value), _known(float(error))


def _known(error: float) -> float | None:
    return float(error) if math.isfinite(error) else None
