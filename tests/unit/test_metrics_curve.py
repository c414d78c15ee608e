"""Curves of outputs as Ax's data with steps."""

from __future__ import annotations

import math

import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.parameter import ParameterType, RangeParameter
from ax.core.search_space import SearchSpace
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json

from ax_jax_runners import registry_bundle
from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.metrics.names import to_identifier

# Ax sorts data frames in a way that pandas 3.1 announces to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

LOSS = [[5, 0.7, 0.02], [10, 0.1 + 0.2, None], [15, 0.25, 0.02]]


def arm(status, curves, outputs=None, step=15):
    last = {name: points[-1][1:] for name, points in curves.items()}
    return {
        "status": status,
        "outputs": last if outputs is None else outputs,
        "step": step,
        "artifacts": {},
        "curves": curves,
    }


def record(**arms):
    return {"ax_jax": {"version": 1, "arms": arms}}


def new_experiment(*metrics):
    parameter = RangeParameter("x", ParameterType.FLOAT, 0.0, 1.0)
    space = SearchSpace([parameter])
    return Experiment(name="curves", search_space=space, metrics=list(metrics))


def new_trial(experiment, metadata):
    trial = experiment.new_trial().add_arm(Arm({"x": 0.1 * len(experiment.trials)}))
    trial.update_run_metadata(metadata)
    return trial.mark_running(no_runner_required=True)


def points(frame):
    return list(zip(frame["step"], frame["mean"], frame["sem"], strict=True))


def test_a_running_trial_gives_its_curve_so_far():
    trial = new_trial(new_experiment(), record(**{"0_0": arm("running", {"loss": LOSS})}))
    data = CurveMetric("loss").fetch_trial_data(trial).unwrap()
    assert data.has_step_column
    found = points(data.full_df)
    assert [(step, mean) for step, mean, _ in found] == [(5, 0.7), (10, 0.1 + 0.2), (15, 0.25)]
    assert [found[0][2], found[2][2]] == [0.02, 0.02]
    assert math.isnan(found[1][2])
    assert data.df["mean"].tolist() == [0.25]


@pytest.mark.parametrize("end", ["mark_completed", "mark_early_stopped"])
def test_a_trial_that_ended_keeps_its_curve(end):
    experiment = new_experiment(CurveMetric("loss"))
    status = "completed" if end == "mark_completed" else "running"
    trial = new_trial(experiment, record(**{"0_0": arm(status, {"loss": LOSS})}))
    getattr(trial, end)(unsafe=True)
    assert len(experiment.fetch_data().full_df) == 3


def test_the_final_value_ends_a_curve_that_was_thinned_before_it():
    final = arm("completed", {"loss": LOSS}, {"loss": [0.2, 0.0]}, step=20)
    trial = new_trial(new_experiment(), record(**{"0_0": final}))
    found = points(CurveMetric("loss").fetch_trial_data(trial).unwrap().full_df)
    assert [step for step, _, _ in found] == [5, 10, 15, 20]
    assert found[-1] == (20, 0.2, 0.0)


def test_a_task_of_one_slice_gives_its_value_at_its_step():
    one = {"status": "completed", "outputs": {"loss": [3.0, None]}, "step": 1, "artifacts": {}}
    trial = new_trial(new_experiment(), record(**{"0_0": one}))
    found = CurveMetric("loss").fetch_trial_data(trial).unwrap().full_df
    assert found.loc[0, ["step", "mean"]].tolist() == [1.0, 3.0]


def test_a_running_trial_without_a_point_may_have_one_later():
    metric = CurveMetric("loss")
    trial = new_trial(new_experiment(), record(**{"0_0": arm("running", {}, step=0)}))
    error = metric.fetch_trial_data(trial).unwrap_err()
    assert "'loss'" in error.message
    assert metric.is_recoverable_fetch_e(error)
    trial.mark_completed()
    assert not metric.is_recoverable_fetch_e(metric.fetch_trial_data(trial).unwrap_err())


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (record(**{"0_0": arm("completed", {"cost": LOSS})}), "'cost'"),
        (record(**{"0_0": {"status": "failed", "outputs": {}, "step": 3}}), "'loss'"),
        ({}, "run_metadata"),
    ],
)
def test_an_output_that_will_never_come_says_what_there_is(metadata, words):
    trial = new_trial(new_experiment(), metadata).mark_completed()
    metric = CurveMetric("loss")
    error = metric.fetch_trial_data(trial).unwrap_err()
    assert words in error.message
    assert not metric.is_recoverable_fetch_e(error)


def test_a_name_that_expressions_cannot_hold_is_found_by_its_identifier():
    record_of = record(**{"0_0": arm("running", {"line[0].S": LOSS})})
    trial = new_trial(new_experiment(), record_of)
    metric = CurveMetric(to_identifier("line[0].S"))
    assert len(metric.fetch_trial_data(trial).unwrap().full_df) == 3


def test_curves_and_outputs_are_fetched_side_by_side():
    experiment = new_experiment(CurveMetric("loss"), OutputMetric("time"))
    new_trial(experiment, record(**{"0_0": arm("running", {"loss": LOSS, "time": LOSS})}))
    ended = {"loss": LOSS[:2], "time": LOSS[:2]}
    new_trial(experiment, record(**{"1_0": arm("completed", ended, step=10)})).mark_completed()
    frame = experiment.fetch_data().full_df
    counted = frame.groupby(["trial_index", "metric_name"]).size().to_dict()
    assert counted == {(0, "loss"): 3, (1, "loss"): 2, (1, "time"): 1}


def test_new_points_of_a_trial_replace_none_of_the_old_ones():
    experiment = new_experiment(CurveMetric("loss"))
    trial = new_trial(experiment, record(**{"0_0": arm("running", {"loss": LOSS[:2]})}))
    experiment.fetch_data()
    trial.update_run_metadata(record(**{"0_0": arm("running", {"loss": LOSS})}))
    assert points(experiment.fetch_data().full_df)[2][:2] == (15, 0.25)
    assert len(experiment.data.full_df) == 3


def test_it_is_map_data_that_is_available_while_running_and_survives_storage():
    metric = CurveMetric("loss", lower_is_better=True)
    assert metric.has_map_data
    assert metric.is_available_while_running()
    bundle = registry_bundle()
    written = object_to_json(metric, bundle.encoder_registry, bundle.class_encoder_registry)
    read = object_from_json(written, bundle.decoder_registry, bundle.class_decoder_registry)
    assert read == metric == metric.clone()
    assert read != CurveMetric("loss", lower_is_better=False)
    assert type(read) is CurveMetric
