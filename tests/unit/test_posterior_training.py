"""Training by neural posterior estimation: what is learned, told, kept on disk and gone on with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError, LeaseHeld
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    DiagnosticsConfiguration,
    FlowConfiguration,
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.datasets import ArrayDataset, gather
from ax_jax_runners.posterior.drawing import key_data
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.petitradtrans import ConditionalFlowPosterior
from ax_jax_runners.posterior.training import fitting
from ax_jax_runners.posterior.training.history import COLUMNS
from ax_jax_runners.posterior.training.preparation import prepare
from ax_jax_runners.posterior.training.schedule import learning_rate, schedule_scales
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer
from tests.unit.compilations import counted_compilations
from tests.unit.posterior_toys import (
    FLOW,
    SPACE,
    STEPS,
    BareReader,
    bits,
    optimiser,
    simulate,
    toy_dataset,
    toy_estimator,
    weights_of,
)

BACKENDS = ("equinox", "orbax")


class Interrupted(Exception):
    """Raised in the middle of a training."""


def interrupt_after(epochs: int) -> Any:
    def on_epoch(state: TrainingState) -> None:
        if state.epoch[0] == epochs:
            raise Interrupted

    return on_epoch


@pytest.fixture(scope="module")
def dataset() -> ArrayDataset:
    return toy_dataset()


@pytest.fixture(scope="module")
def trained(dataset: ArrayDataset) -> FlowPosterior:
    """Forty epochs."""
    estimator = toy_estimator(optimiser=optimiser(epochs=40, schedule_epochs=40.0))
    estimator.fit(dataset)
    return estimator


@pytest.fixture(scope="module")
def straight(dataset: ArrayDataset) -> FlowPosterior:
    """Ten epochs without a break."""
    estimator = toy_estimator(optimiser=optimiser(epochs=10))
    estimator.fit(dataset)
    return estimator


def assert_same_training(found: FlowPosterior, expected: FlowPosterior) -> None:
    assert weights_of(found) == weights_of(expected)
    assert found.training_artifacts is not None
    assert expected.training_artifacts is not None
    assert found.training_artifacts.history == expected.training_artifacts.history
    assert found.training_artifacts.metadata == expected.training_artifacts.metadata


# ---------------------------------------------------------------------- what is learned and told


@pytest.mark.slow
def test_npe_fit_is_better_than_the_gaussian_fit(
    trained: FlowPosterior, dataset: ArrayDataset
) -> None:
    gathered = gather(dataset, seed=0)
    held = gathered.is_validation
    theta, x = gathered.parameters, gathered.observations
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    solution = np.linalg.lstsq(design[~held], theta[~held], rcond=None)[0]
    residual = theta - design @ solution
    covariance = np.cov(residual[~held].T)
    distance = np.einsum("ni,ij,nj->n", residual[held], np.linalg.inv(covariance), residual[held])
    gaussian = 0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert trained.training_artifacts is not None
    told = trained.training_artifacts.validation_metrics
    print("NLL", told["validation_nll"], "of the Gaussian fit", gaussian.mean())
    assert told["validation_nll"] < gaussian.mean() - 0.5
    # What is told is minus the log density of the parameters, in physical units.
    density = -trained.log_density(x[held], theta[held])
    assert told["validation_nll"] == pytest.approx(density.mean(), abs=1e-4)
    assert told["validation_sem"] == pytest.approx(density.std(ddof=1) / np.sqrt(80), rel=1e-3)


def test_npe_history_has_one_row_an_epoch(dataset: ArrayDataset) -> None:
    seen = []
    estimator = toy_estimator(optimiser=optimiser())
    artifacts = estimator.fit(dataset, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert artifacts.history["epoch"] == seen
    assert set(artifacts.history) == {"epoch", *COLUMNS}
    for name in COLUMNS:
        assert len(artifacts.history[name]) == 6
        assert all(np.isfinite(value) for value in artifacts.history[name])
    assert artifacts.history["skipped_steps"] == [0.0] * 6
    best = int(np.argmin(artifacts.history["validation_loss"]))
    assert artifacts.metadata["kept_epoch"] == best + 1
    assert artifacts.validation_metrics["validation_nll"] == min(
        artifacts.history["validation_nll"]
    )
    assert artifacts.metadata["ended"] == "epochs"
    assert (artifacts.metadata["training_rows"], artifacts.metadata["validation_rows"]) == (720, 80)
    json.dumps(artifacts.describe(), allow_nan=False)


def test_dataset_protocol_every_row_counts_once_in_every_epoch(dataset: ArrayDataset) -> None:
    """Steps of no length: an epoch's loss is the mean over its rows; 720 leave a short batch."""
    still = optimiser(learning_rate=1e-60, min_learning_rate=0.0, epochs=3)
    estimator = toy_estimator(optimiser=still)
    artifacts = estimator.fit(dataset)
    prepared = prepare(gather(dataset, seed=0), space="unconstrained", prior=SPACE)
    rows = prepared.data.training
    model = estimator.model
    losses = jax.vmap(lambda row: -model.log_prob(row.y, model.embed(row.observation)))(rows)
    assert len(losses) == 720
    expected = float(losses.mean()) - prepared.data.training_log_slope
    assert float(losses.std()) > 0.1
    assert artifacts.history["train_loss"] == pytest.approx([expected] * 3, rel=1e-5)


def test_learning_rates_of_the_history_are_those_of_the_schedule(straight: FlowPosterior) -> None:
    assert straight.training_artifacts is not None
    told = straight.training_artifacts.history["learning_rate"]
    scales = schedule_scales(straight.settings.optimiser)
    last = [epoch + (STEPS - 1) / STEPS for epoch in range(10)]
    np.testing.assert_allclose(
        told, [float(learning_rate(at, scales)) for at in last], rtol=2e-5, atol=1e-9
    )


def test_learning_in_the_cube_and_with_logits_is_the_same_training(dataset: ArrayDataset) -> None:
    found = {}
    for space in ("cube", "unconstrained", "physical"):
        estimator = toy_estimator(optimiser=optimiser(), parameter_space=space)
        estimator.fit(dataset)
        found[space] = estimator
    assert_same_training(found["cube"], found["unconstrained"])
    theta, x = simulate(5)
    np.testing.assert_array_equal(
        found["cube"].log_density(x, theta), found["unconstrained"].log_density(x, theta)
    )
    assert weights_of(found["physical"]) != weights_of(found["cube"])
    for space, estimator in found.items():
        prepared = prepare(gather(dataset, seed=0), space=space, prior=SPACE)
        assert prepared.data.has_edges == (space != "physical")
        told = estimator.training_artifacts.validation_metrics["validation_nll"]
        gathered = gather(dataset, seed=0)
        held = gathered.is_validation
        density = estimator.log_density(gathered.observations[held], gathered.parameters[held])
        assert told == pytest.approx(-density.mean(), abs=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    found = {}
    for seed in (0, 1):
        found[seed] = toy_estimator(optimiser=optimiser(epochs=10), seed=seed)
        found[seed].fit(dataset)
    assert_same_training(found[0], straight)
    assert weights_of(found[1]) != weights_of(straight)


def test_a_training_that_loses_every_step_has_diverged_and_keeps_finite_weights() -> None:
    theta, x = simulate()
    estimator = toy_estimator(
        optimiser=optimiser(learning_rate=1e30, gradient_clip_norm=None, cosine=False)
    )
    artifacts = estimator.fit(ArrayDataset(theta, x, space=SPACE))
    assert artifacts.metadata["ended"] == "diverged"
    assert artifacts.metadata["epochs"] < 6
    assert artifacts.history["skipped_steps"][-1] > 0
    json.dumps(artifacts.describe(), allow_nan=False)


# ---------------------------------------------------------------------- readers


def test_dataset_protocol_a_reader_with_iter_batches_alone_is_enough(
    dataset: ArrayDataset,
) -> None:
    theta, x = simulate()
    bare = toy_estimator(optimiser=optimiser(), prior=SPACE)
    artifacts = bare.fit(BareReader(theta, x))
    known = toy_estimator(optimiser=optimiser())
    expected = known.fit(dataset)
    # Rows are held back by their numbers, and what a reader is tells nothing else.
    assert weights_of(bare) == weights_of(known)
    assert artifacts.history == expected.history
    assert bare.prior == known.prior == SPACE
    other = toy_estimator(optimiser=optimiser(), prior=SPACE)
    theta[0, 0] += 1e-9
    changed = other.fit(BareReader(theta, x))
    assert artifacts.metadata["data_fingerprint"] != changed.metadata["data_fingerprint"]


def test_dataset_protocol_without_a_prior_the_physical_space_is_left() -> None:
    theta, x = simulate()
    with pytest.raises(ConfigurationError, match="needs the prior"):
        toy_estimator(optimiser=optimiser()).fit(BareReader(theta, x))
    physical = toy_estimator(optimiser=optimiser(), parameter_space="physical")
    physical.fit(BareReader(theta, x))
    assert physical.prior is None


def test_data_that_cannot_be_learned_from_are_refused(dataset: ArrayDataset) -> None:
    theta, x = simulate()
    with pytest.raises(ConfigurationError, match="has 2 parameters .a, b., and parameter_dim is 3"):
        FlowPosterior(3, optimiser=optimiser()).fit(dataset)
    with pytest.raises(ConfigurationError, match="1 of 800 rows lie outside .* the first is row 7"):
        outside = theta.copy()
        outside[7, 1] = 1.01
        toy_estimator(optimiser=optimiser()).fit(ArrayDataset(outside, x, space=SPACE))
    with pytest.raises(ConfigurationError, match="at least one row of each kind"):
        toy_estimator(optimiser=optimiser()).fit(
            ArrayDataset(theta[:1], x[:1], space=SPACE, validation_fraction=0.5)
        )
    with pytest.raises(ConfigurationError, match="without iter_batches"):
        toy_estimator(optimiser=optimiser()).fit([theta, x])


# ---------------------------------------------------------------------- checkpoints


def saved_in(folder: Path, backend: str, *, resume: bool = True) -> CheckpointConfiguration:
    return CheckpointConfiguration(directory=str(folder), backend=backend, resume=resume)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoint_five_and_five_epochs_are_ten(
    backend: str, tmp_path: Path, dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    first = toy_estimator(optimiser=optimiser(epochs=5), checkpoint=saved_in(tmp_path, backend))
    first.fit(dataset)
    seen = []
    second = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend))
    second.fit(dataset, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert seen == [6, 7, 8, 9, 10]
    # The history has the learning rates: the schedule went on at the right step.
    assert_same_training(second, straight)
    # There is nothing left to train.
    third = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend))
    third.fit(dataset, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert len(seen) == 5
    assert_same_training(third, straight)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoint_a_training_that_is_interrupted_goes_on_with_the_same_bits(
    backend: str,
    tmp_path: Path,
    dataset: ArrayDataset,
    straight: FlowPosterior,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "_SECONDS_BETWEEN_SAVES", 0.0)
    seen: list[int] = []
    for epochs in (3, 4, 7):
        cut = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend))
        with pytest.raises(Interrupted):
            cut.fit(dataset, on_epoch=interrupt_after(epochs))
    last = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend))
    last.fit(dataset, on_epoch=lambda state: seen.append(int(state.epoch[0])))
    assert seen == [8, 9, 10]
    assert_same_training(last, straight)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoint_without_resuming_is_replaced(
    backend: str, tmp_path: Path, dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    other = toy_estimator(
        optimiser=optimiser(epochs=2, learning_rate=1e-3), checkpoint=saved_in(tmp_path, backend)
    )
    other.fit(dataset)
    fresh = toy_estimator(
        optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend, resume=False)
    )
    fresh.fit(dataset)
    assert_same_training(fresh, straight)
    again = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, backend))
    again.fit(dataset, on_epoch=interrupt_after(1))
    assert_same_training(again, straight)


def test_checkpoint_auto_is_what_needs_nothing_else(
    tmp_path: Path, dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    first = toy_estimator(optimiser=optimiser(epochs=5), checkpoint=saved_in(tmp_path, "auto"))
    first.fit(dataset)
    second = toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, "equinox"))
    second.fit(dataset, on_epoch=interrupt_after(5))
    assert_same_training(second, straight)


def test_checkpoint_of_fewer_epochs_than_are_there_keeps_them(
    tmp_path: Path, dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    toy_estimator(optimiser=optimiser(epochs=10), checkpoint=saved_in(tmp_path, "auto")).fit(
        dataset
    )
    fewer = toy_estimator(optimiser=optimiser(epochs=4), checkpoint=saved_in(tmp_path, "auto"))
    fewer.fit(dataset, on_epoch=interrupt_after(5))
    assert_same_training(fewer, straight)


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoint_of_something_else_is_refused_by_the_key_that_differs(
    backend: str, tmp_path: Path, dataset: ArrayDataset
) -> None:
    folder = tmp_path / "training"
    optimised = optimiser(epochs=2)
    toy_estimator(optimiser=optimised, checkpoint=saved_in(folder, backend)).fit(dataset)

    def change(**values: Any) -> dict[str, Any]:
        return {"optimiser": dataclasses.replace(optimised, **values)}

    cases: list[tuple[str, dict[str, Any], ArrayDataset]] = [
        (
            "optimiser.learning_rate = 0.005, and this one 0.004",
            change(learning_rate=4e-3),
            dataset,
        ),
        ("optimiser.batch_size = 64, and this one 32", change(batch_size=32), dataset),
        ("optimiser.weight_decay", change(weight_decay=0.1), dataset),
        (
            "optimiser.schedule_epochs = 10.0, and this one 2.0",
            change(schedule_epochs=None),
            dataset,
        ),
        ("estimator.flow.bins = 4, and this one 5", {"flow": flow_with(bins=5)}, dataset),
        (
            "regularisation.parameter_noise",
            {"regularisation": RegularisationConfiguration(parameter_noise=0.1)},
            dataset,
        ),
        (
            "stability.inverse_error",
            {"stability": StabilityConfiguration(inverse_error=None)},
            dataset,
        ),
        ("has seed = 0, and this one 1", {"seed": 1}, dataset),
        ("parameter_space = 'unconstrained'", {"parameter_space": "cube"}, dataset),
        ("has data = ", {}, toy_dataset(1)),
    ]
    for message, groups, data in cases:
        given = {"optimiser": optimised, **groups}
        estimator = toy_estimator(**given, checkpoint=saved_in(folder, backend))
        with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
            estimator.fit(data)
    # Nothing of this touched what is there.
    toy_estimator(optimiser=optimised, checkpoint=saved_in(folder, backend)).fit(
        dataset, on_epoch=interrupt_after(1)
    )


def flow_with(**changes: Any) -> FlowConfiguration:
    return dataclasses.replace(FLOW, **changes)


def test_checkpoint_folder_of_another_process_is_refused(
    tmp_path: Path, dataset: ArrayDataset
) -> None:
    lock = WriterLock.acquire(tmp_path / "writer.lock")
    estimator = toy_estimator(optimiser=optimiser(), checkpoint=saved_in(tmp_path, "auto"))
    with pytest.raises(LeaseHeld):
        estimator.fit(dataset)
    lock.release()
    estimator.fit(dataset)


def test_resuming_needs_a_directory() -> None:
    with pytest.raises(ConfigurationError, match="without a directory"):
        CheckpointConfiguration(resume=True)


def test_more_patience_goes_on_from_a_checkpoint(
    tmp_path: Path, dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    def with_patience(patience: int | None) -> FlowPosterior:
        estimator = toy_estimator(
            # No epoch is better than the first one by so much.
            optimiser=optimiser(epochs=10, patience=patience, min_delta=100.0),
            checkpoint=saved_in(tmp_path, "auto"),
        )
        estimator.fit(dataset)
        return estimator

    short = with_patience(2).training_artifacts
    assert short is not None
    assert (short.metadata["ended"], short.metadata["epochs"]) == ("patience", 3)
    longer = with_patience(None).training_artifacts
    assert longer is not None
    assert straight.training_artifacts is not None
    assert longer.metadata["ended"] == "epochs"
    assert longer.metadata["kept_epoch"] == 1
    assert longer.history == straight.training_artifacts.history


# ---------------------------------------------------------------------- pictures


def test_diagnostics_come_every_interval_epochs(tmp_path: Path, dataset: ArrayDataset) -> None:
    folder = tmp_path / "pictures"
    estimator = toy_estimator(
        optimiser=optimiser(epochs=5),
        diagnostics=DiagnosticsConfiguration(directory=str(folder), interval=2),
    )
    artifacts = estimator.fit(dataset)
    assert {path.name for path in folder.iterdir()} == {
        "plotly.min.js",
        *(f"epoch-0000{epoch}.{end}" for epoch in (2, 4) for end in ("html", "json")),
    }
    told = json.loads((folder / "epoch-00004.json").read_text())
    assert told["epoch"] == 4
    assert told["validation_nll"] == artifacts.history["validation_nll"][3]


def test_diagnostics_are_not_written_unless_asked_for(
    tmp_path: Path, dataset: ArrayDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_estimator(optimiser=optimiser(epochs=2)).fit(dataset)
    assert list(tmp_path.iterdir()) == []
    quiet = ConditionalFlowPosterior(2, diagnostics_output_directory=str(tmp_path / "pictures"))
    assert quiet.diagnostics.directory is None
    told = ConditionalFlowPosterior(
        2,
        verbose_diagnostics=True,
        diagnostics_output_directory="here",
        diagnostics_plot_interval=3,
    )
    assert (told.diagnostics.directory, told.diagnostics.interval) == ("here", 3)


# ---------------------------------------------------------------------- programs


def test_traced_hyperparameters_share_the_compiled_programs(
    dataset: ArrayDataset, straight: FlowPosterior
) -> None:
    with counted_compilations() as compiled:
        for changes in (
            {"learning_rate": 1e-3},
            {"weight_decay": 0.3},
            {"gradient_clip_norm": None},
            {"cosine": False},
            {"warmup_epochs": 2.0, "min_learning_rate": 1e-4, "schedule_epochs": 3.0},
            {"epochs": 7, "patience": 1, "min_delta": 0.5},
        ):
            estimator = toy_estimator(optimiser=optimiser(**changes), seed=3)
            estimator.fit(dataset)
            assert weights_of(estimator) != weights_of(straight)
        stable = StabilityConfiguration(inverse_error=None)
        toy_estimator(optimiser=optimiser(), stability=stable).fit(dataset)
        toy_estimator(optimiser=optimiser(), parameter_space="cube").fit(dataset)
    assert compiled == []


def test_traced_hyperparameters_are_counted_by_a_compilation_that_does_happen() -> None:
    with counted_compilations() as compiled:
        jax.jit(lambda x: x * 3.25)(np.ones(17, np.float32))
    assert len(compiled) == 1


def test_several_arms_have_the_bits_of_each_alone_in_as_many_lanes(dataset: ArrayDataset) -> None:
    prepared = prepare(gather(dataset, seed=0), space="unconstrained", prior=SPACE)
    model = toy_estimator(optimiser=optimiser())
    one = Settings(optimiser(epochs=4))
    other = Settings(optimiser(epochs=2, learning_rate=1e-3, weight_decay=0.1, cosine=False))
    keys = np.stack([key_data(0), key_data(1)])

    def run(arms: tuple[Settings, Settings], keys: np.ndarray) -> TrainingState:
        trainer = Trainer(model.recipe(prepared.schema), model.objective(), arms)
        state = trainer.begin(keys)
        while state.running.any():
            state = trainer.advance(state, prepared.data)
        return state

    def arm(state: TrainingState, number: int) -> tuple[bytes, ...]:
        parts = (state.trainable, state.moments, state.best)
        history = state.history[number, : state.epoch[number]]
        return (
            *(bits(jax.tree.map(lambda leaf: np.asarray(leaf)[number], part)) for part in parts),
            history.tobytes(),
        )

    together = run((one, other), keys)
    assert together.epoch.tolist() == [4, 2]
    swapped = run((other, one), keys[::-1])
    assert arm(together, 0) == arm(run((one, one), keys[[0, 0]]), 0) == arm(swapped, 1)
    assert arm(together, 1) == arm(run((other, other), keys[[1, 1]]), 1) == arm(swapped, 0)
    assert arm(together, 0) != arm(together, 1)
