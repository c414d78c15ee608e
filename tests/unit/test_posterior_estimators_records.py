"""What goes into estimators and comes out of them, and where it is found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import ax_jax_runners.posterior as posterior
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior import (
    EncodedObservation,
    ObservationBlock,
    PosteriorBatch,
    PosteriorSamples,
    TrainingArtifacts,
)

PROMISED = """
    PosteriorEstimator PersistentPosteriorEstimator ConditionalFlowPosterior
    ConditionalSplineFlowPosterior ConditionalAutoregressiveFlowPosterior
    ConditionalNeuralAutoregressiveFlowPosterior FlowMatchingPosterior
    PosteriorBatch PosteriorSamples TrainingArtifacts POSTERIOR_METADATA_SCHEMA_VERSION
    ObservationBlock EncodedObservation ArtifactMetadata ArtifactRegistry
""".split()


def test_every_promised_name_is_there() -> None:
    for name in PROMISED:
        assert name in posterior.__all__
        assert getattr(posterior, name) is not None
    for name in posterior.__all__:
        assert hasattr(posterior, name)
    assert posterior.POSTERIOR_METADATA_SCHEMA_VERSION == "0.2.0"
    with pytest.raises(AttributeError, match="no attribute 'ConditionalFlow'"):
        posterior.ConditionalFlow  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", ["ConditionalFlowPosterior", "FlowMatchingPosterior"])
def test_an_estimator_has_every_promised_method(name: str) -> None:
    methods = """fit encode_observation batch_encode_observation sample_posterior
        batch_sample_posterior log_prob save load hydrate_loaded_metadata build_artifact_metadata
        save_backend_state load_backend_state from_serialized_metadata draw log_density"""
    kind = getattr(posterior, name)
    assert all(callable(getattr(kind, method)) for method in methods.split())
    family = {"ConditionalFlowPosterior": "conditional_flow"}.get(name, "flow_matching")
    assert kind.estimator_family == family


# ---------------------------------------------------------------------- batches


def block(name: str = "flux", values: Any = (1.0, 2.0), **others: Any) -> ObservationBlock:
    return ObservationBlock(name, "spectrum", values, **others)


@pytest.mark.parametrize(
    "observations",
    [
        np.zeros((3, 5)),
        {"lines": np.zeros((3, 2, 2)), "deep": {"lines": np.zeros(3)}},
        [[block()], [block()], [block()]],
    ],
)
def test_a_batch_holds_observations_of_every_form(observations: Any) -> None:
    batch = PosteriorBatch(np.zeros((3, 2)), observations, {"source": "a simulator"})
    assert batch.observations is observations
    assert batch.metadata == {"source": "a simulator"}
    assert PosteriorBatch(np.zeros((3, 2)), observations).metadata == {}


@pytest.mark.parametrize(
    ("parameters", "observations", "sentence"),
    [
        (np.zeros(3), np.zeros((3, 5)), r"shape \(3,\); give \(batch, dimension\)"),
        (np.zeros((3, 2)), np.zeros((4, 5)), "3 rows of parameters and 4 of observations"),
        (np.zeros((3, 2)), [[block()]], "3 rows of parameters and 1 of observations"),
        (np.zeros((3, 2)), {"a": np.zeros(3), "b": np.zeros(2)}, "same first axis"),
        (np.zeros((3, 2)), {}, "same first axis"),
        (np.zeros((3, 2)), {"a": 1.0}, "same first axis"),
        (np.zeros((3, 2)), None, "Observations are a NoneType"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(
    parameters: Any, observations: Any, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        PosteriorBatch(parameters, observations)


# ---------------------------------------------------------------------- samples


def test_samples_may_have_densities_and_weights() -> None:
    bare = PosteriorSamples(np.zeros((4, 2)))
    assert (bare.log_probabilities, bare.weights, bare.metadata) == (None, None, {})
    full = PosteriorSamples(np.zeros((4, 2)), np.zeros(4), np.full(4, 0.25), {"seed": 1})
    assert full.weights.sum() == 1.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"samples": np.zeros(4)}, r"shape \(4,\); give \(draws, dimension\)"),
        ({"log_probabilities": np.zeros(3)}, "log_probabilities .* for 4 draws"),
        ({"weights": np.zeros((4, 1))}, "weights .* for 4 draws"),
    ],
)
def test_samples_of_other_shapes_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        PosteriorSamples(**{"samples": np.zeros((4, 2)), **given})


# ---------------------------------------------------------------------- artifacts


def test_training_artifacts_go_through_json() -> None:
    artifacts = TrainingArtifacts(
        {"epoch": [1, 2], "train_loss": [0.1, None], "validation_loss": (1 / 3, 1e-300)},
        {"validation_nll": -3.5161234567891, "epoch": 2},
        {"ended": "patience", "nested": {"rows": [900, 100]}},
    )
    text = json.dumps(artifacts.describe(), allow_nan=False)
    again = TrainingArtifacts.from_description(json.loads(text))
    assert again == TrainingArtifacts(
        {**artifacts.history, "validation_loss": [1 / 3, 1e-300]},
        artifacts.validation_metrics,
        artifacts.metadata,
    )
    assert TrainingArtifacts.from_description(again.describe()) == again
    with pytest.raises(KeyError, match="history"):
        TrainingArtifacts.from_description({})


# ---------------------------------------------------------------------- observations


@pytest.mark.parametrize("modality", ["spectrum", "photometry", "time_series", "auxiliary"])
def test_a_block_of_every_modality(modality: str) -> None:
    made = ObservationBlock("a", modality, [1.0, 2.0], [0.1, 0.1], [3.0, 4.0], [True, False])
    assert (made.modality, made.metadata) == (modality, {})
    encoded = EncodedObservation(np.zeros(3, np.float32))
    assert encoded.metadata == {}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"modality": "image"}, "choose one of spectrum, photometry, time_series, auxiliary"),
        ({"values": [[1.0, 2.0]]}, r"shape \(1, 2\); give a vector"),
        ({"values": []}, r"shape \(0,\); give a vector"),
        ({"uncertainties": [0.1]}, r"uncertainties of block 'flux' .* for 2 values"),
        ({"coordinates": [0.1, 0.2, 0.3]}, r"coordinates of block 'flux' .* for 2 values"),
        ({"mask": True}, r"mask of block 'flux' .* for 2 values"),
    ],
)
def test_a_block_that_is_none_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ObservationBlock(**{"name": "flux", "modality": "spectrum", "values": [1.0, 2.0], **given})
