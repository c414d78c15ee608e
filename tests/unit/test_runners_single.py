"""One running trial at a time: the runner, and the mixin on either side of another base."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from ax.core.arm import Arm
from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.runner import Runner
from ax.core.trial_status import TrialStatus
from ax.runners.synthetic import SyntheticRunner

from ax_jax_runners.runners import (
    JaxRunner,
    SingleRunningTrialJaxRunner,
    SingleRunningTrialMixin,
)
from tests.contract.cases import GOOD, SPACE, SlowSum
from tests.contract.driving import complete, deploy, poll, record

RUNNING, COMPLETED = TrialStatus.RUNNING, TrialStatus.COMPLETED


class Before(SingleRunningTrialMixin, SyntheticRunner):
    """The mixin first, as Ax's needs it."""


class After(SyntheticRunner, SingleRunningTrialMixin):
    """The mixin last, where Ax's does nothing."""


class TaskBefore(SingleRunningTrialMixin, JaxRunner):  # pyright: ignore[reportGeneralTypeIssues]
    """A runner with a task, the mixin first."""


class TaskAfter(JaxRunner, SingleRunningTrialMixin):  # pyright: ignore[reportGeneralTypeIssues]
    """A runner with a task, the mixin last."""


class Bench(SingleRunningTrialMixin, Runner):
    """A bench that can tell when it is done."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def run(self, trial: BaseTrial) -> dict[str, Any]:
        return {}

    def is_trial_done(self, trial: BaseTrial) -> bool:
        return trial.index in self.done


class OwnPoll(SingleRunningTrialMixin, SyntheticRunner):
    """A class with a poll of its own, on top of the mixin's."""

    def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
        return {**super().poll_trial_status(trials), TrialStatus.STAGED: set()}


def running(runner: Runner, count: int) -> list[Any]:
    """Trials of one experiment that were all started."""
    experiment = Experiment(name="bench", search_space=SPACE.to_ax(), runner=runner)
    return [experiment.new_trial().add_arm(Arm(dict(GOOD[i]))).run() for i in range(count)]


@pytest.mark.parametrize("kind", [Before, After, OwnPoll])
def test_the_latest_trial_runs_and_older_ones_are_completed(kind: type[Runner]) -> None:
    runner = kind()
    trials = running(runner, 3)
    found = {s: i for s, i in runner.poll_trial_status(trials).items() if i}
    assert found == {COMPLETED: {0, 1}, RUNNING: {2}}
    # The experiment says which one is the latest, not the trials that are asked for.
    assert runner.poll_trial_status(trials[:1])[COMPLETED] == {0}
    assert {s: i for s, i in runner.poll_trial_status(trials[2:]).items() if i} == {RUNNING: {2}}


@pytest.mark.parametrize("kind", [Before, After, Bench])
def test_no_trial_and_ended_trials_have_no_status(kind: type[Runner]) -> None:
    runner = kind()
    assert runner.poll_trial_status([]) == {}
    (trial,) = running(runner, 1)
    trial.mark_abandoned()
    assert runner.poll_trial_status([trial]) == {}


def test_trials_that_do_not_run_keep_their_status() -> None:
    runner = Before()
    experiment = Experiment(name="bench", search_space=SPACE.to_ax(), runner=runner)
    waiting, staged, going = (experiment.new_trial().add_arm(Arm(dict(GOOD[i]))) for i in range(3))
    staged.mark_staged()
    going.run()
    assert runner.poll_trial_status([waiting, staged, going]) == {
        TrialStatus.CANDIDATE: {0},
        TrialStatus.STAGED: {1},
        RUNNING: {2},
    }


def test_a_runner_that_can_tell_ends_its_latest_trial() -> None:
    runner = Bench()
    trials = running(runner, 2)
    assert runner.poll_trial_status(trials) == {COMPLETED: {0}, RUNNING: {1}}
    runner.done.append(1)
    assert runner.poll_trial_status(trials) == {COMPLETED: {0, 1}}


@pytest.mark.parametrize("kind", [TaskBefore, TaskAfter, SingleRunningTrialJaxRunner])
def test_with_a_task_the_latest_trial_ends_with_it(kind: Any) -> None:
    runner = kind(SlowSum(slices=4), seed=7)
    trials = running(runner, 3)
    assert runner.poll_trial_status(trials) == {COMPLETED: {0, 1}, RUNNING: {2}}
    # The older ones keep what they had, and their record says that nothing more will come.
    for trial in trials[:2]:
        assert record(trial)["status"] == "completed"
        assert record(trial)["step"] == 1
        assert set(record(trial)["outputs"]) == {"mean", "top"}
        trial.mark_completed()
    steps = [record(trials[2])["step"]]
    while poll(runner, trials[2:]) == {RUNNING: {2}}:
        steps.append(record(trials[2])["step"])
    assert trials[2].status is COMPLETED
    assert steps == [2, 3]
    alone = running(JaxRunner(SlowSum(slices=4), seed=7), 3)[2:]
    while poll(alone[0].experiment.runner, alone) == {RUNNING: {2}}:
        pass
    assert record(trials[2]) == record(alone[0])


def test_the_bench_takes_one_trial_at_a_time() -> None:
    runner = SingleRunningTrialJaxRunner(SlowSum(slices=3))
    experiment = Experiment(name="bench", search_space=SPACE.to_ax(), runner=runner)
    trials = [experiment.new_trial().add_arm(Arm(dict(GOOD[i]))) for i in (0, 2)]
    assert runner.poll_available_capacity() == 1
    deploy(runner, trials[:1])
    assert runner.poll_available_capacity() == 0
    while trials[0].status is RUNNING:
        poll(runner, trials[:1])
    assert runner.poll_available_capacity() == 1
    complete(runner, trials[1:])
    assert [record(trial)["step"] for trial in trials] == [3, 3]
