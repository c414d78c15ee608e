"""Trainings of posteriors as trials: curves, bits, outputs, failures and leavings."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError, ParameterError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    StabilityConfiguration,
)
from ax_jax_runners.posterior.datasets import gather
from ax_jax_runners.posterior.datasets.observations import take as take_rows
from ax_jax_runners.posterior.persistence.packing import pack_estimator, unpack_estimator
from ax_jax_runners.tasks import PosteriorTask, Progress, Task
from ax_jax_runners.tasks.freezing import freeze, join, static_shape, take, thaw
from ax_jax_runners.tasks.keys import arm_keys
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters, searchable
from tests.unit import posterior_tasks
from tests.unit.compilations import counted_compilations
from tests.unit.posterior_tasks import BASE, DATA, EPOCHS, PRIOR, ROWS, dataset_of

HELD = 40
KEYS = arm_keys(3, [(i, 0) for i in range(4)])
SEARCH = {
    "learning_rate": Parameter("learning_rate", lower=1e-4, upper=1e-1, log_scale=True),
    "weight_decay": Parameter("weight_decay", lower=0.0, upper=1.0),
}


def task_of(dataset: Any = DATA, **changes: Any) -> PosteriorTask:
    return posterior_tasks.task_of(dataset, **{"search": SEARCH, **changes})


def base_of(**groups: Any) -> Hyperparameters:
    """The hyperparameters with some fields of some groups changed."""
    changed = {
        name: dataclasses.replace(getattr(BASE, name), **fields) for name, fields in groups.items()
    }
    return dataclasses.replace(BASE, **changed)


TASK = task_of()
ARMS = [
    {"learning_rate": 1e-3, "weight_decay": 0.0},
    {"learning_rate": 2e-2, "weight_decay": 0.1},
    {"learning_rate": 5e-3, "weight_decay": 0.5},
]


def finished(task: PosteriorTask, arms: Any, keys: Any = KEYS) -> Any:
    state = task.begin(arms, keys[: len(arms)])
    for _ in range(task.epochs):
        state = task.advance(state)
    return state


def trial(task: PosteriorTask, arm: Any, key: int = 0) -> Progress:
    (report,) = task.progress(finished(task, [arm], KEYS[key : key + 1]))
    assert report.done
    return report


def same_bits(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert np.asarray(array).tobytes() == np.asarray(other[name]).tobytes(), name


@pytest.fixture(scope="module")
def together() -> Any:
    return finished(TASK, ARMS)


@pytest.fixture(scope="module")
def reports(together: Any) -> list[Progress]:
    return TASK.progress(together)


# ---- outputs


def test_a_finished_arm_reports_every_output(reports: list[Progress]) -> None:
    assert isinstance(TASK, Task)
    for report in reports:
        assert report.done
        assert report.failure is None
        assert tuple(report.outputs) == TASK.outputs
        nll, error = report.outputs["validation_nll"]
        assert np.isfinite(nll)
        assert error is not None
        assert error > 0
        assert 0 <= report.outputs["sbc_p_value"][0] <= 1
        assert 0 <= report.outputs["coverage_area"][0] <= 0.5
        # The unconstrained space has no outside.
        assert report.outputs["leak_fraction"] == (0.0, 0.0)
        assert 0 <= report.outputs["closure_error"][0] < 1e-4
        assert set(report.arrays) == {"estimator", "training"}


def test_the_loss_is_minus_the_log_density_of_the_held_back_parameters(
    reports: list[Progress],
) -> None:
    gathered = gather(DATA, seed=0)
    held = np.flatnonzero(gathered.is_validation)
    assert len(held) == HELD
    for report in reports:
        estimator = TASK.estimator(report.arrays["estimator"])
        scores = -estimator.log_density(
            take_rows(gathered.observations, held), gathered.parameters[held]
        )
        nll, error = report.outputs["validation_nll"]
        assert nll == pytest.approx(scores.mean(), abs=1e-4)
        assert error == pytest.approx(scores.std(ddof=1) / np.sqrt(HELD), rel=1e-3)


def test_the_loss_is_known_after_every_epoch_by_the_examples_seen() -> None:
    batches = {**SEARCH, "batch_size": Parameter("batch_size", choices=[64, 90])}
    task = task_of(search=batches)
    state = task.begin([{**ARMS[0], "batch_size": size} for size in (64, 90)], KEYS[:2])
    losses = []
    for epoch in range(1, EPOCHS):
        state = task.advance(state)
        found = task.progress(state)
        assert [report.step for report in found] == [epoch * (ROWS - HELD)] * 2
        assert not any(report.done or report.arrays or report.failure for report in found)
        assert {tuple(report.outputs) for report in found} == {("validation_nll",)}
        losses.append([report.outputs["validation_nll"] for report in found])
        assert all(error > 0 for _, error in losses[-1])
    curves = np.array(losses)[..., 0]
    assert (np.diff(curves, axis=0) < 0).all()
    assert (curves[:, 0] != curves[:, 1]).all()
    assert all(report.done for report in task.progress(task.advance(state)))


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_kept() -> None:
    # So fast a training jumps about.
    plain = {"base_affine": False, "regression": False}
    given = base_of(flow=plain, optimiser={"cosine": False, "average_decay": 0.0})
    task = task_of(hyperparameters=given, epochs=12)
    state = task.begin([{"learning_rate": 0.1, "weight_decay": 0.0}], KEYS[:1])
    losses = []
    for _ in range(12):
        state = task.advance(state)
        losses.append(float(state["training"].column("validation_nll")[-1]))
    (report,) = task.progress(state)
    assert report.outputs["validation_nll"][0] == min(losses)
    assert losses[-1] > min(losses)


def test_losses_in_all_spaces_are_in_physical_units() -> None:
    spaces = ["physical", "cube", "unconstrained"]
    task = task_of(
        search={"parameter_space": Parameter("parameter_space", choices=spaces)},
        hyperparameters=base_of(optimiser={"learning_rate": 2e-2, "schedule_epochs": None}),
        epochs=30,
    )
    state = finished(task, [{"parameter_space": space} for space in spaces])
    found = {
        space: report.outputs for space, report in zip(spaces, task.progress(state), strict=True)
    }
    # Independent uncertainties of 0.1 and 0.3 in each parameter: this is the entropy, but for the
    # edges of the prior.
    expected = sum(np.log(sigma * np.sqrt(2 * np.pi * np.e)) for sigma in (0.1, 0.3))
    for space in spaces:
        loss, error = found[space]["validation_nll"]
        assert error is not None
        assert abs(loss - expected) < 0.5, space
    assert found["physical"]["leak_fraction"][0] > 0
    assert found["cube"]["leak_fraction"][0] == found["unconstrained"]["leak_fraction"][0] == 0


# ---- structures and programs


def test_arms_of_different_shapes_are_refused_together() -> None:
    search = {"width": Parameter("width", choices=[8, 16])}
    task = task_of(search=search)
    with pytest.raises(ConfigurationError, match="different shapes"):
        task.begin([{"width": 8}, {"width": 16}], KEYS[:2])
    one, other = (task.begin([{"width": width}], KEYS[:1]) for width in (8, 16))
    assert static_shape(one) != static_shape(other)
    assert static_shape(one) == static_shape(task.begin([{"width": 8}], KEYS[1:2]))


def test_arms_that_differ_in_numbers_share_a_program(together: Any) -> None:
    with counted_compilations() as compiled:
        finished(TASK, [{"learning_rate": 3e-3, "weight_decay": 0.3}], KEYS[3:])
        other = task_of(epochs=2, hyperparameters=base_of(optimiser={"gradient_clip_norm": 0.5}))
        finished(other, ARMS[1:])
    assert compiled == []


# ---- bits


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_arm_has_the_same_bits_in_any_company(lanes: int) -> None:
    task = task_of(together=lanes)
    expected = freeze(finished(task, ARMS))
    alone = [freeze(finished(task, [arm], KEYS[i : i + 1])) for i, arm in enumerate(ARMS)]
    for row, arrays in enumerate(alone):
        same_bits(arrays, {name: leaf[row : row + 1] for name, leaf in expected.items()})
    # Frozen after every epoch, with arms that come and go.
    state = template = task.begin(ARMS[1:], KEYS[1:3])
    for _ in range(2):
        state = thaw(freeze(task.advance(state)), template)
    stranger = task.advance(task.begin(ARMS[:1], KEYS[:1]))
    assert static_shape(stranger) == static_shape(state)
    state = join([stranger, take(state, [1, 0], arms=2)])
    for _ in range(EPOCHS):
        state = task.advance(state)
    order = {name: leaf[[0, 2, 1]] for name, leaf in expected.items()}
    same_bits(freeze(state), order)


def test_an_arm_that_is_done_stays_as_it_is(together: Any, reports: list[Progress]) -> None:
    again = TASK.advance(together)
    same_bits(freeze(again), freeze(together))
    for one, other in zip(TASK.progress(again), reports, strict=True):
        assert one.outputs == other.outputs
        same_bits(one.arrays, other.arrays)


# ---- failures


def test_a_training_that_diverges_says_so() -> None:
    wild = {"learning_rate": Parameter("learning_rate", lower=1e-4, upper=1e30, log_scale=True)}
    report = trial(task_of(search=wild), {"learning_rate": 1e30})
    assert report.outputs == report.arrays == {}
    assert report.failure is not None
    assert report.failure.startswith("The training diverged: no validation loss until epoch 1 ")
    assert "lower the learning rate" in report.failure


def test_a_training_that_is_never_sound_says_by_how_much() -> None:
    strict = StabilityConfiguration(inverse_error=1e-12)
    hyperparameters = dataclasses.replace(BASE, stability=strict)
    report = trial(task_of(hyperparameters=hyperparameters), ARMS[0])
    assert report.outputs == report.arrays == {}
    assert report.failure is not None
    assert report.failure.startswith("No epoch of 4 passed the stability thresholds")
    assert "raise the thresholds" in report.failure


def test_parameters_outside_the_prior_are_refused() -> None:
    task = task_of(dataset_of(shift=0.5))
    with pytest.raises(ConfigurationError, match=r"of 400 rows lie outside the prior's support"):
        task.begin(ARMS, KEYS[:3])


def test_too_few_held_back_rows_are_refused_before_any_training() -> None:
    task = task_of(dataset_of(rows=100))
    with pytest.raises(ConfigurationError, match="Of 100 rows 10 are held back"):
        task.describe()
    with pytest.raises(ConfigurationError, match="at least 20"):
        task.begin(ARMS, KEYS[:3])


def test_an_arm_that_does_not_fit_the_space_is_refused() -> None:
    with pytest.raises(ParameterError, match="learning_rate"):
        TASK.begin([{**ARMS[0], "learning_rate": "fast"}], KEYS[:1])
    with pytest.raises(ParameterError):
        TASK.begin([{"learning_rate": 1e-3}], KEYS[:1])


def test_values_that_no_configuration_takes_are_refused() -> None:
    task = task_of(search={"layers": Parameter("layers", choices=[0, 2])})
    with pytest.raises(ConfigurationError, match="layers is 0"):
        task.begin([{"layers": 0}], KEYS[:1])


WRONG = {
    "epochs": ({"epochs": 0}, "epochs is 0; give a whole number from 1"),
    "a share of epochs": ({"epochs": 2.5}, "epochs is 2.5"),
    "rows": ({"calibration_rows": 19}, "calibration_rows is 19; give a whole number from 20"),
    "draws": ({"calibration_draws": 9}, "calibration_draws is 9"),
    "lanes": ({"together": True}, "together is True"),
    "no data": ({"dataset": np.zeros(3)}, "was given a ndarray; give a reader"),
    "configuration": ({"hyperparameters": {}}, "hyperparameters is a dict"),
    "nothing searched": ({"search": {}}, "at least one"),
    "no parameter": ({"search": {"width": (8, 16)}}, r"search\['width'\] is a tuple"),
    "unknown name": ({"search": {"widht": Parameter("w", choices=[1, 2])}}, "mean 'width'"),
    "epochs searched": ({"search": {"epochs": Parameter("e", choices=[1, 2])}}, "'epochs' is no"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_refused(name: str) -> None:
    changes, sentence = WRONG[name]
    with pytest.raises(ConfigurationError, match=sentence):
        task_of(**changes)


def test_parameters_are_called_as_the_mapping_says() -> None:
    found = task_of(
        search={
            "learning_rate": Parameter("rate", lower=1e-4, upper=1e-1, log_scale=True),
            "layers": Parameter("n", lower=1, upper=3, integer=True),
            "family": Parameter("f", choices=["affine", "spline"]),
            "width": Parameter("w", fixed=8),
        }
    )
    assert found.space == ParameterSpace(
        [
            Parameter("learning_rate", lower=1e-4, upper=1e-1, log_scale=True),
            Parameter("layers", lower=1, upper=3, integer=True),
            Parameter("family", choices=["affine", "spline"]),
            Parameter("width", fixed=8),
        ]
    )
    arm = {"learning_rate": 1e-3, "layers": 3, "family": "affine"}
    state = found.begin([arm], KEYS[:1])
    weights = jax.tree.leaves(state["training"].trainable)
    assert any(np.shape(leaf)[:2] == (1, 3) and 8 in np.shape(leaf) for leaf in weights)


def test_every_field_but_the_epochs_can_be_searched() -> None:
    names = searchable()
    assert len(set(names)) == len(names)
    assert {"parameter_space", "family", "embedding_dim", "cosine", "parameter_noise"} <= set(names)
    assert not {"epochs", "schedule_epochs", "patience", "min_delta", "inverse_error"} & set(names)
    values = {"width": 8, "hidden_dim": 3, "cosine": False, "parameter_space": "cube"}
    found = BASE.with_values(values)
    assert (found.flow.width, found.encoder.hidden_dim) == (8, 3)
    assert (found.optimiser.cosine, found.parameter_space) == (False, "cube")
    back = found.with_values({"width": 16, "hidden_dim": 128, "cosine": True})
    assert back.velocity.width == 16  # a flow and a velocity field have one width
    assert dataclasses.replace(back, velocity=BASE.velocity) == (
        dataclasses.replace(BASE, parameter_space="cube")
    )


# ---- the estimator that an arm keeps


def test_the_packed_estimator_is_the_trained_one(reports: list[Progress], together: Any) -> None:
    x = np.array([[0.2, -0.4], [0.0, 0.9]])
    for row, report in enumerate(reports):
        arm = BASE.with_values({**ARMS[row]})
        trained = TASK.trainings.trained(
            dataclasses.replace(arm, optimiser=dataclasses.replace(arm.optimiser, epochs=EPOCHS)),
            take(together["training"], [row], arms=3),
        )
        found = TASK.estimator(report.arrays["estimator"])
        same_bits(freeze_weights(found), freeze_weights(trained))
        np.testing.assert_array_equal(found.draw(x, 50, seed=1), trained.draw(x, 50, seed=1))
        theta = np.array([[0.1, -0.3], [0.2, 0.8]])
        np.testing.assert_array_equal(found.log_density(x, theta), trained.log_density(x, theta))
        assert found.calibration is not None
        assert found.calibration["sbc_p_value"] == report.outputs["sbc_p_value"][0]
        assert found.settings == trained.settings
        assert found.prior == PRIOR


def freeze_weights(estimator: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves(estimator.density.weights.trainable)
    return {str(number): np.asarray(leaf)[None] for number, leaf in enumerate(leaves)}


def test_equal_arms_have_equal_bytes(reports: list[Progress]) -> None:
    again = trial(TASK, ARMS[1], 1)
    same_bits(again.arrays, reports[1].arrays)
    packed = reports[1].arrays["estimator"]
    assert packed.tobytes() != reports[0].arrays["estimator"].tobytes()
    # Packed again it has the same bytes: nothing of it is of a moment or a place.
    assert pack_estimator(unpack_estimator(packed)).tobytes() == packed.tobytes()


def test_damaged_estimators_are_refused(reports: list[Progress]) -> None:
    packed = reports[0].arrays["estimator"]
    assert packed.dtype == np.uint8
    weights = packed.copy()
    weights[len(weights) // 2] ^= 1
    for wrong in (
        packed[:-100],
        packed[:0],
        weights,
        packed.astype(float),
        packed[None],
        np.zeros(300, np.uint8),
        reports[0].arrays["training"],
    ):
        with pytest.raises(ArtifactCorrupt):
            TASK.estimator(wrong)


# ---- more epochs


LONG = 7


def test_an_extended_arm_is_that_of_a_longer_trial(reports: list[Progress]) -> None:
    longer = task_of(epochs=LONG)
    for row, arm in enumerate(ARMS):
        straight = trial(longer, arm, row)
        found = TASK.extend(reports[row].arrays, LONG)
        assert (found.step, found.done) == (LONG * (ROWS - HELD), True)
        assert found.outputs == straight.outputs
        same_bits(found.arrays, straight.arrays)
        # In two steps, and no further than it is.
        between = TASK.extend(reports[row].arrays, EPOCHS + 1)
        same_bits(TASK.extend(between.arrays, LONG).arrays, straight.arrays)
        same_bits(longer.extend(straight.arrays, LONG).arrays, straight.arrays)


def test_an_extended_arm_has_as_many_lanes(together: Any) -> None:
    short, long = task_of(together=2), task_of(together=2, epochs=LONG)
    found = short.extend(trial(short, ARMS[1], 1).arrays, LONG)
    same_bits(found.arrays, long.progress(finished(long, ARMS))[1].arrays)


def test_without_a_cosine_the_number_of_epochs_does_not_matter() -> None:
    hyperparameters = base_of(optimiser={"cosine": False, "schedule_epochs": None})
    short, long = (task_of(hyperparameters=hyperparameters, epochs=n) for n in (EPOCHS, LONG))
    straight = trial(long, ARMS[1])
    found = short.extend(trial(short, ARMS[1]).arrays, LONG)
    assert found.outputs == straight.outputs
    same_bits(
        freeze_weights(TASK.estimator(found.arrays["estimator"])),
        freeze_weights(TASK.estimator(straight.arrays["estimator"])),
    )


def test_more_patience_goes_on_where_less_ended() -> None:
    def patient(patience: int | None, epochs: int = 20) -> PosteriorTask:
        optimiser = {"patience": patience, "cosine": False}
        return task_of(hyperparameters=base_of(optimiser=optimiser), epochs=epochs)

    restless = {"learning_rate": 0.1, "weight_decay": 0.0}
    short = trial(patient(1), restless)
    assert short.step < 20 * (ROWS - HELD)
    stopped = patient(1).extend(short.arrays, 25)
    assert stopped.step == short.step
    assert stopped.outputs == short.outputs
    straight = trial(patient(None), restless)
    assert straight.step == 20 * (ROWS - HELD)
    found = patient(None).extend(short.arrays, 20)
    assert found.outputs == straight.outputs
    same_bits(found.arrays, straight.arrays)


def test_what_cannot_be_extended_is_refused(reports: list[Progress]) -> None:
    arrays = reports[0].arrays
    with pytest.raises(ConfigurationError, match="epochs is 3, and the arm has done 4"):
        TASK.extend(arrays, EPOCHS - 1)
    with pytest.raises(ConfigurationError, match="The arrays are estimator; give those"):
        TASK.extend({"estimator": arrays["estimator"]}, LONG)
    with pytest.raises(ConfigurationError, match="trained with data = "):
        task_of(dataset_of(seed=1)).extend(arrays, LONG)
    with pytest.raises(ConfigurationError, match=r"hyperparameters.flow.width = 16, and .* 8;"):
        task_of(hyperparameters=base_of(flow={"width": 8})).extend(arrays, LONG)
    with pytest.raises(ConfigurationError, match="together = 1, and this task has 2"):
        task_of(together=2).extend(arrays, LONG)
    damaged = arrays["training"].copy()
    damaged[len(damaged) // 2] ^= 1
    for wrong in (damaged, damaged[:50], arrays["estimator"], arrays["training"].astype(float)):
        with pytest.raises(ArtifactCorrupt):
            TASK.extend({"training": wrong}, LONG)
