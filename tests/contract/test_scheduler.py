"""What Ax's Orchestrator promises, held by our Scheduler with every runner."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.objective import Objective
from ax.core.optimization_config import OptimizationConfig
from ax.core.outcome_constraint import OutcomeConstraint
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import BaseEarlyStoppingStrategy
from ax.exceptions.core import UnsupportedError
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy
from ax.orchestration.orchestrator import FailureRateExceededError, StatusQuoInfeasibleError
from ax.orchestration.orchestrator_options import OrchestratorOptions

from ax_jax_runners import Scheduler, Store
from ax_jax_runners.campaign.generation import build_strategy
from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.store import campaigns, events
from tests.contract.cases import Faulty
from tests.contract.driving import record

# Where both tasks are finite.
BOX = ParameterSpace([Parameter("x", lower=0.5, upper=4.5), Parameter("y", lower=0.0, upper=1.0)])


def options(pending: int = 3, **more: Any) -> OrchestratorOptions:
    return OrchestratorOptions(
        max_pending_trials=pending,
        run_trials_in_batches=True,
        min_seconds_before_poll=0,
        init_seconds_between_polls=0,
        **more,
    )


def experiment(runner: Any, metric: type[Any] = OutputMetric, **more: Any) -> Experiment:
    goal = Objective(expression="mean", metric_name_to_signature={"mean": "mean"})
    return Experiment(
        name="loop",
        search_space=BOX.to_ax(),
        optimization_config=OptimizationConfig(objective=goal),
        metrics=[metric("mean"), metric("top")],
        runner=runner,
        **more,
    )


def scheduler(runner: Any, store: Store | None = None, *, pending: int = 3, **more: Any) -> Any:
    made = experiment(runner, metric=more.pop("metric", OutputMetric))
    strategy = build_strategy("sobol", search_space=made.search_space, batch_size=4, seed=5)
    return Scheduler(made, strategy, store=store, options=options(pending, **more))


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'loops.db'}")
    yield opened
    opened.close()


def statuses(loop: Any) -> list[str]:
    return [trial.status.name for trial in loop.experiment.trials.values()]


# ---- how many, and in what company


def test_it_runs_so_many_more_and_reports_on_the_way(runners_case):
    loop = scheduler(runners_case.runner())
    seen = []
    loop.run_n_trials(4, idle_callback=lambda it: seen.append(len(it.experiment.trials)))
    assert statuses(loop) == ["COMPLETED"] * 4
    assert seen[-1] == 4
    loop.run_n_trials(2)
    assert statuses(loop) == ["COMPLETED"] * 6
    data = loop.experiment.lookup_data().df
    assert set(data["trial_index"]) == set(range(6))
    assert set(data["metric_name"]) == {"mean", "top"}


def test_all_trials_is_an_absolute_number(runners_long_case):
    loop = scheduler(runners_long_case.runner(), total_trials=3)
    loop.run_all_trials()
    loop.run_all_trials()
    assert statuses(loop) == ["COMPLETED"] * 3
    with pytest.raises(ValueError, match="run_all_trials"):
        scheduler(runners_long_case.runner()).run_all_trials()


def test_one_pending_trial_is_enough(runners_long_case):
    loop = scheduler(runners_long_case.runner(), pending=1)
    loop.run_n_trials(2)
    assert statuses(loop) == ["COMPLETED"] * 2
    assert [record(trial)["step"] >= 4 for trial in loop.experiment.trials.values()] == [True] * 2


def test_no_more_trials_are_pending_than_allowed(runners_long_case):
    most = []

    def look(it: Any) -> None:
        most.append(len(it.pending_trials))

    loop = scheduler(runners_long_case.runner(), pending=2)
    loop.run_n_trials(5, idle_callback=look)
    assert statuses(loop) == ["COMPLETED"] * 5
    assert max(most) <= 2


def test_attached_trials_run_before_new_ones_are_made(runners_case):
    loop = scheduler(runners_case.runner())
    for x in (1.0, 2.0):
        loop.experiment.new_trial().add_arm(Arm({"x": x, "y": 0.5}))
    loop.run_n_trials(2)
    assert statuses(loop) == ["COMPLETED"] * 2
    assert [t.arm.parameters["x"] for t in loop.experiment.trials.values()] == [1.0, 2.0]


def test_candidates_that_were_asked_for_wait_and_run_first(runners_case, store):
    loop = scheduler(runners_case.runner(), store)
    made, error = loop.generate_candidates(num_trials=2)
    assert error is None
    assert statuses(loop) == ["CANDIDATE"] * 2
    arms = [trial.arm.parameters for trial in made]
    loop.run_n_trials(3)
    assert statuses(loop) == ["COMPLETED"] * 3
    assert [loop.experiment.trials[i].arm.parameters for i in (0, 1)] == arms


# ---- failures


def test_some_failures_are_tolerated_and_all_are_not(runners_long_case):
    task = Faulty("advance", "ValueError", limit=2.5, space=BOX)
    loop = scheduler_of(runners_long_case.build(task), tolerated_trial_failure_rate=0.9)
    loop.run_n_trials(6)
    assert set(statuses(loop)) == {"COMPLETED", "FAILED"}
    for trial in loop.experiment.trials.values():
        assert (trial.status is TrialStatus.FAILED) == (trial.arm.parameters["x"] > 2.5)
        if trial.status is TrialStatus.FAILED:
            assert "no luck" in trial.status_reason
    broken = runners_long_case.build(Faulty("advance", "ValueError", space=BOX))
    loop = scheduler_of(
        broken, tolerated_trial_failure_rate=0.5, min_failed_trials_for_failure_rate_check=2
    )
    with pytest.raises(FailureRateExceededError):
        loop.run_n_trials(12)
    assert len(loop.experiment.trials) < 12


def scheduler_of(runner: Any, **more: Any) -> Any:
    """A loop over a task whose only output is ``mean``."""
    goal = Objective(expression="mean", metric_name_to_signature={"mean": "mean"})
    made = Experiment(
        name="loop",
        search_space=BOX.to_ax(),
        optimization_config=OptimizationConfig(objective=goal),
        metrics=[OutputMetric("mean"), *more.pop("metrics", ())],
        runner=runner,
    )
    strategy = build_strategy("sobol", search_space=made.search_space, batch_size=4, seed=5)
    return Scheduler(made, strategy, options=options(**more))


def test_an_output_that_is_missing_ends_the_trial_only_when_it_is_a_goal(runners_long_case):
    task = Faulty(space=BOX)
    loop = scheduler_of(runners_long_case.build(task), metrics=[OutputMetric("other")])
    loop.run_n_trials(2)
    assert statuses(loop) == ["COMPLETED"] * 2
    goal = Objective(expression="other", metric_name_to_signature={"other": "other"})
    loop = scheduler_of(
        runners_long_case.build(task),
        metrics=[OutputMetric("other")],
        min_failed_trials_for_failure_rate_check=99,
    )
    loop.experiment.optimization_config = OptimizationConfig(objective=goal)
    with pytest.raises(FailureRateExceededError):
        loop.run_n_trials(2)
    assert statuses(loop) == ["ABANDONED"] * 2
    assert "'other'" in loop.experiment.trials[0].status_reason


def test_metrics_that_cannot_fetch_are_refused(runners_long_case):
    from ax.core.metric import Metric

    made = experiment(runners_long_case.runner(), metric=Metric)
    strategy = build_strategy("sobol", search_space=made.search_space, batch_size=4, seed=5)
    with pytest.raises(UnsupportedError, match="fetching"):
        Scheduler(made, strategy, options=options())


# ---- ends


def endless_task(case: Any) -> Any:
    if case.name == "SimulatedBackend":
        pytest.skip("a simulated cluster computes trials to their end before it shows anything")
    return type(case.task)(slices=10**9, space=BOX)


def test_a_time_limit_ends_a_loop_of_endless_trials(runners_long_case):
    endless = endless_task(runners_long_case)
    loop = scheduler(runners_long_case.build(endless))
    began = time.monotonic()
    loop.run_n_trials(3, timeout_hours=1.0 / 3600)
    assert time.monotonic() - began < 20
    assert set(statuses(loop)) <= {"RUNNING", "CANDIDATE"}


def test_a_time_to_live_ends_trials_for_good(runners_long_case, store):
    endless = endless_task(runners_long_case)
    loop = scheduler(
        runners_long_case.build(endless),
        store,
        ttl_seconds_for_trials=1,
        min_failed_trials_for_failure_rate_check=99,
    )
    with pytest.raises(FailureRateExceededError):
        loop.run_n_trials(2)
    assert statuses(loop) == ["FAILED"] * 2
    assert "time to live of 1 s" in loop.experiment.trials[0].status_reason
    with store.reading() as connection:
        found = campaigns.load_campaign(connection, "loop")
        reasons = [
            event.reason
            for event in events.read_events(connection, found.id, limit=None)
            if event.to_status == "FAILED"
        ]
    assert len(reasons) == 2
    assert "time to live" in (reasons[0] or "")


def test_a_global_rule_ends_the_loop_and_can_be_ignored(runners_long_case):
    rule = ImprovementGlobalStoppingStrategy(
        min_trials=2, window_size=1, improvement_bar=1e9, inactive_when_pending_trials=False
    )
    loop = scheduler(runners_long_case.runner(), pending=1, global_stopping_strategy=rule)
    loop.run_n_trials(8)
    assert 2 <= len(loop.experiment.trials) < 8
    loop = scheduler(runners_long_case.runner(), pending=1, global_stopping_strategy=rule)
    loop.run_n_trials(4, ignore_global_stopping_strategy=True)
    assert len(loop.experiment.trials) == 4


def test_an_infeasible_status_quo_ends_the_loop(runners_case):
    made = experiment(runners_case.runner())
    made.status_quo = Arm({"x": 4.0, "y": 0.1}, name="status_quo")
    made.optimization_config = OptimizationConfig(
        objective=Objective(expression="mean", metric_name_to_signature={"mean": "mean"}),
        outcome_constraints=[
            OutcomeConstraint(expression="top <= -100", metric_name_to_signature={"top": "top"})
        ],
    )
    strategy = build_strategy("sobol", search_space=made.search_space, batch_size=4, seed=5)
    loop = Scheduler(made, strategy, options=options(terminate_if_status_quo_infeasible=True))
    made.new_trial().add_arm(made.status_quo)
    with pytest.raises(StatusQuoInfeasibleError, match="status_quo"):
        loop.run_n_trials(6)
    assert len(made.trials) < 6


class StopOdd(BaseEarlyStoppingStrategy):
    """Stops trials of an odd index as soon as there is something of them."""

    def _is_harmful(self, trial_indices: set[int], experiment: Any) -> bool:
        return False

    def _should_stop_trials_early(
        self, trial_indices: set[int], experiment: Any, current_node: Any = None
    ) -> dict[int, str | None]:
        del current_node
        known = set(experiment.lookup_data().df["trial_index"])
        return {index: "odd" for index in trial_indices & known if index % 2}


def test_early_stopping_keeps_what_there_is_and_stores_why(runners_long_case, store):
    # A worker does a slice in less than a millisecond and reports a few times a second.
    slices = 6_000 if runners_long_case.name.startswith("Worker") else 60
    slow = type(runners_long_case.task)(slices=slices, space=BOX)
    loop = scheduler(
        runners_long_case.build(slow),
        store,
        metric=CurveMetric,
        early_stopping_strategy=StopOdd(metric_signatures=["mean"]),
    )
    loop.run_n_trials(4)
    assert statuses(loop) == ["COMPLETED", "EARLY_STOPPED"] * 2
    trial = loop.experiment.trials[1]
    assert trial.status_reason == "odd"
    assert record(trial)["status"] == "running"
    assert 1 <= record(trial)["step"] < slices
    assert record(trial)["curves"]["mean"]
    data = loop.experiment.lookup_data().df
    assert set(data["trial_index"]) == {0, 1, 2, 3}
    again = Scheduler.from_stored_experiment("loop", options(), store=store, tasks=[slow])
    assert statuses(again) == statuses(loop)
    assert again.experiment.trials[1].status_reason == "odd"
    assert again.experiment.trials[1].run_metadata == trial.run_metadata


# ---- storage


def test_a_stored_loop_goes_on_where_it_was(runners_case, store):
    straight = scheduler(runners_case.runner())
    straight.run_n_trials(6)
    first = scheduler(runners_case.runner(), store)
    first.run_n_trials(3)
    second = Scheduler.from_stored_experiment(
        "loop", options(), store=store, tasks=[runners_case.task]
    )
    runners_case.keep(second.experiment.runner)
    assert second.experiment.runner == runners_case.runner()
    second.run_n_trials(3)
    for index, trial in straight.experiment.trials.items():
        other = second.experiment.trials[index]
        assert other.arm.parameters == trial.arm.parameters
        assert record(other)["outputs"] == record(trial)["outputs"]
    with store.reading() as connection:
        found = campaigns.load_campaign(connection, "loop")
        changes = [
            (event.trial_index, event.from_status, event.to_status)
            for event in events.read_events(connection, found.id, limit=None)
            if event.kind == "trial"
        ]
    for index in range(6):
        own = [change[1:] for change in changes if change[0] == index]
        assert own[0] == (None, "CANDIDATE")
        assert own[-1][1] == "COMPLETED"
        assert all(a[1] == b[0] for a, b in pairwise(own))
