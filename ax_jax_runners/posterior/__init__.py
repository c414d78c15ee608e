"""Amortised posterior estimators: trained on simulations once, then asked about any observation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.posterior.calibration import (
        CalibrationReport,
        calibrate,
        classifier_two_sample_test,
    )
    from ax_jax_runners.posterior.configuration import (
        CheckpointConfiguration,
        DiagnosticsConfiguration,
        EncoderConfiguration,
        FlowConfiguration,
        OptimiserConfiguration,
        RegularisationConfiguration,
        StabilityConfiguration,
    )
    from ax_jax_runners.posterior.datasets import (
        ArrayDataset,
        SimulatedDataset,
        WalkDataset,
        simulate,
    )
    from ax_jax_runners.posterior.estimator import PosteriorEstimator
    from ax_jax_runners.posterior.flow_matching import FlowMatchingConfiguration
    from ax_jax_runners.posterior.flow_matching.estimator import FlowMatching
    from ax_jax_runners.posterior.flow_posterior import FlowPosterior
    from ax_jax_runners.posterior.persistence import (
        ArtifactMetadata,
        ArtifactRegistry,
        PersistentPosteriorEstimator,
    )
    from ax_jax_runners.posterior.petitradtrans import (
        ConditionalAutoregressiveFlowPosterior,
        ConditionalFlowPosterior,
        ConditionalNeuralAutoregressiveFlowPosterior,
        ConditionalSplineFlowPosterior,
        FlowMatchingPosterior,
    )
    from ax_jax_runners.posterior.records import (
        POSTERIOR_METADATA_SCHEMA_VERSION,
        EncodedObservation,
        ObservationBlock,
        PosteriorBatch,
        PosteriorSamples,
        TrainingArtifacts,
    )

# What compiles networks is loaded when it is asked for.
_HOMES = {
    "ArrayDataset": "datasets",
    "ArtifactMetadata": "persistence",
    "ArtifactRegistry": "persistence",
    "CalibrationReport": "calibration",
    "CheckpointConfiguration": "configuration",
    "ConditionalAutoregressiveFlowPosterior": "petitradtrans",
    "ConditionalFlowPosterior": "petitradtrans",
    "ConditionalNeuralAutoregressiveFlowPosterior": "petitradtrans",
    "ConditionalSplineFlowPosterior": "petitradtrans",
    "DiagnosticsConfiguration": "configuration",
    "EncodedObservation": "records",
    "EncoderConfiguration": "configuration",
    "FlowConfiguration": "configuration",
    "FlowMatching": "flow_matching.estimator",
    "FlowMatchingConfiguration": "flow_matching",
    "FlowMatchingPosterior": "petitradtrans",
    "FlowPosterior": "flow_posterior",
    "ObservationBlock": "records",
    "OptimiserConfiguration": "configuration",
    "POSTERIOR_METADATA_SCHEMA_VERSION": "records",
    "PersistentPosteriorEstimator": "persistence",
    "PosteriorBatch": "records",
    "PosteriorEstimator": "estimator",
    "PosteriorSamples": "records",
    "RegularisationConfiguration": "configuration",
    "SimulatedDataset": "datasets",
    "StabilityConfiguration": "configuration",
    "TrainingArtifacts": "records",
    "WalkDataset": "datasets",
    "calibrate": "calibration",
    "classifier_two_sample_test": "calibration",
    "simulate": "datasets",
}

__all__ = [
    "POSTERIOR_METADATA_SCHEMA_VERSION",
    "ArrayDataset",
    "ArtifactMetadata",
    "ArtifactRegistry",
    "CalibrationReport",
    "CheckpointConfiguration",
    "ConditionalAutoregressiveFlowPosterior",
    "ConditionalFlowPosterior",
    "ConditionalNeuralAutoregressiveFlowPosterior",
    "ConditionalSplineFlowPosterior",
    "DiagnosticsConfiguration",
    "EncodedObservation",
    "EncoderConfiguration",
    "FlowConfiguration",
    "FlowMatching",
    "FlowMatchingConfiguration",
    "FlowMatchingPosterior",
    "FlowPosterior",
    "ObservationBlock",
    "OptimiserConfiguration",
    "PersistentPosteriorEstimator",
    "PosteriorBatch",
    "PosteriorEstimator",
    "PosteriorSamples",
    "RegularisationConfiguration",
    "SimulatedDataset",
    "StabilityConfiguration",
    "TrainingArtifacts",
    "WalkDataset",
    "calibrate",
    "classifier_two_sample_test",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
