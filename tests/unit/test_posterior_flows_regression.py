"""The regression in front of a flow: learned at once, exact for a linear model, never trained."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior import (
    ArrayDataset,
    EncoderConfiguration,
    FlowConfiguration,
    FlowPosterior,
    OptimiserConfiguration,
)
from ax_jax_runners.posterior.flows import build_flow
from ax_jax_runners.posterior.flows.regression import Regression

D, M = 3, 5
PLAIN = EncoderConfiguration(vector_depth=0)
SMALL = FlowConfiguration(layers=2, width=8, depth=1, bins=4)


def linear_rows(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parameters that are linear in the observation, with residuals that belong together."""
    random = np.random.default_rng(seed)
    slopes = np.random.default_rng(99).normal(size=(M, D))
    factor = np.array([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.3, 0.2, 0.8]])
    x = random.normal(size=(rows, M))
    return x @ slopes + 2.0 + random.normal(size=(rows, D)) @ factor.T, x


def test_residuals_of_other_rows_are_white():
    found = Regression.fit(*linear_rows(4_000))
    y, x = linear_rows(20_000, seed=1)
    left = np.asarray(found.remove(jnp.asarray(y.T), jnp.asarray(x.T))[0])
    assert np.abs(left.mean(axis=1)).max() < 0.1
    # A hundredth of the correlations is left in, on purpose.
    assert np.abs(np.cov(left) - np.eye(D)).max() < 0.05


def test_the_way_back_and_the_slope_are_those_of_the_map():
    found = Regression.fit(*linear_rows(500))
    y, x = (jnp.asarray(part[:7], jnp.float32) for part in linear_rows(7, seed=2))
    left, log_det = found.remove(y.T, x.T)
    again, back = found.restore(left, x.T)
    np.testing.assert_allclose(again, y.T, atol=2e-5)
    np.testing.assert_allclose(log_det, -back)
    slopes = jax.jacfwd(lambda row: found.remove(row, x[0])[0])(y[0])
    np.testing.assert_allclose(jnp.linalg.slogdet(slopes)[1], log_det, rtol=1e-5)
    np.testing.assert_allclose(found.remove(y[0], x[0])[0], left[:, 0], atol=1e-5)


def test_more_numbers_than_rows_are_regressed_on_without_learning_them_by_heart():
    random = np.random.default_rng(3)
    x = random.normal(size=(60, 200))
    y = x[:, :1] * 3.0 + random.normal(size=(60, 1))
    found = Regression.fit(y, x)
    other = random.normal(size=(2_000, 200))
    truth = other[:, :1] * 3.0 + random.normal(size=(2_000, 1))
    left = found.remove(jnp.asarray(truth.T), jnp.asarray(other.T))[0]
    assert np.isfinite(left).all()
    # Not narrower than the truth: unseen rows are within what the rows seen promised.
    assert np.std(left) < 2.0


@pytest.mark.parametrize("spoiled", ["constant", "repeated", "exact", "one row"])
def test_rows_that_tell_little_still_give_a_map(spoiled):
    y, x = linear_rows(300)
    if spoiled == "constant":
        x[:, 0], y[:, 1] = 4.0, 7.0
    elif spoiled == "repeated":
        x[:, 1] = x[:, 0]
    elif spoiled == "exact":
        y = x[:, :D] * 2.0
    else:
        y, x = y[:1], x[:1]
    found = Regression.fit(y, x)
    left, log_det = found.remove(jnp.asarray(y.T), jnp.asarray(x.T))
    assert np.isfinite(left).all()
    assert np.isfinite(log_det)
    np.testing.assert_allclose(found.restore(left, jnp.asarray(x.T))[0], y.T, atol=1e-3)


def test_an_observation_far_away_moves_it_no_further_than_five_deviations():
    found = Regression.fit(*linear_rows(500))
    y = jnp.zeros(D)
    far, edge = (found.remove(y, jnp.full(M, size))[0] for size in (1e6, 5.0))
    np.testing.assert_array_equal(far, edge)


def test_a_new_flow_with_it_is_the_base():
    flow = build_flow(jax.random.key(0), SMALL, dimension=D, embedding_dim=M)
    assert flow.regression is not None
    y, embedding = jnp.arange(3.0), jnp.ones(M)
    u, log_det = flow.to_base(y, embedding)
    np.testing.assert_allclose(u, y, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)


def fit(
    encoder: EncoderConfiguration = PLAIN, *, epochs: int = 2, regression: bool = True
) -> FlowPosterior:
    y, x = linear_rows(400)
    flow = dataclasses.replace(SMALL, regression=regression)
    optimiser = OptimiserConfiguration(epochs=epochs, batch_size=64)
    estimator = FlowPosterior(
        D, parameter_space="physical", flow=flow, encoder=encoder, optimiser=optimiser, seed=1
    )
    estimator.fit(ArrayDataset(y, x))
    return estimator


def test_a_linear_model_is_learned_before_the_first_epoch():
    # Entropy of the residuals: the least loss that there is.
    exact = 1.5 * np.log(2 * np.pi * np.e) + np.log(0.4)
    found = fit().training_artifacts
    assert found is not None
    # Networks alone are more than two nats away then.
    assert found.validation_metrics["validation_nll"] < exact + 0.6


def test_no_step_of_the_optimiser_changes_it():
    estimator = fit()
    weights = estimator.density.weights
    assert jax.tree.leaves(weights.trainable.flow.regression) == []
    assert np.abs(weights.fixed.flow.regression.slopes).max() > 0.1
    longer = fit(epochs=5)
    np.testing.assert_array_equal(
        weights.fixed.flow.regression.slopes, longer.density.weights.fixed.flow.regression.slopes
    )


@pytest.mark.slow
def test_behind_a_network_there_is_none():
    behind = fit(EncoderConfiguration(vector_depth=1, hidden_dim=8, embedding_dim=4))
    assert behind.density.weights.fixed.flow.regression is None


def test_a_saved_one_comes_back(tmp_path):
    estimator = fit()
    draws = estimator.draw(np.ones((1, M)), 50, seed=3)
    estimator.save(tmp_path / "it")
    loaded = FlowPosterior.load(tmp_path / "it")
    np.testing.assert_array_equal(loaded.draw(np.ones((1, M)), 50, seed=3), draws)


def test_metadata_of_before_describe_a_flow_without_it(tmp_path):
    fit(regression=False).save(tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    del metadata["estimator_config"]["flow"]["regression"]
    assert not FlowPosterior.from_serialized_metadata(metadata).flow.regression


def test_it_is_a_flag():
    with pytest.raises(ConfigurationError, match="regression"):
        FlowConfiguration(regression="yes")  # pyright: ignore[reportArgumentType]
