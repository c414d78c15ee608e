"""Whether a posterior can be believed: ranks, coverage, leakage, predictions, two-sample tests."""

from __future__ import annotations

from ax_jax_runners.posterior.calibration.c2st import (
    TwoSampleTest,
    classifier_two_sample_test,
)
from ax_jax_runners.posterior.calibration.coverage import (
    Coverage,
    highest_density_coverage,
    tarp,
)
from ax_jax_runners.posterior.calibration.leakage import Leakage, measure_leakage
from ax_jax_runners.posterior.calibration.predictive import PredictiveCheck, check_predictions
from ax_jax_runners.posterior.calibration.protocol import AmortisedPosterior
from ax_jax_runners.posterior.calibration.ranks import RankTest, rank_test
from ax_jax_runners.posterior.calibration.references import (
    informed_references,
    random_references,
    standard_coordinates,
)
from ax_jax_runners.posterior.calibration.report import CalibrationReport, calibrate

__all__ = [
    "AmortisedPosterior",
    "CalibrationReport",
    "Coverage",
    "Leakage",
    "PredictiveCheck",
    "RankTest",
    "TwoSampleTest",
    "calibrate",
    "check_predictions",
    "classifier_two_sample_test",
    "highest_density_coverage",
    "informed_references",
    "measure_leakage",
    "random_references",
    "rank_test",
    "standard_coordinates",
    "tarp",
]
