from __future__ import annotations

import math

import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.parameter import ParameterType, RangeParameter
from ax.core.search_space import SearchSpace

from ax_jax_runners.metrics import OutputMetric
from ax_jax_runners.metrics.names import to_identifier

# Ax sorts data frames in a way that pandas 3.1 announces to drop.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def record(*arms):
    return {"ax_jax": {"version": 1, "arms": dict(arms)}}


def completed(name, **outputs):
    return name, {"status": "completed", "outputs": outputs, "step": 1, "artifacts": {}}


def failed(name):
    return name, {"status": "failed", "outputs": {}, "step": 0, "artifacts": {}, "failure": "no"}


def new_experiment():
    parameter = RangeParameter("x", ParameterType.FLOAT, 0.0, 1.0)
    return Experiment(name="metrics", search_space=SearchSpace([parameter]))


def new_trial(experiment, metadata):
    trial = experiment.new_trial().add_arm(Arm({"x": 0.1 * len(experiment.trials)}))
    trial.update_run_metadata(metadata)
    return trial.mark_running(no_runner_required=True)


def test_mean_and_error_are_read_exactly():
    experiment = new_experiment()
    trial = new_trial(experiment, record(completed("0_0", cost=[0.1 + 0.2, 0.0], gain=[1.0, None])))
    cost = OutputMetric("cost").fetch_trial_data(trial).unwrap().df
    gain = OutputMetric("gain").fetch_trial_data(trial).unwrap().df
    assert cost.loc[0, ["trial_index", "arm_name", "metric_name", "metric_signature"]].tolist() == [
        0,
        "0_0",
        "cost",
        "cost",
    ]
    assert cost.loc[0, "mean"] == 0.1 + 0.2
    assert cost.loc[0, "sem"] == 0.0
    assert math.isnan(gain.loc[0, "sem"])


def test_a_name_that_expressions_cannot_hold_is_found_by_its_identifier():
    trial = new_trial(new_experiment(), record(completed("0_0", **{"line[0].S": [2.5, None]})))
    data = OutputMetric(to_identifier("line[0].S")).fetch_trial_data(trial).unwrap()
    assert data.df.loc[0, "mean"] == 2.5


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (record(completed("0_0", cost=[1.0, None], gain=[1.0, None])), "'cost', 'gain'"),
        (record(completed("0_0")), "none"),
        (record(failed("0_0")), "no completed arm"),
        ({}, "run_metadata"),
        ({"ax_jax": 3}, "run_metadata"),
    ],
)
def test_an_output_without_a_value_says_what_there_is(metadata, words):
    trial = new_trial(new_experiment(), metadata)
    error = OutputMetric("loss").fetch_trial_data(trial).unwrap_err()
    assert words in error.message
    assert "rial 0" in error.message


def test_abandoned_and_failed_arms_of_a_batch_give_no_rows():
    experiment = new_experiment()
    batch = experiment.new_batch_trial()
    for x in (0.1, 0.2, 0.3):
        batch.add_arm(Arm({"x": x}))
    batch.update_run_metadata(
        record(completed("0_0", y=[1.0, 0.0]), failed("0_1"), completed("0_2", y=[3.0, 0.0]))
    )
    batch.mark_running(no_runner_required=True)
    batch.mark_arm_abandoned("0_2")
    data = OutputMetric("y").fetch_trial_data(batch).unwrap()
    assert data.df["arm_name"].tolist() == ["0_0"]


def test_only_completed_trials_are_fetched_and_all_metrics_at_once():
    experiment = new_experiment()
    done = new_trial(experiment, record(completed("0_0", y=[1.0, 0.0])))
    done.mark_completed()
    new_trial(experiment, record(completed("1_0", y=[2.0, 0.0])))
    metrics = [OutputMetric("y"), OutputMetric("z", lower_is_better=True)]
    results, new = metrics[0].fetch_data_prefer_lookup(experiment, metrics)
    assert set(results) == {0}
    assert new
    assert results[0]["y"].is_ok()
    assert results[0]["z"].is_err()
    assert metrics[0].fetch_data_prefer_lookup(experiment, metrics, trials=[]) == ({}, False)
    experiment.add_metric(metrics[0])
    assert experiment.fetch_data().df["mean"].tolist() == [1.0]
    assert experiment.lookup_data().df["mean"].tolist() == [1.0]


def test_the_metric_is_stored_by_its_arguments():
    metric = OutputMetric("y", lower_is_better=True)
    assert metric.clone() == metric
    assert OutputMetric.serialize_init_args(metric) == {"name": "y", "lower_is_better": True}
    assert not metric.is_available_while_running()
