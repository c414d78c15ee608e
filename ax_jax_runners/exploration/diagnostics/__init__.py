"""What a random walk found and how far it can be trusted, from plain arrays."""

from __future__ import annotations

from ax_jax_runners.exploration.diagnostics.arrays import jackknife
from ax_jax_runners.exploration.diagnostics.components import Components, connected_components
from ax_jax_runners.exploration.diagnostics.extent import (
    Coverage,
    cell_coverage,
    distance_to_aim,
    explored_range,
    log_det_covariance,
)
from ax_jax_runners.exploration.diagnostics.mixing import (
    acceptance_rate,
    autocorrelation_time,
    bulk_ess,
    ess_from_jumps,
    ess_with_error,
    split_rhat,
    squared_jump_distance,
)
from ax_jax_runners.exploration.diagnostics.summary import Diagnostics, diagnose
from ax_jax_runners.exploration.diagnostics.volume import VolumeEstimate, estimate_volume

__all__ = [
    "Components",
    "Coverage",
    "Diagnostics",
    "VolumeEstimate",
    "acceptance_rate",
    "autocorrelation_time",
    "bulk_ess",
    "cell_coverage",
    "connected_components",
    "diagnose",
    "distance_to_aim",
    "ess_from_jumps",
    "ess_with_error",
    "estimate_volume",
    "explored_range",
    "jackknife",
    "log_det_covariance",
    "split_rhat",
    "squared_jump_distance",
]
