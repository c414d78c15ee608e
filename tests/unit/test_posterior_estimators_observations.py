"""Observations of blocks, with masks, all the way from training to a loaded estimator."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior import (
    ArrayDataset,
    ConditionalFlowPosterior,
    EncoderConfiguration,
    FlowConfiguration,
    FlowPosterior,
    ObservationBlock,
    PersistentPosteriorEstimator,
)

pytestmark = pytest.mark.slow

WAVELENGTHS = np.linspace(0.6, 5.0, 233)
PRIOR = ParameterSpace(
    [Parameter("level", lower=-1.0, upper=1.0), Parameter("slope", lower=0.0, upper=2.0)]
)


def observe(theta: np.ndarray, rng: np.random.Generator, *, masked: bool) -> list[ObservationBlock]:
    """A line of 233 wavelengths of which some are missing, and two bands."""
    level, slope = theta
    flux = level + slope * (WAVELENGTHS - 2.8) / 2.2 + 0.1 * rng.standard_normal(233)
    mask = rng.random(233) > 0.2 if masked else None
    if mask is not None:
        flux[~mask] = np.nan
    bands = np.array([level, level + slope]) + 0.05 * rng.standard_normal(2)
    return [
        ObservationBlock("flux", "spectrum", flux, np.full(233, 0.1), WAVELENGTHS, mask),
        ObservationBlock("bands", "photometry", bands, np.full(2, 0.05)),
    ]


def data(*, masked: bool, rows: int = 200) -> ArrayDataset:
    rng = np.random.default_rng(0)
    theta = PRIOR.icdf(rng.random((rows, 2)))
    seen = [observe(row, rng, masked=masked) for row in theta]
    return ArrayDataset(theta, seen, space=PRIOR)


@pytest.fixture(scope="module", params=["conv1d", "patch"])
def estimator(request: pytest.FixtureRequest) -> ConditionalFlowPosterior:
    made = ConditionalFlowPosterior(
        2,
        flow_family="affine",
        spectrum_encoder_type=request.param,
        embedding_dim=8,
        hidden_dim=16,
        num_coupling_layers=2,
        conditioner_depth=1,
        spectrum_embedding_dim=8,
        photometry_embedding_dim=4,
        num_epochs=6,
        learning_rate=5e-3,
    )
    # Masks come with the training data, or for the first time with an observation.
    made.fit(data(masked=request.param == "conv1d"))
    return made


@pytest.fixture
def seen() -> list[list[ObservationBlock]]:
    rng = np.random.default_rng(1)
    at = np.array([[-0.5, 0.4], [0.0, 1.0], [0.5, 1.6]])
    return [observe(row, rng, masked=True) for row in at]


def changed(block: ObservationBlock, number: float) -> ObservationBlock:
    """The same measurements, with another number wherever nothing was measured."""
    values, mask = np.array(block.values), np.asarray(block.mask)
    uncertainties = np.where(mask, block.uncertainties, number)
    return dataclasses.replace(
        block, values=np.where(mask, values, number), uncertainties=uncertainties
    )


def test_spectra_with_gaps_are_learned(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]]
) -> None:
    losses = estimator.training_artifacts.history["validation_nll"]  # pyright: ignore[reportOptionalMemberAccess]
    assert losses[-1] < losses[0]
    drawn = estimator.draw(seen, 300)
    assert drawn.shape == (3, 300, 2)
    assert np.isfinite(PRIOR.log_prior(drawn)).all()
    assert (np.diff(drawn.mean(axis=1), axis=0) > 0).all()


def test_blocks_are_encoded_alone_as_in_a_batch(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]]
) -> None:
    together = estimator.batch_encode_observation(seen)
    for blocks, encoded in zip(seen, together, strict=True):
        alone = estimator.encode_observation(blocks)
        np.testing.assert_allclose(alone.embedding, encoded.embedding, atol=1e-5)
        assert alone.embedding.shape == (8,)
        assert alone.metadata["blocks"] == {"bands": "photometry", "flux": "spectrum"}
        backwards = estimator.encode_observation(blocks[::-1])
        np.testing.assert_array_equal(backwards.embedding, alone.embedding)


@pytest.mark.parametrize("number", [0.0, 1e6, np.nan, np.inf])
def test_what_is_masked_changes_nothing(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]], number: float
) -> None:
    flux, bands = seen[0]
    one = estimator.encode_observation([flux, bands])
    other = estimator.encode_observation([changed(flux, number), bands])
    np.testing.assert_array_equal(one.embedding, other.embedding)
    first = estimator.sample_posterior(one, 5).samples
    np.testing.assert_array_equal(first, estimator.sample_posterior(other, 5).samples)
    # What is measured does count.
    more = dataclasses.replace(flux, values=np.where(flux.mask, flux.values, 0.0) + 0.5)
    assert (estimator.encode_observation([more, bands]).embedding != one.embedding).any()


def test_a_mask_hides_what_was_measured(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]]
) -> None:
    flux, bands = seen[0]
    nothing = dataclasses.replace(flux, mask=np.zeros(233, bool))
    hidden = [
        estimator.encode_observation([nothing, bands]).embedding,
        estimator.encode_observation([changed(nothing, 7.0), bands]).embedding,
    ]
    np.testing.assert_array_equal(*hidden)
    assert np.isfinite(hidden[0]).all()
    assert (hidden[0] != estimator.encode_observation([flux, bands]).embedding).any()


def test_observations_of_other_blocks_are_refused(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]]
) -> None:
    flux, bands = seen[0]
    short = ObservationBlock("flux", "spectrum", np.zeros(100), np.ones(100), WAVELENGTHS[:100])
    moved = dataclasses.replace(flux, coordinates=WAVELENGTHS + 0.1)
    bare = dataclasses.replace(flux, mask=None)
    for blocks, sentence in (
        ([flux], "Block 'bands' of the training data is missing"),
        ([flux, bands, dataclasses.replace(bands, name="more")], "'more' is not one of"),
        ([short, bands], "'flux'"),
        ([moved, bands], "coordinate .* bring it to that grid"),
        ([bare, bands], "'flux' .*not finite"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            estimator.encode_observation(blocks)


def test_structured_observations_after_loading(
    estimator: ConditionalFlowPosterior, seen: list[list[ObservationBlock]], tmp_path: Path
) -> None:
    estimator.save(tmp_path)
    loaded = PersistentPosteriorEstimator.load(tmp_path)
    assert isinstance(loaded, ConditionalFlowPosterior)
    assert loaded.observation_schema == estimator.observation_schema
    assert loaded.preprocessing_metadata_payload == estimator.preprocessing_metadata_payload
    theta = np.array([[-0.4, 0.3], [0.1, 0.9], [0.6, 1.5]])
    np.testing.assert_array_equal(
        loaded.log_density(seen, theta), estimator.log_density(seen, theta)
    )
    np.testing.assert_array_equal(loaded.draw(seen, 4), estimator.draw(seen, 4))


def test_mappings_of_arrays_are_observations_too() -> None:
    estimator = FlowPosterior(
        2,
        prior=PRIOR,
        flow=FlowConfiguration(family="affine", layers=1, width=8, depth=0),
        encoder=EncoderConfiguration(embedding_dim=4, hidden_dim=8),
    )
    rng = np.random.default_rng(0)
    many: dict[str, Any] = {
        "lines": rng.standard_normal((3, 2, 2)),
        "deep": {"noise": rng.standard_normal(3)},
    }
    embeddings = estimator.embeddings(many)
    singles = [
        {"lines": many["lines"][row], "deep": {"noise": many["deep"]["noise"][row]}}
        for row in range(3)
    ]
    together = [one.embedding for one in estimator.batch_encode_observation(singles)]
    np.testing.assert_allclose(together, embeddings, atol=1e-5)
    alone = estimator.encode_observation(singles[1])
    np.testing.assert_allclose(alone.embedding, embeddings[1], atol=1e-5)
    with pytest.raises(ConfigurationError, match=r"'deep\.noise'"):
        estimator.encode_observation({"lines": many["lines"][1]})
