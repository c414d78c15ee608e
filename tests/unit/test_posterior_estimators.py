"""Estimators are asked: draws, densities and embeddings, in every space and with every seed."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners.errors import ArtifactExists, ConfigurationError, InvalidTheta
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior import (
    ArrayDataset,
    EncodedObservation,
    EncoderConfiguration,
    FlowConfiguration,
    FlowPosterior,
    OptimiserConfiguration,
    PersistentPosteriorEstimator,
)
from ax_jax_runners.posterior.amortised import AmortisedEstimator
from ax_jax_runners.posterior.drawing import Density, key_data
from ax_jax_runners.posterior.inferring import InferringEstimator
from ax_jax_runners.posterior.training.program import Weights
from ax_jax_runners.store import Store

SPACES = ("physical", "cube", "unconstrained")
PRIOR = ParameterSpace(
    [Parameter("angle", lower=-1.0, upper=2.0), Parameter("size", dist.LogNormal(0.3, 0.5))]
)
ROWS = 600
LIMIT = float(np.finfo(np.float32).max)


def simulations(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = PRIOR.icdf(rng.random((rows, 2)))
    x = np.stack([theta[:, 0] + theta[:, 1], theta[:, 0] * theta[:, 1], theta[:, 1]], axis=1)
    return theta, x + 0.1 * rng.standard_normal(x.shape)


def make(space: str = "unconstrained", **changes: Any) -> FlowPosterior:
    given: dict[str, Any] = {
        "flow": FlowConfiguration(family="affine", layers=2, width=16, depth=1),
        "encoder": EncoderConfiguration(embedding_dim=6, hidden_dim=16),
        "optimiser": OptimiserConfiguration(epochs=15, batch_size=64, learning_rate=5e-3),
        "prior": PRIOR,
        **changes,
    }
    return FlowPosterior(2, parameter_space=space, **given)


@pytest.fixture(scope="module")
def data() -> ArrayDataset:
    return ArrayDataset(*simulations(), space=PRIOR)


@pytest.fixture(scope="module")
def estimators(data: ArrayDataset) -> dict[str, FlowPosterior]:
    """Trained ones, one for each space, by one compiled program."""
    found = {}
    for space in SPACES:
        found[space] = make(space)
        found[space].fit(data)
    return found


@pytest.fixture(scope="module")
def estimator(estimators: dict[str, FlowPosterior]) -> FlowPosterior:
    return estimators["unconstrained"]


@pytest.fixture(scope="module")
def seen() -> np.ndarray:
    return simulations(5, seed=1)[1]


def doctored(estimator: FlowPosterior, value: float) -> FlowPosterior:
    """The same estimator, whose flow shifts by another number."""
    weights = estimator.density.weights

    def spoil(leaf: np.ndarray) -> np.ndarray:
        return np.full_like(leaf, value)

    flow = jax.tree.map(spoil, weights.trainable.flow)
    trainable = dataclasses.replace(weights.trainable, flow=flow)
    found = make(estimator.parameter_space)
    for name in ("schema", "preprocessing", "coordinates", "task_fingerprint"):
        setattr(found, name, getattr(estimator, name))
    found._density = Density(estimator.density.recipe, Weights(trainable, weights.fixed))
    return found


# ---------------------------------------------------------------------- what there is


@pytest.mark.parametrize(
    "kind", [PersistentPosteriorEstimator, InferringEstimator, AmortisedEstimator]
)
def test_an_abstract_estimator_cannot_be_made(kind: type) -> None:
    with pytest.raises(TypeError) as caught:
        kind(2)
    missing = kind.__abstractmethods__  # pyright: ignore[reportAttributeAccessIssue]
    assert missing
    assert all(name in str(caught.value) for name in missing)


# ---------------------------------------------------------------------- observations


def test_one_observation_is_encoded_as_in_a_batch(
    estimator: FlowPosterior, seen: np.ndarray
) -> None:
    alone = [estimator.encode_observation(row) for row in seen]
    together = estimator.batch_encode_observation(list(seen))
    assert len(together) == len(seen)
    assert estimator.batch_encode_observation([]) == []
    for one, other in zip(alone, together, strict=True):
        assert one.embedding.shape == (6,)
        assert one.embedding.dtype == np.float32
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-5)
        assert one.metadata == other.metadata
        assert one.metadata["blocks"] == {"vector": "vector"}
    differences = np.ptp([one.embedding for one in alone], axis=0)
    assert differences.max() > 0.1


@pytest.mark.parametrize("observation", [np.zeros(4), {"vector": np.zeros(3)}, [np.nan, 0.0, 0.0]])
def test_an_observation_of_another_form_is_refused(
    estimator: FlowPosterior, observation: Any
) -> None:
    with pytest.raises(ConfigurationError, match="give|leave|mask|finite"):
        estimator.encode_observation(observation)


def test_what_another_estimator_encoded_is_refused(
    estimator: FlowPosterior, seen: np.ndarray
) -> None:
    encoded = estimator.encode_observation(seen[0])
    assert encoded.metadata["task_fingerprint"] == estimator.task_fingerprint is not None
    foreign = EncodedObservation(encoded.embedding, {"task_fingerprint": "f00"})
    for ask in (
        lambda: estimator.sample_posterior(foreign, 2),
        lambda: estimator.log_prob(foreign, [0.0, 0.0]),
    ):
        with pytest.raises(ConfigurationError, match="'f00'.*encode it with this one"):
            ask()
    # Of an embedding alone nothing is known, and it is taken.
    plain = EncodedObservation(encoded.embedding)
    same = estimator.sample_posterior(plain, 5).samples
    np.testing.assert_array_equal(same, estimator.sample_posterior(encoded, 5).samples)


# ---------------------------------------------------------------------- draws


def test_a_seed_decides_the_draws(estimator: FlowPosterior, seen: np.ndarray) -> None:
    encoded = estimator.encode_observation(seen[0])
    own = estimator.sample_posterior(encoded, 50)
    assert own.samples.shape == (50, 2)
    assert own.samples.dtype == np.float64
    assert own.metadata == {"space": "unconstrained", "seed": 0, "non_finite": 0}
    again = estimator.sample_posterior(encoded, 50, 0).samples
    np.testing.assert_array_equal(own.samples, again)
    # Draw number i is the same however many there are.
    np.testing.assert_array_equal(estimator.sample_posterior(encoded, 7).samples, again[:7])
    seeds = (1, -1, 1 << 32, 1 << 40, (1 << 64) - 1 - (1 << 32))
    others = [estimator.sample_posterior(encoded, 50, seed).samples for seed in seeds]
    for number, one in enumerate(others):
        for other in (again, *others[:number]):
            assert not np.intersect1d(one, other).size


@pytest.mark.parametrize("seed", [1.5, True, "1", 1 << 64, -(1 << 63) - 1])
def test_what_is_no_seed_is_refused(estimator: FlowPosterior, seen: np.ndarray, seed: Any) -> None:
    with pytest.raises(ConfigurationError, match="give a whole number of at most 64 bits"):
        estimator.sample_posterior(estimator.encode_observation(seen[0]), 2, seed)


def test_a_batch_is_drawn_as_its_rows(estimator: FlowPosterior, seen: np.ndarray) -> None:
    embeddings = estimator.embeddings(seen)
    drawn = estimator.batch_sample_posterior(embeddings, 40, 3)
    assert drawn.shape == (5, 40, 2)
    assert drawn.dtype == np.float64
    keys = key_data(3, rows=5)
    for row in range(5):
        alone = estimator.density.sample(embeddings[row : row + 1], 40, keys[row : row + 1])
        np.testing.assert_allclose(drawn[row], alone[0], atol=1e-6)
    # Equal observations have draws of their own.
    twins = estimator.batch_sample_posterior(embeddings[[0, 0]], 40, 3)
    assert not np.intersect1d(twins[0], twins[1]).size
    np.testing.assert_allclose(twins[0], drawn[0], atol=1e-6)
    assert estimator.batch_sample_posterior(embeddings[:0], 40).shape == (0, 40, 2)


@pytest.mark.parametrize("space", SPACES)
def test_draws_of_a_space_are_those_of_the_others(
    estimators: dict[str, FlowPosterior], seen: np.ndarray, space: str
) -> None:
    """One set of draws, seen in the estimator's own space and in physical units."""
    estimator = estimators[space]
    encoded = estimator.encode_observation(seen[0])
    own = estimator.sample_posterior(encoded, 500).samples
    physical = estimator.sample_posterior(encoded, 500, space="physical")
    assert physical.metadata["space"] == "physical"
    cube = {
        "physical": lambda: PRIOR.cdf(own),
        "cube": lambda: own,
        "unconstrained": lambda: 1.0 / (1.0 + np.exp(-own)),
    }[space]()
    if space == "physical":
        np.testing.assert_array_equal(own, physical.samples)
    else:
        np.testing.assert_allclose(PRIOR.cdf(physical.samples), cube, atol=1e-12)
        assert ((cube > 0) & (cube < 1)).all()
        assert np.isfinite(PRIOR.log_prior(physical.samples)).all()
    drawn = estimator.draw(seen[:1], 500, seed=0)
    assert drawn.shape == (1, 500, 2)
    # It has learned something: the sum of the parameters is better known than before.
    assert np.std(drawn[0].sum(axis=1)) < 0.8 * np.std(simulations()[0].sum(axis=1))


@pytest.mark.parametrize("space", SPACES)
def test_draws_that_are_not_finite_are_counted_and_clamped_on_request(
    estimators: dict[str, FlowPosterior],
    seen: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    space: str,
) -> None:
    broken = doctored(estimators[space], np.nan)
    encoded = broken.encode_observation(seen[0])
    with caplog.at_level(logging.WARNING, "ax_jax_runners"):
        found = broken.sample_posterior(encoded, 8)
    assert "8 of 8 draws are not finite" in caplog.text
    assert found.metadata["non_finite"] == 8
    assert np.isnan(found.samples).all()
    for asked in (None, "physical"):
        clamped = broken.sample_posterior(encoded, 8, space=asked, clamp_non_finite=True)
        assert clamped.metadata["non_finite"] == 8
        assert np.isfinite(clamped.samples).all()
        assert np.abs(clamped.samples).max() <= LIMIT
        if space != "physical" and asked == "physical":
            low, high = PRIOR.icdf(np.array([[0.0, 0.0], [1.0, 1.0]]))
            assert (low <= clamped.samples).all()
            assert (clamped.samples <= high).all()
    rows = broken.embeddings(seen)
    assert np.isnan(broken.batch_sample_posterior(rows, 3)).all()
    assert np.isfinite(broken.batch_sample_posterior(rows, 3, clamp_non_finite=True)).all()


@pytest.mark.parametrize("space", SPACES)
def test_infinite_draws_are_clamped_to_the_largest_numbers_or_the_edge(
    estimators: dict[str, FlowPosterior], seen: np.ndarray, space: str
) -> None:
    broken = doctored(estimators[space], -1e20)
    encoded = broken.encode_observation(seen[0])
    found = broken.sample_posterior(encoded, 8, clamp_non_finite=True)
    assert found.metadata["non_finite"] == 8
    if space == "cube":
        assert np.isin(found.samples, (0.0, 1.0)).all()
    else:
        # What is finite stays as it is.
        assert (np.abs(found.samples) > 1e37).any(axis=1).all()
        assert np.abs(found.samples).max() <= LIMIT
    if space != "physical":
        physical = broken.sample_posterior(encoded, 8, space="physical", clamp_non_finite=True)
        low, high = PRIOR.icdf(np.array([[0.0, 0.0], [1.0, 1.0]]))
        assert ((physical.samples == low) | (physical.samples == high)).all()
    far = doctored(estimators[space], -1e6).sample_posterior(encoded, 8, space="physical")
    assert far.metadata["non_finite"] == 0
    assert np.isfinite(far.samples).all()


def test_one_draw_that_is_not_finite_leaves_the_others(
    estimator: FlowPosterior, seen: np.ndarray
) -> None:
    embeddings = estimator.embeddings(seen)
    embeddings[2] = np.nan
    drawn = estimator.batch_sample_posterior(embeddings, 4)
    sound = np.isfinite(drawn).all(axis=(1, 2))
    assert sound.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(
        drawn[0], estimator.batch_sample_posterior(estimator.embeddings(seen), 4)[0]
    )


@pytest.mark.parametrize("n", [0, -1, 2.0, True, None])
def test_a_number_of_draws_that_is_none_is_refused(
    estimator: FlowPosterior, seen: np.ndarray, n: Any
) -> None:
    for ask in (
        lambda: estimator.sample_posterior(estimator.encode_observation(seen[0]), n),
        lambda: estimator.batch_sample_posterior(estimator.embeddings(seen), n),
        lambda: estimator.draw(seen, n),
    ):
        with pytest.raises(ConfigurationError, match="give a whole number from 1"):
            ask()


@pytest.mark.parametrize("shape", [(6,), (5, 7), (5, 5), (1, 5, 6), ()])
def test_embeddings_of_another_shape_are_refused(
    estimator: FlowPosterior, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigurationError, match=r"give \(batch, 6\)"):
        estimator.batch_sample_posterior(np.zeros(shape), 2)
    if shape != (6,):
        encoded = EncodedObservation(np.zeros(shape))
        with pytest.raises(ConfigurationError, match=r"give \(6\)"):
            estimator.sample_posterior(encoded, 2)
        with pytest.raises(ConfigurationError, match=r"give \(6\)"):
            estimator.log_prob(encoded, [0.0, 0.0])


# ---------------------------------------------------------------------- densities


def exact_log_densities(
    estimator: FlowPosterior, embedding: Any, values: Any, asked: str
) -> np.ndarray:
    """(B,) by the determinant of one autodiff Jacobian all the way from values to the base."""
    uniform, normal = dist.Uniform(-1.0, 2.0), dist.LogNormal(0.3, 0.5)
    coordinates, kind = estimator.coordinates, estimator.parameter_space

    def to_flow(value: Any) -> Any:
        if kind == "physical":
            return (value - coordinates.shift) / coordinates.scale
        if asked == "unconstrained":
            return value
        cube = value
        if asked == "physical":
            cube = jnp.stack([uniform.cdf(value[0]), normal.cdf(value[1])])
        return jnp.log(cube) - jnp.log1p(-cube)

    with jax.enable_x64(True):
        # In double precision, the Jacobian is as good as exact.
        flow = jax.tree.map(jnp.asarray, estimator.model.flow)
        arrays, static = eqx.partition(flow, eqx.is_inexact_array)
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), arrays)
        flow = eqx.combine(wide, static)
        given = jnp.asarray(embedding, jnp.float64)

        def to_base(value: Any) -> Any:
            return flow.to_base(to_flow(value), given)[0]

        def one(value: Any) -> Any:
            slope = jnp.linalg.slogdet(jax.jacfwd(to_base)(value))[1]
            return flow.base.log_prob(to_base(value)) + slope

        return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(values, jnp.float64)))


@pytest.mark.slow
@pytest.mark.parametrize("asked", [None, "physical"])
@pytest.mark.parametrize("space", SPACES)
def test_log_densities_are_those_of_a_change_of_variables(
    estimators: dict[str, FlowPosterior], seen: np.ndarray, space: str, asked: Any
) -> None:
    estimator = estimators[space]
    encoded = estimator.encode_observation(seen[1])
    values = estimator.sample_posterior(encoded, 30, space=asked).samples
    found = estimator.log_prob(encoded, values, space=asked)
    assert found.shape == (30,)
    assert found.dtype == np.float64
    wanted = exact_log_densities(estimator, encoded.embedding, values, asked or space)
    assert np.ptp(wanted) > 1.0
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    alone = estimator.log_prob(encoded, values[3], space=asked)
    assert isinstance(alone, float)
    assert alone == pytest.approx(found[3], abs=1e-5)


def test_log_densities_go_row_by_row(estimator: FlowPosterior, seen: np.ndarray) -> None:
    theta = simulations(5, seed=1)[0]
    found = estimator.log_density(seen, theta)
    assert found.shape == (5,)
    for row in range(5):
        encoded = estimator.encode_observation(seen[row])
        alone = estimator.log_prob(encoded, theta[row], space="physical")
        assert found[row] == pytest.approx(alone, abs=1e-5)
    own = estimator.log_density(
        seen, estimator.coordinates.to_flow(theta)[0], space="unconstrained"
    )
    slope = PRIOR.log_prior(theta) - dist.Logistic().log_prob(
        estimator.coordinates.to_flow(theta)[0]
    ).sum(axis=1)
    np.testing.assert_allclose(found - own, slope, atol=1e-5)


def test_there_is_no_density_outside_the_prior_or_beyond_all_numbers(
    estimators: dict[str, FlowPosterior], seen: np.ndarray
) -> None:
    for space, outside in (
        ("cube", [[1.1, 0.5], [0.5, -0.1]]),
        ("unconstrained", [[1e60, 0.0], [0.0, -np.inf]]),
        ("physical", [[1e60, 0.0], [0.0, -np.inf]]),
    ):
        estimator = estimators[space]
        encoded = estimator.encode_observation(seen[0])
        assert estimator.log_prob(encoded, np.array(outside)).tolist() == [-np.inf, -np.inf]
        if space != "physical":
            found = estimator.log_prob(encoded, [[2.5, 1.0], [0.0, -1.0]], space="physical")
            assert found.tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (4, 1)])
def test_parameters_of_another_length_are_refused(
    estimator: FlowPosterior, seen: np.ndarray, shape: tuple[int, ...]
) -> None:
    encoded = estimator.encode_observation(seen[0])
    for space in (None, "physical"):
        with pytest.raises(InvalidTheta, match="must hold the 2 values of angle, size"):
            estimator.log_prob(encoded, np.zeros(shape), space=space)


def test_parameters_that_do_not_fit_the_observations_are_refused(
    estimator: FlowPosterior, seen: np.ndarray
) -> None:
    encoded = estimator.encode_observation(seen[0])
    with pytest.raises(ConfigurationError, match=r"shape \(1, 4, 2\)"):
        estimator.log_prob(encoded, np.zeros((1, 4, 2)))
    with pytest.raises(ConfigurationError, match="3 parameter vectors for 5 observations"):
        estimator.log_density(seen, np.ones((3, 2)))
    assert estimator.log_prob(encoded, np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize("space", ["cube", "logit", 3])
def test_a_space_that_is_not_the_estimators_is_refused(
    estimator: FlowPosterior, seen: np.ndarray, space: Any
) -> None:
    encoded = estimator.encode_observation(seen[0])
    for ask in (
        lambda: estimator.sample_posterior(encoded, 2, space=space),
        lambda: estimator.batch_sample_posterior(encoded.embedding[None], 2, space=space),
        lambda: estimator.log_prob(encoded, [0.0, 0.0], space=space),
        lambda: estimator.draw(seen, 2, space=space),
        lambda: estimator.log_density(seen, np.zeros((5, 2)), space=space),
    ):
        with pytest.raises(ConfigurationError, match="give 'physical' or the estimator's own"):
            ask()


# ---------------------------------------------------------------------- before training


def test_an_untrained_estimator_answers_with_its_first_weights(
    seen: np.ndarray, tmp_path: Path
) -> None:
    estimator = make(seed=4)
    before = estimator.batch_sample_posterior(np.zeros((1, 6)), 200)[0]
    # A new flow is its base.
    assert np.abs(before.mean(axis=0)).max() < 0.3
    assert np.abs(before.std(axis=0) - 1).max() < 0.2
    encoded = estimator.encode_observation(seen[0])
    assert encoded.embedding.shape == (6,)
    samples = estimator.sample_posterior(encoded, 20).samples
    found = estimator.log_prob(encoded, samples)
    np.testing.assert_allclose(found, dist.Normal().log_prob(samples).sum(axis=1), atol=1e-4)
    assert np.isfinite(estimator.log_density(seen, PRIOR.icdf(np.full((5, 2), 0.5)))).all()
    same, other = make(seed=4), make(seed=5)
    np.testing.assert_array_equal(same.encode_observation(seen[0]).embedding, encoded.embedding)
    assert (other.encode_observation(seen[0]).embedding != encoded.embedding).any()
    with pytest.raises(ConfigurationError, match="shape|length|numbers"):
        estimator.encode_observation(np.zeros(4))
    estimator.save(tmp_path / "untrained")
    loaded = FlowPosterior.load(tmp_path / "untrained")
    np.testing.assert_array_equal(loaded.log_prob(encoded, samples), found)
    np.testing.assert_array_equal(loaded.encode_observation(seen[0]).embedding, encoded.embedding)


def test_without_a_prior_nothing_is_taken_for_physical(seen: np.ndarray) -> None:
    for space in ("cube", "unconstrained"):
        estimator = make(space, prior=None)
        encoded = estimator.encode_observation(seen[0])
        assert estimator.sample_posterior(encoded, 3).samples.shape == (3, 2)
        assert np.isfinite(estimator.log_prob(encoded, [0.4, 0.6]))
        for ask in (
            lambda e=estimator, o=encoded: e.sample_posterior(o, 3, space="physical"),
            lambda e=estimator, o=encoded: e.log_prob(o, [0.4, 0.6], space="physical"),
            lambda e=estimator: e.draw(seen, 3),
            lambda e=estimator: e.log_density(seen, np.ones((5, 2))),
        ):
            with pytest.raises(ConfigurationError, match="give prior=ParameterSpace"):
                ask()
    physical = make("physical", prior=None)
    assert physical.draw(seen, 3).shape == (5, 3, 2)


def test_a_data_set_that_does_not_fit_is_refused() -> None:
    theta, x = simulations(20)
    with pytest.raises(ConfigurationError, match="2 parameters .*parameter_dim is 3"):
        FlowPosterior(3, parameter_space="physical").fit(ArrayDataset(theta, x))
    with pytest.raises(ConfigurationError, match="cube space needs the prior"):
        make("cube", prior=None).fit(ArrayDataset(theta, x))
    with pytest.raises(ConfigurationError, match="without iter_batches"):
        make().fit([theta, x])


# ---------------------------------------------------------------------- there and back


_READ = """
import json, sys
import numpy as np
from ax_jax_runners.posterior import PersistentPosteriorEstimator
estimator = PersistentPosteriorEstimator.load(sys.argv[1])
x, theta = np.load(sys.argv[2]), np.load(sys.argv[3])
encoded = estimator.encode_observation(x)
told = {
    "family": type(estimator).__name__,
    "log_prob": [value.hex() for value in estimator.log_prob(encoded, theta).tolist()],
    "draws": [value.hex() for value in estimator.draw(x[None], 5).ravel().tolist()],
}
print(json.dumps(told))
"""


def test_another_process_loads_the_same_bits(
    estimator: FlowPosterior, seen: np.ndarray, tmp_path: Path
) -> None:
    estimator.save(tmp_path / "saved")
    encoded = estimator.encode_observation(seen[0])
    theta = estimator.sample_posterior(encoded, 25).samples
    np.save(tmp_path / "x.npy", seen[0])
    np.save(tmp_path / "theta.npy", theta)
    arguments = [str(tmp_path / name) for name in ("saved", "x.npy", "theta.npy")]
    done = subprocess.run(
        [sys.executable, "-c", _READ, *arguments], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["family"] == "FlowPosterior"
    here = [value.hex() for value in estimator.log_prob(encoded, theta).tolist()]
    assert told["log_prob"] == here
    assert told["draws"] == [value.hex() for value in estimator.draw(seen[:1], 5).ravel().tolist()]


def test_metadata_alone_make_an_untrained_estimator(
    estimator: FlowPosterior, tmp_path: Path, seen: np.ndarray
) -> None:
    estimator.save(tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata["schema_version"] == "0.2.0"
    assert metadata["estimator_family"] == "flow"
    rebuilt = FlowPosterior.from_serialized_metadata(metadata)
    assert (rebuilt.flow, rebuilt.encoder, rebuilt.settings) == (
        estimator.flow,
        estimator.encoder,
        estimator.settings,
    )
    assert rebuilt.training_artifacts == estimator.training_artifacts
    assert (rebuilt.schema, rebuilt.preprocessing) == (estimator.schema, estimator.preprocessing)
    assert rebuilt.observation_schema == estimator.observation_schema != {}
    assert rebuilt.preprocessing_metadata_payload == estimator.preprocessing_metadata_payload
    assert rebuilt.task_fingerprint == estimator.task_fingerprint
    for ours, theirs in zip(
        rebuilt.coordinates.to_flow([0.3, 0.4]),
        estimator.coordinates.to_flow([0.3, 0.4]),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    # Weights are not among the metadata.
    fresh = make(seed=rebuilt.seed).encode_observation(seen[0])
    assert (rebuilt.encode_observation(seen[0]).embedding != fresh.embedding).any()
    rebuilt.load_backend_state(tmp_path / metadata["state"]["folder"])
    np.testing.assert_array_equal(rebuilt.draw(seen, 3), estimator.draw(seen, 3))


def test_the_registry_of_a_store_gives_back_what_was_saved(
    estimator: FlowPosterior, seen: np.ndarray, tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'campaigns.db'}")
    try:
        registry = store.artifact_registry()
        estimator.save(tmp_path / "one", artifact_registry=registry, artifact_version="1.2.0")
        record = estimator.artifact_metadata
        assert record is not None
        assert record.name == "flow"
        by_name = registry.find("flow", "1.2.0")
        assert by_name == registry.find("flow") == registry.find_digest(record.digest)
        assert by_name.task_fingerprint == estimator.task_fingerprint
        assert estimator.training_artifacts is not None
        measured = estimator.training_artifacts.validation_metrics["validation_nll"]
        assert by_name.metrics["validation_nll"] == measured
        folder = registry.fetch(record.digest, tmp_path / "fetched")
        loaded = PersistentPosteriorEstimator.load(folder)
        assert isinstance(loaded, FlowPosterior)
        np.testing.assert_array_equal(loaded.draw(seen, 5), estimator.draw(seen, 5))
        with pytest.raises(ArtifactExists, match=r"give this one a new version"):
            make().save(tmp_path / "two", artifact_registry=registry, artifact_version="1.2.0")
    finally:
        store.close()
