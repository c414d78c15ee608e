"""The flat keywords: their names and defaults, and what each of them changes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior import (
    ArrayDataset,
    ConditionalAutoregressiveFlowPosterior,
    ConditionalFlowPosterior,
    ConditionalNeuralAutoregressiveFlowPosterior,
    ConditionalSplineFlowPosterior,
    FlowMatchingPosterior,
    ObservationBlock,
    PersistentPosteriorEstimator,
)
from ax_jax_runners.posterior.encoders import ObservationSchema
from ax_jax_runners.posterior.objectives import EvidenceLowerBound, NeuralPosterior
from ax_jax_runners.posterior.training.program import training_program
from tests.unit.posterior_simulations import SMALL_FIELD, gaussian_simulations

FLOW_SIGNATURE: dict[str, Any] = {
    "parameter_dim": inspect.Parameter.empty,
    "embedding_dim": 128,
    "num_coupling_layers": 4,
    "hidden_dim": 128,
    "conditioner_depth": 2,
    "autoregressive_transform_units": 16,
    "neural_autoregressive_min_slope": 0.001,
    "neural_autoregressive_min_residual": 0.05,
    "neural_autoregressive_inverse_bisection_steps": 48,
    "learning_rate": 0.001,
    "batch_size": 32,
    "num_epochs": 5,
    "parameter_space": "unconstrained",
    "flow_family": "spline",
    "num_spline_bins": 8,
    "spline_bound": 10.0,
    "base_distribution": "gaussian",
    "use_base_affine": False,
    "training_objective": "npe",
    "early_stopping_patience": None,
    "early_stopping_min_delta": 0.0,
    "checkpoint_directory": None,
    "checkpoint_backend": "auto",
    "resume_from_checkpoint": False,
    "gradient_clip_norm": 1.0,
    "embedding_noise_std": 0.0,
    "embedding_noise_min_scale": 0.0,
    "aux_scale_loss_weight": 0.0,
    "aux_parameter_loss_weight": 0.0,
    "parameter_noise_floor": 0.0,
    "spline_small_bin_regularization_weight": None,
    "spline_min_bin_ratio_target": 0.2,
    "spline_entropy_regularization_weight": 0.0,
    "spline_derivative_regularization_weight": 0.0,
    "spline_entropy_floor": 0.6,
    "spline_min_derivative_target": 0.25,
    "spline_max_derivative_target": 5.0,
    "weight_decay": 0.0,
    "use_cosine_schedule": False,
    "warmup_fraction": 0.02,
    "warmup_epochs": None,
    "min_learning_rate": 1e-06,
    "lr_schedule_total_epochs": None,
    "stable_inverse_forward_max_abs_error_threshold": 0.0001,
    "stable_inverse_forward_logdet_closure_max_abs_error_threshold": 0.0001,
    "stable_cube_edge_hit_rate_threshold": 0.0,
    "spectrum_encoder_type": "conv1d",
    "n_wavelengths": 233,
    "spectrum_embedding_dim": 64,
    "photometry_embedding_dim": 64,
    "encoder_hidden_dim": None,
    "encoder_patch_size": 32,
    "seed": 0,
    "task_metadata": None,
    "verbose_diagnostics": False,
    "diagnostics_output_directory": None,
    "diagnostics_plot_interval": 1,
}
MATCHING_SIGNATURE: dict[str, Any] = {
    "parameter_dim": inspect.Parameter.empty,
    "embedding_dim": 128,
    "hidden_dim": 128,
    "num_velocity_layers": 3,
    "learning_rate": 0.001,
    "batch_size": 32,
    "num_epochs": 5,
    "parameter_space": "unconstrained",
    "integration_steps": 32,
    "early_stopping_patience": None,
    "early_stopping_min_delta": 0.0,
    "checkpoint_directory": None,
    "checkpoint_backend": "auto",
    "resume_from_checkpoint": False,
    "seed": 0,
    "task_metadata": None,
}

ONE_FAMILY = {
    "spline": ConditionalSplineFlowPosterior,
    "autoregressive": ConditionalAutoregressiveFlowPosterior,
    "neural_autoregressive": ConditionalNeuralAutoregressiveFlowPosterior,
}

# ---------------------------------------------------------------------- signatures


@pytest.mark.parametrize(
    ("kind", "signature"),
    [
        (ConditionalFlowPosterior, FLOW_SIGNATURE),
        (FlowMatchingPosterior, MATCHING_SIGNATURE),
    ],
)
def test_signatures_are_the_original_ones(kind: type, signature: dict[str, Any]) -> None:
    found = inspect.signature(kind).parameters
    flat = {
        name: parameter.default
        for name, parameter in found.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(flat.items()) == list(signature.items())
    assert set(found) - set(flat) == {"prior"}
    assert found["prior"].kind is inspect.Parameter.KEYWORD_ONLY
    made = kind(3)
    for name, default in signature.items():
        expected = {"parameter_dim": 3, "task_metadata": {}}.get(name, default)
        assert getattr(made, name) == expected


def test_a_fit_takes_what_the_original_takes() -> None:
    found = inspect.signature(ConditionalFlowPosterior.fit).parameters
    assert list(found)[:4] == ["self", "dataset", "elbo_log_likelihood_fn", "elbo_num_samples"]
    assert (found["elbo_log_likelihood_fn"].default, found["elbo_num_samples"].default) == (None, 1)
    batch = inspect.signature(ConditionalFlowPosterior.batch_sample_posterior).parameters
    assert list(batch)[:4] == ["self", "embeddings", "n_samples", "base_seed"]
    assert batch["base_seed"].default == 0
    alone = inspect.signature(FlowMatchingPosterior.sample_posterior).parameters
    assert list(alone)[:4] == ["self", "observation", "n_samples", "seed"]
    saved = inspect.signature(ConditionalFlowPosterior.save).parameters
    assert list(saved) == ["self", "output_directory", "artifact_registry", "artifact_version"]
    assert saved["artifact_version"].default == "0.1.0"


@pytest.mark.parametrize("family", ONE_FAMILY)
def test_convenience_classes_have_their_family(family: str) -> None:
    kind = ONE_FAMILY[family]
    made = kind(2, 24, hidden_dim=16)
    assert (made.flow_family, made.effective_flow_family) == (family, family)
    assert (made.embedding_dim, made.hidden_dim, made.parameter_dim) == (24, 16, 2)
    assert made.recipe(None) == ConditionalFlowPosterior(
        2, 24, hidden_dim=16, flow_family=family
    ).recipe(None)
    assert made.estimator_family == "conditional_flow"
    assert kind(2, flow_family=family).effective_flow_family == family
    for other in ("affine", *ONE_FAMILY, "neither"):
        if other != family:
            with pytest.raises(ConfigurationError, match=f"{kind.__name__} has the flow family"):
                kind(2, flow_family=other)
    with pytest.raises(TypeError, match="unexpected keyword"):
        kind(2, flow="spline")


# ---------------------------------------------------------------------- keywords: the network


def blocks(row: int = 0) -> list[ObservationBlock]:
    rng = np.random.default_rng(row)
    return [
        ObservationBlock(
            "flux", "spectrum", rng.standard_normal(12), np.linspace(0.1, 0.9, 12), np.arange(12.0)
        ),
        ObservationBlock("bands", "photometry", rng.standard_normal(3), np.full(3, 0.2)),
    ]


SCHEMA = ObservationSchema.of([blocks()])
SMALL: dict[str, Any] = {
    "embedding_dim": 5,
    "num_coupling_layers": 2,
    "hidden_dim": 8,
    "conditioner_depth": 1,
    "autoregressive_transform_units": 4,
    "num_spline_bins": 4,
    "n_wavelengths": 12,
    "spectrum_embedding_dim": 6,
    "photometry_embedding_dim": 3,
    "encoder_patch_size": 4,
}


def shapes(estimator: Any) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(weights(estimator))]


def weights(estimator: Any) -> Any:
    model = estimator.recipe(SCHEMA).build(jax.random.key(0, impl="threefry2x32"))
    return eqx.filter(model, eqx.is_array)


def traced(method: str) -> Callable[[Any], str]:
    """Return what tells the computation of a method of the model: all its operations in text."""

    def operations(estimator: Any) -> str:
        with jax.enable_x64(False):
            key = jax.random.key(0, impl="threefry2x32")
            model = estimator.recipe(SCHEMA).build(key)
            y = jnp.zeros(estimator.parameter_dim)
            embedding = jnp.zeros(model.encoder.embedding_dim)
            if method == "sample":
                return str(jax.make_jaxpr(model.sample)(key, embedding))
            return str(jax.make_jaxpr(model.log_prob)(y, embedding))

    return operations


MONOTONE = {"flow_family": "neural_autoregressive"}
PATCH = {"spectrum_encoder_type": "patch"}
#: Keyword, two values, what else is given, what differs.
STRUCTURE: list[tuple[str, Any, Any, dict[str, Any], Callable[[Any], Any]]] = [
    ("parameter_dim", 2, 3, {}, shapes),
    ("embedding_dim", 5, 6, {}, shapes),
    ("num_coupling_layers", 2, 3, {}, shapes),
    ("hidden_dim", 8, 9, {"encoder_hidden_dim": 8}, shapes),
    ("encoder_hidden_dim", 8, 9, {}, shapes),
    ("conditioner_depth", 1, 2, {}, shapes),
    ("autoregressive_transform_units", 4, 5, MONOTONE, shapes),
    ("neural_autoregressive_min_slope", 0.001, 0.2, MONOTONE, traced("log_prob")),
    ("neural_autoregressive_min_residual", 0.05, 0.2, MONOTONE, traced("log_prob")),
    ("neural_autoregressive_inverse_bisection_steps", 48, 20, MONOTONE, traced("sample")),
    ("flow_family", "spline", "affine", {}, shapes),
    ("num_spline_bins", 4, 5, {}, shapes),
    ("spline_bound", 10.0, 3.0, {}, traced("log_prob")),
    ("base_distribution", "gaussian", "logistic", {}, traced("sample")),
    ("base_distribution", "gaussian", "student_t", {}, traced("log_prob")),
    ("use_base_affine", False, True, {}, shapes),
    ("aux_scale_loss_weight", 0.0, 0.1, {}, shapes),
    ("aux_parameter_loss_weight", 0.0, 0.1, {}, shapes),
    ("spectrum_encoder_type", "conv1d", "patch", {}, shapes),
    ("spectrum_embedding_dim", 6, 7, {}, shapes),
    ("photometry_embedding_dim", 3, 4, {}, shapes),
    ("encoder_patch_size", 4, 6, PATCH, shapes),
]
STRUCTURE_OF_FIELD: list[tuple[str, Any, Any, dict[str, Any], Callable[[Any], Any]]] = [
    ("parameter_dim", 2, 3, {}, shapes),
    ("embedding_dim", 4, 5, {}, shapes),
    ("hidden_dim", 16, 17, {}, shapes),
    ("num_velocity_layers", 2, 3, {}, shapes),
    ("integration_steps", 4, 5, {}, traced("sample")),
    ("integration_steps", 4, 5, {}, traced("log_prob")),
]


@pytest.mark.parametrize(("keyword", "one", "other", "given", "of"), STRUCTURE)
def test_a_keyword_of_the_flow_changes_the_network(
    keyword: str, one: Any, other: Any, given: dict[str, Any], of: Callable[[Any], Any]
) -> None:
    common = {"parameter_dim": 2, **SMALL, **given}
    found = [of(ConditionalFlowPosterior(**{**common, keyword: value})) for value in (one, other)]
    assert found[0] != found[1]
    assert found[0] == of(ConditionalFlowPosterior(**{**common, keyword: one}))


@pytest.mark.parametrize(("keyword", "one", "other", "given", "of"), STRUCTURE_OF_FIELD)
def test_a_keyword_of_the_field_changes_the_network(
    keyword: str, one: Any, other: Any, given: dict[str, Any], of: Callable[[Any], Any]
) -> None:
    common = {"parameter_dim": 2, **SMALL_FIELD, **given}
    found = [of(FlowMatchingPosterior(**{**common, keyword: value})) for value in (one, other)]
    assert found[0] != found[1]


def test_another_number_of_wavelengths_is_refused() -> None:
    ConditionalFlowPosterior(2, n_wavelengths=12).recipe(SCHEMA).build(jax.random.key(0))
    with pytest.raises(ConfigurationError, match="n_wavelengths is 233, and the spectrum 'flux'"):
        ConditionalFlowPosterior(2).recipe(SCHEMA).build(jax.random.key(0))


def test_an_objective_is_what_is_trained() -> None:
    neural = ConditionalFlowPosterior(2).objective()
    assert neural == NeuralPosterior()
    bound = ConditionalFlowPosterior(2, parameter_space="cube", training_objective="elbo")
    assert isinstance(bound.objective(lambda cube, x: cube.sum(axis=1), 3), EvidenceLowerBound)
    with pytest.raises(ConfigurationError, match="needs a likelihood"):
        bound.fit(data())
    with pytest.raises(ConfigurationError, match="works on the cube"):
        ConditionalFlowPosterior(2, training_objective="elbo")


# ---------------------------------------------------------------------- keywords: the training

PRIOR = ParameterSpace(
    [Parameter("a", lower=-1.0, upper=1.0), Parameter("b", lower=0.0, upper=2.0)]
)
ROWS = 100
#: Everything that changes the compiled program is switched on, so that all trainings share it.
TRAINED: dict[str, Any] = {
    **SMALL,
    "num_epochs": 3,
    "batch_size": 30,
    "learning_rate": 5e-3,
    "embedding_noise_std": 0.1,
    "embedding_noise_min_scale": 0.01,
    "parameter_noise_floor": 0.01,
    "aux_scale_loss_weight": 0.1,
    "aux_parameter_loss_weight": 0.1,
    "spline_small_bin_regularization_weight": 0.5,
    "spline_min_bin_ratio_target": 0.99,
    "spline_entropy_regularization_weight": 0.5,
    "spline_entropy_floor": 1.0,
    "spline_derivative_regularization_weight": 0.5,
    "spline_min_derivative_target": 0.999,
    "spline_max_derivative_target": 1.001,
    "stable_inverse_forward_max_abs_error_threshold": None,
    "stable_inverse_forward_logdet_closure_max_abs_error_threshold": None,
    "stable_cube_edge_hit_rate_threshold": None,
    "gradient_clip_norm": None,
}
COSINE = {"use_cosine_schedule": True}
#: Keyword, another value than that of the training all are held against, what else is given.
NUMBERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("learning_rate", 2e-3, {}),
    ("weight_decay", 0.1, {}),
    ("gradient_clip_norm", 0.01, {}),
    ("embedding_noise_std", 0.5, {}),
    ("embedding_noise_min_scale", 3.0, {}),
    ("parameter_noise_floor", 0.5, {}),
    ("aux_scale_loss_weight", 1.0, {}),
    ("aux_parameter_loss_weight", 1.0, {}),
    ("spline_small_bin_regularization_weight", 5.0, {}),
    ("spline_min_bin_ratio_target", 0.5, {}),
    ("spline_entropy_regularization_weight", 5.0, {}),
    ("spline_entropy_floor", 0.5, {}),
    ("spline_derivative_regularization_weight", 5.0, {}),
    ("spline_min_derivative_target", 0.5, {}),
    ("spline_max_derivative_target", 2.0, {}),
    ("use_cosine_schedule", True, {}),
    ("warmup_fraction", 0.5, COSINE),
    ("warmup_epochs", 1.5, COSINE),
    ("min_learning_rate", 1e-3, COSINE),
    ("lr_schedule_total_epochs", 7.0, COSINE),
    ("seed", 1, {}),
    ("parameter_space", "physical", {}),
]


def data() -> ArrayDataset:
    rng = np.random.default_rng(7)
    theta = PRIOR.icdf(rng.random((ROWS, 2)))
    observations = []
    for row, (a, b) in enumerate(theta):
        flux, bands = blocks(row)
        observations.append(
            [
                dataclasses.replace(flux, values=a + b * np.linspace(0, 1, 12) + 0.1 * flux.values),
                dataclasses.replace(bands, values=b + 0.1 * bands.values),
            ]
        )
    return ArrayDataset(theta, observations, space=PRIOR)


@pytest.fixture(scope="module")
def reader() -> ArrayDataset:
    return data()


def trained(reader: ArrayDataset, **given: Any) -> ConditionalFlowPosterior:
    estimator = ConditionalFlowPosterior(2, **{**TRAINED, **given})
    estimator.fit(reader)
    return estimator


def history(estimator: Any) -> Any:
    assert estimator.training_artifacts is not None
    return estimator.training_artifacts.history


def leaves(estimator: Any) -> list[np.ndarray]:
    return jax.tree.leaves(estimator.density.weights.trainable)


@pytest.fixture(scope="module")
def plain(reader: ArrayDataset) -> ConditionalFlowPosterior:
    return trained(reader)


@pytest.fixture(scope="module")
def cosine(reader: ArrayDataset) -> ConditionalFlowPosterior:
    return trained(reader, **COSINE)


def signatures(estimator: ConditionalFlowPosterior) -> int:
    """With how many kinds of arguments the epochs of an estimator's program were called."""
    program = training_program(
        estimator.recipe(estimator.schema), estimator.objective(), estimator.settings.plan
    )
    return program.epoch._cache_size()


@pytest.fixture(scope="module")
def compiled(plain: ConditionalFlowPosterior) -> int:
    """The same number after one training; a new one would tell of a program compiled again."""
    return signatures(plain)


@pytest.mark.parametrize(("keyword", "value", "given"), NUMBERS)
def test_a_keyword_of_the_training_changes_the_weights_by_the_same_program(
    reader: ArrayDataset,
    plain: ConditionalFlowPosterior,
    cosine: ConditionalFlowPosterior,
    compiled: int,
    keyword: str,
    value: Any,
    given: dict[str, Any],
) -> None:
    before = cosine if given else plain
    after = trained(reader, **{**given, keyword: value})
    assert any((a != b).any() for a, b in zip(leaves(before), leaves(after), strict=True))
    assert history(before)["train_loss"] != history(after)["train_loss"]
    assert np.isfinite(history(after)["train_loss"]).all()
    assert signatures(after) == compiled


def test_the_same_keywords_make_the_same_weights(
    reader: ArrayDataset, plain: ConditionalFlowPosterior
) -> None:
    again = trained(reader)
    assert all((a == b).all() for a, b in zip(leaves(plain), leaves(again), strict=True))
    assert history(again) == history(plain)


def test_keywords_decide_when_a_training_ends(
    reader: ArrayDataset, plain: ConditionalFlowPosterior
) -> None:
    assert history(plain)["epoch"] == [1, 2, 3]
    assert history(trained(reader, num_epochs=4))["epoch"] == [1, 2, 3, 4]
    # No epoch is better by so much than the first one.
    patient = {"early_stopping_patience": 2, "num_epochs": 9}
    stopped = trained(reader, **patient, early_stopping_min_delta=100.0)
    assert history(stopped)["epoch"] == [1, 2, 3]
    assert stopped.training_artifacts is not None
    assert stopped.training_artifacts.metadata["ended"] == "patience"
    assert stopped.training_artifacts.metadata["kept_epoch"] == 1
    assert len(history(trained(reader, **patient))["epoch"]) > 3


@pytest.mark.parametrize(
    ("keyword", "threshold", "column"),
    [
        ("stable_inverse_forward_max_abs_error_threshold", 0.0, "inverse_error"),
        (
            "stable_inverse_forward_logdet_closure_max_abs_error_threshold",
            0.0,
            "log_det_closure",
        ),
    ],
)
def test_thresholds_decide_what_is_sound(
    reader: ArrayDataset,
    plain: ConditionalFlowPosterior,
    keyword: str,
    threshold: float,
    column: str,
) -> None:
    assert min(history(plain)[column]) > 0
    assert history(plain)["sound"] == [1.0, 1.0, 1.0]
    strict = trained(reader, **{keyword: threshold})
    assert history(strict)["sound"] == [0.0, 0.0, 0.0]
    assert strict.training_artifacts is not None
    assert strict.training_artifacts.metadata["sound"] is False


def tiny(**given: Any) -> ConditionalFlowPosterior:
    """A training of the smallest flow, of plain vectors."""
    rng = np.random.default_rng(3)
    theta = PRIOR.icdf(rng.random((ROWS, 2)))
    common: dict[str, Any] = {
        "embedding_dim": 2,
        "num_coupling_layers": 1,
        "hidden_dim": 4,
        "conditioner_depth": 0,
        "flow_family": "affine",
        "num_epochs": 3,
        "parameter_noise_floor": 100.0,
        "stable_cube_edge_hit_rate_threshold": None,
        "stable_inverse_forward_max_abs_error_threshold": None,
        "stable_inverse_forward_logdet_closure_max_abs_error_threshold": None,
    }
    made = ConditionalFlowPosterior(2, **{**common, **given})
    made.fit(ArrayDataset(theta, theta + rng.standard_normal(theta.shape), space=PRIOR))
    return made


def test_draws_on_an_edge_decide_what_is_sound() -> None:
    # Parameters spread so wide that the flow draws beyond what the cube tells from its edges.
    given = {"learning_rate": 3.0, "batch_size": 30}
    loose, strict = (
        tiny(**given, stable_cube_edge_hit_rate_threshold=limit) for limit in (None, 0.0)
    )
    rates = np.array(history(loose)["edge_hit_rate"], float)
    assert rates.max() > 0.1
    assert history(strict)["edge_hit_rate"] == history(loose)["edge_hit_rate"]
    assert history(loose)["sound"] == [1.0] * 3
    assert history(strict)["sound"] == (rates <= 0).astype(float).tolist()


@pytest.mark.parametrize("size", [30, 45])
def test_a_batch_size_decides_the_steps_of_an_epoch(size: int) -> None:
    """Told by the rate of an epoch's last step, of 90 rows."""
    made = tiny(batch_size=size, learning_rate=0.01, warmup_fraction=0.0, **COSINE)
    last = np.arange(3) + 1.0 - size / 90
    expected = 1e-6 + (0.01 - 1e-6) * 0.5 * (1.0 + np.cos(np.pi * last / 3))
    np.testing.assert_allclose(history(made)["learning_rate"], expected, rtol=1e-4)


# ---------------------------------------------------------------------- keywords: files


@pytest.mark.parametrize("backend", ["auto", "equinox", "orbax"])
def test_checkpoint_keywords_save_and_resume(
    reader: ArrayDataset, plain: ConditionalFlowPosterior, tmp_path: Path, backend: str
) -> None:
    folder = tmp_path / "checkpoints"
    given = {"checkpoint_directory": str(folder), "checkpoint_backend": backend}
    trained(reader, **given, num_epochs=2)
    assert (folder / "orbax").is_dir() == (backend == "orbax")
    assert any(path.is_file() for path in folder.rglob("*"))
    seen: list[int] = []
    resumed = ConditionalFlowPosterior(2, **{**TRAINED, **given, "resume_from_checkpoint": True})
    resumed.fit(reader, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert seen == [3]
    assert all((a == b).all() for a, b in zip(leaves(plain), leaves(resumed), strict=True))
    anew = ConditionalFlowPosterior(2, **{**TRAINED, **given})
    anew.fit(reader, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert seen == [3, 1, 2, 3]
    other = {**TRAINED, **given, "resume_from_checkpoint": True, "learning_rate": 1e-4}
    with pytest.raises(ConfigurationError, match=r"learning_rate = 0\.005, and this one 0\.0001"):
        ConditionalFlowPosterior(2, **other).fit(reader)


def test_diagnostics_keywords_decide_which_pictures_there_are(
    reader: ArrayDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained(reader, diagnostics_output_directory="none", diagnostics_plot_interval=1)
    assert list(tmp_path.iterdir()) == []
    trained(reader, verbose_diagnostics=True)
    default = tmp_path / "posterior-diagnostics"
    names = [path.name for path in sorted(default.glob("*.html"))]
    assert names == ["epoch-00001.html", "epoch-00002.html", "epoch-00003.html"]
    named = {"diagnostics_output_directory": str(tmp_path / "named")}
    trained(reader, verbose_diagnostics=True, diagnostics_plot_interval=2, **named)
    assert [path.name for path in (tmp_path / "named").glob("*.html")] == ["epoch-00002.html"]


def test_task_metadata_go_with_the_estimator(
    reader: ArrayDataset, plain: ConditionalFlowPosterior, tmp_path: Path
) -> None:
    assert (plain.task_name, plain.task_fingerprint) == (None, reader.fingerprint)
    task = {"name": "transits", "version": 3, "telescope": "small"}
    named = trained(reader, task_metadata=task)
    assert (named.task_name, named.task_version) == ("transits", "3")
    named.save(tmp_path)
    loaded = PersistentPosteriorEstimator.load(tmp_path)
    assert loaded.task_metadata == task
    assert loaded.artifact_metadata is not None
    assert loaded.artifact_metadata.name == "transits-conditional_flow"


def test_a_saved_estimator_has_its_keywords_again(
    plain: ConditionalFlowPosterior, tmp_path: Path
) -> None:
    plain.save(tmp_path)
    loaded = PersistentPosteriorEstimator.load(tmp_path)
    assert type(loaded) is ConditionalFlowPosterior
    assert {name: getattr(loaded, name) for name in FLOW_SIGNATURE} == {
        name: getattr(plain, name) for name in FLOW_SIGNATURE
    }
    narrow = ConditionalSplineFlowPosterior.load(tmp_path)
    assert type(narrow) is ConditionalSplineFlowPosterior
    observation = blocks(3)
    for other in (loaded, narrow):
        np.testing.assert_array_equal(other.draw([observation], 4), plain.draw([observation], 4))


# ---------------------------------------------------------------------- keywords of flow matching


def followed(**given: Any) -> FlowMatchingPosterior:
    estimator = FlowMatchingPosterior(1, **{**SMALL_FIELD, "num_epochs": 3, **given})
    estimator.fit(gaussian_simulations(1, 800))
    return estimator


@pytest.fixture(scope="module")
def field() -> FlowMatchingPosterior:
    return followed()


@pytest.mark.slow
@pytest.mark.parametrize(("keyword", "value"), [("learning_rate", 1e-3), ("seed", 1)])
def test_a_keyword_of_the_field_changes_the_weights(
    field: FlowMatchingPosterior, keyword: str, value: Any
) -> None:
    other = followed(**{keyword: value})
    assert any((a != b).any() for a, b in zip(leaves(field), leaves(other), strict=True))
    assert history(field)["train_loss"] != history(other)["train_loss"]


def test_keywords_of_the_field_decide_when_a_training_ends(
    field: FlowMatchingPosterior, tmp_path: Path
) -> None:
    assert history(field)["epoch"] == [1, 2, 3]
    assert FlowMatchingPosterior(2, batch_size=45).settings.plan.batch_size == 45
    patient = {"early_stopping_patience": 1, "num_epochs": 9}
    stopped = followed(**patient, early_stopping_min_delta=100.0)
    assert history(stopped)["epoch"] == [1, 2]
    longer = followed(early_stopping_patience=9, num_epochs=4)
    assert history(longer)["epoch"] == [1, 2, 3, 4]
    given = {"checkpoint_directory": str(tmp_path / "auto")}
    followed(**given, num_epochs=2)
    resumed = followed(**given, resume_from_checkpoint=True)
    assert all((a == b).all() for a, b in zip(leaves(field), leaves(resumed), strict=True))
    followed(checkpoint_directory=str(tmp_path / "other"), checkpoint_backend="orbax")
    assert (tmp_path / "other" / "orbax").is_dir()


@pytest.mark.parametrize("space", ["physical", "cube", "unconstrained"])
def test_a_field_in_every_space_comes_back_from_its_folder(tmp_path: Path, space: str) -> None:
    """The scale of the flow's coordinates is another one in the physical space."""
    task = {"name": "transits"}
    estimator = FlowMatchingPosterior(
        2, **SMALL_FIELD, parameter_space=space, prior=PRIOR, task_metadata=task
    )
    estimator.embeddings([blocks()])
    estimator.save(tmp_path)
    loaded = PersistentPosteriorEstimator.load(tmp_path)
    assert isinstance(loaded, FlowMatchingPosterior)
    assert (loaded.parameter_space, loaded.task_name) == (space, "transits")
    assert {name: getattr(loaded, name) for name in MATCHING_SIGNATURE} == {
        name: getattr(estimator, name) for name in MATCHING_SIGNATURE
    }
    scales = {"physical": 1.0}
    assert loaded.model.scale == pytest.approx(scales.get(space, np.pi / np.sqrt(3)))
