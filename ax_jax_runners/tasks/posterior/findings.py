"""The outputs of a posterior trial: its losses, and what calibration finds at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.posterior.amortised import AmortisedEstimator
from ax_jax_runners.posterior.calibration import calibrate
from ax_jax_runners.posterior.datasets import GatheredData
from ax_jax_runners.posterior.datasets.observations import take
from ax_jax_runners.posterior.training.state import TrainingState

Outputs = dict[str, tuple[float, float | None]]

OUTPUTS = ("validation_nll", "sbc_p_value", "coverage_area", "leak_fraction", "closure_error")


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known of a trained estimator.

    Attributes:
        outputs: By name.
        calibration: The whole report, as plain JSON.
    """

    outputs: Outputs
    calibration: dict[str, Any]


def curve(state: TrainingState) -> Outputs:
    """Return what is known of an arm after its last epoch."""
    loss, error = (state.column(name)[-1] for name in ("validation_nll", "validation_sem"))
    if not math.isfinite(loss):
        return {}
    return {"validation_nll": (float(loss), _known(error))}


def findings(
    estimator: AmortisedEstimator,
    state: TrainingState,
    gathered: GatheredData,
    *,
    rows: int,
    draws: int,
) -> Findings:
    """Return the outputs of a finished arm.

    Args:
        estimator: With the kept weights.
        state: Of the arm alone.
        gathered: The data set; its held-back rows are calibrated on.
        rows: How many of them, at most.
        draws: For each.
    """
    held = np.flatnonzero(gathered.is_validation)[:rows]
    report = calibrate(
        estimator,
        gathered.parameters[held],
        take(gathered.observations, held),
        draws=draws,
        prior=estimator.prior,
    )
    kept = int(state.best_epoch[0]) - 1

    def at_kept(name: str) -> float:
        return float(state.column(name)[kept])

    assert estimator.training_artifacts is not None  # noqa: S101
    # Of all held-back rows, where the curve of a velocity field is that of some.
    measured = estimator.training_artifacts.validation_metrics
    leak = report.leak_fraction
    shares = len(held) * draws
    outputs: Outputs = {
        "validation_nll": (measured["validation_nll"], measured["validation_sem"]),
        "sbc_p_value": (report.sbc_p_value, None),
        "coverage_area": (report.coverage_area, None),
        "leak_fraction": (
            0.0 if leak is None else leak,
            0.0 if leak is None else math.sqrt(leak * (1.0 - leak) / shares),
        ),
        "closure_error": (max(at_kept("inverse_error"), at_kept("log_det_closure")), 0.0),
    }
    return Findings(outputs, report.describe())


def why_failed(state: TrainingState) -> str:
    """Say why no weights of an arm can be kept."""
    if not np.isfinite(state.column("validation_loss")).any():
        return (
            f"The training diverged: no validation loss until epoch {int(state.epoch[0])} is "
            "finite; lower the learning rate."
        )
    inverse, closure, hits = (
        state.column(name)[-1] for name in ("inverse_error", "log_det_closure", "edge_hit_rate")
    )
    return (
        f"No epoch of {int(state.epoch[0])} passed the stability thresholds (at last the inverse "
        f"errs by {inverse:.2g}, the log determinants by {closure:.2g}, and {hits:.2g} of the "
        "draws are on an edge of the cube); lower the learning rate or raise the thresholds."
    )


def _known(error: float) -> float | None:
    return float(error) if math.isfinite(error) else None
