"""SimulatedBackendJaxRunner: real results in virtual time, and histories that resume exactly."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Progress,
    SimulatedBackendJaxRunner,
    Store,
    registry_bundle,
)
from ax_jax_runners.errors import ConfigurationError, TaskNotBound
from ax_jax_runners.runners import JaxRunner

SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0), Parameter("y", lower=0.0, upper=1.0)])


def bowl(p: Mapping[str, Any]) -> Any:
    return (p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2


def identity(features: Any) -> Any:
    return features


def slower_at_the_right(p: Mapping[str, Any]) -> Any:
    return 1.0 + 4.0 * jnp.sqrt(p["x"])


TASK = FeatureTask(FeatureEvaluator(bowl, SPACE), outputs={"loss": identity})


@dataclass(frozen=True)
class Steps:
    """After slice k of ``slices`` it reports k * x."""

    slices: int = 4
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("loss",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: Any) -> Any:
        x = np.array([arm["x"] for arm in arms])
        return {"x": x, "step": np.zeros(len(x), int)}

    def advance(self, state: Any) -> Any:
        return {**state, "step": np.minimum(state["step"] + 1, self.slices)}

    def progress(self, state: Any) -> list[Progress]:
        return [
            Progress(k, k == self.slices, {"loss": (k * x, 0.0)})
            for k, x in zip(state["step"].tolist(), state["x"].tolist(), strict=True)
        ]


def make_trials(count: int, experiment: Experiment | None = None) -> list[Any]:
    experiment = experiment or Experiment(name="simulated", search_space=SPACE.to_ax())
    return [
        experiment.new_trial().add_arm(Arm({"x": (i + 1) / 10, "y": 0.5})) for i in range(count)
    ]


def deploy(runner: Any, trials: Sequence[Any]) -> None:
    metadata = runner.run_multiple(trials)
    for trial in trials:
        trial.update_run_metadata(metadata[trial.index])
        trial.mark_running(no_runner_required=True)


def poll(runner: Any, trials: Sequence[Any]) -> dict[str, set[int]]:
    found = runner.poll_trial_status(trials)
    by_index = {trial.index: trial for trial in trials}
    for status, indices in found.items():
        for index in indices:
            if by_index[index].status != status:
                by_index[index].mark_as(status, unsafe=True)
    return {status.name: indices for status, indices in found.items()}


def finish(runner: Any, trials: Sequence[Any]) -> None:
    while not all(trial.status.is_terminal for trial in trials):
        poll(runner, trials)


def outcome(trial: Any) -> dict[str, Any]:
    return trial.run_metadata["ax_jax"]["arms"][trial.arm.name]


# ---- virtual time


def test_results_are_those_of_a_jax_runner_and_come_when_the_cluster_has_them():
    runner = SimulatedBackendJaxRunner(TASK, max_concurrency=2, runtime=[3.0, 1.0, 1.5])
    trials = make_trials(3)
    deploy(runner, trials)
    assert [trial.run_metadata["runtime"] for trial in trials] == [3.0, 1.0, 1.5]
    assert [outcome(trial)["status"] for trial in trials] == ["running"] * 3
    assert [outcome(trial)["outputs"] for trial in trials] == [{}] * 3
    experiment = trials[0].experiment
    assert runner.clock(experiment) == 0.0
    assert poll(runner, trials) == {"RUNNING": {0, 2}, "COMPLETED": {1}}
    assert runner.clock(experiment) == 1.0
    finish(runner, trials)
    frame = runner.timeline(experiment)
    assert frame["queued"].tolist() == [0.0, 0.0, 0.0]
    assert frame["started"].tolist() == [0.0, 0.0, 1.0]
    assert frame["ended"].tolist() == [3.0, 1.0, 2.5]
    assert set(frame["status"]) == {"COMPLETED"}
    real = JaxRunner(TASK).run_multiple(trials)
    assert [t.run_metadata["ax_jax"] for t in trials] == [real[i]["ax_jax"] for i in range(3)]


def test_waiting_trials_are_queued_in_the_timeline():
    runner = SimulatedBackendJaxRunner(TASK, runtime=1.0)
    trials = make_trials(2)
    deploy(runner, trials)
    frame = runner.timeline(trials[0].experiment)
    assert frame["status"].tolist() == ["RUNNING", "QUEUED"]
    assert math.isnan(frame["started"][1])
    assert runner.timeline(Experiment(name="empty", search_space=SPACE.to_ax())).empty


def test_time_scaling_divides_runtimes():
    runner = SimulatedBackendJaxRunner(TASK, runtime=30.0, time_scaling=10.0)
    trials = make_trials(2)
    deploy(runner, trials)
    finish(runner, trials)
    assert runner.timeline(trials[0].experiment)["ended"].tolist() == [3.0, 6.0]
    assert trials[0].run_metadata["runtime"] == 30.0


def test_a_long_task_shows_its_slices_linearly_in_virtual_time():
    runner = SimulatedBackendJaxRunner(Steps(), max_concurrency=2, runtime=[8.0, 4.0])
    trials = make_trials(2)
    deploy(runner, trials)
    seen = []
    while not all(trial.status.is_terminal for trial in trials):
        before = runner.clock(trials[0].experiment)
        poll(runner, trials)
        now = runner.clock(trials[0].experiment)
        if now > before:
            seen.append((now, *(outcome(trial)["step"] for trial in trials)))
    assert seen == [(1.0, 0, 1), (2.0, 1, 2), (3.0, 1, 3), (4.0, 2, 4), (6.0, 3, 4), (8.0, 4, 4)]
    assert outcome(trials[0])["curves"]["loss"] == [
        [k, pytest.approx(0.1 * k), 0.0] for k in range(1, 5)
    ]


def test_a_stopped_trial_keeps_what_was_shown_and_frees_its_slot():
    runner = SimulatedBackendJaxRunner(Steps(), runtime=4.0)
    trials = make_trials(2)
    deploy(runner, trials)
    poll(runner, trials)
    poll(runner, trials)
    assert runner.stop(trials[0], reason="enough") == {"reason": "enough"}
    trials[0].mark_early_stopped(unsafe=True)
    assert runner.stop(trials[0]) == {}
    finish(runner, trials)
    assert outcome(trials[0])["step"] == 2
    assert [point[0] for point in outcome(trials[0])["curves"]["loss"]] == [1, 2]
    frame = runner.timeline(trials[0].experiment)
    assert frame["started"].tolist() == [0.0, 2.0]
    assert frame["ended"].tolist() == [2.0, 6.0]


def test_time_waits_for_submissions_after_an_end_and_after_a_start_of_the_process():
    runner = SimulatedBackendJaxRunner(TASK, max_concurrency=2, runtime=[1.0, 2.0, 3.0])
    trials = make_trials(2)
    experiment = trials[0].experiment
    deploy(runner, trials)
    poll(runner, trials)
    poll(runner, trials[1:])
    assert runner.clock(experiment) == 1.0
    again = runner.clone()
    assert again.clock(experiment) == 1.0
    poll(again, trials[1:])
    (late,) = make_trials(1, experiment)
    deploy(again, [late])
    assert again.timeline(experiment)["queued"].tolist() == [0.0, 0.0, 1.0]
    poll(again, [trials[1], late])
    assert again.clock(experiment) == 2.0
    again.wait(60.0)
    poll(again, [late])
    assert again.clock(experiment) == 4.0


def test_every_experiment_has_its_own_clock():
    runner = SimulatedBackendJaxRunner(TASK, runtime=1.0)
    one, other = make_trials(2), make_trials(1)
    deploy(runner, one)
    finish(runner, one)
    deploy(runner, other)
    assert runner.clock(one[0].experiment) == 2.0
    assert runner.clock(other[0].experiment) == 0.0
    assert runner.timeline(other[0].experiment)["started"].tolist() == [0.0]


# ---- failures


def test_the_cluster_fails_some_trials_with_a_sentence():
    runner = SimulatedBackendJaxRunner(TASK, max_concurrency=500, runtime=10.0, failure_rate=0.1)
    trials = make_trials(400)
    deploy(runner, trials)
    finish(runner, trials)
    failed = [trial for trial in trials if trial.status is TrialStatus.FAILED]
    assert 20 <= len(failed) <= 60
    for trial in failed:
        assert outcome(trial)["outputs"] == {}
        assert "Simulated failure of the cluster after" in runner.poll_exception(trial)
    frame = runner.timeline(trials[0].experiment)
    parts = (frame["ended"] - frame["started"])[frame["status"] == "FAILED"] / 10.0
    assert 0 <= parts.min() < 0.3 < 0.7 < parts.max() < 1
    assert (frame["ended"][frame["status"] == "COMPLETED"] == 10.0).all()


def test_a_failing_long_trial_keeps_the_curve_before_its_failure():
    runner = SimulatedBackendJaxRunner(
        Steps(10), max_concurrency=20, runtime=10.0, failure_rate=1.0
    )
    trials = make_trials(20)
    deploy(runner, trials)
    finish(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}
    ended = runner.timeline(trials[0].experiment)["ended"]
    assert [outcome(trial)["step"] for trial in trials] == [int(t) for t in ended]


def test_a_trial_whose_runtime_is_no_number_fails_alone_and_takes_no_slot():
    def runtime(p: Mapping[str, Any]) -> float:
        return math.nan if 0.15 < p["x"] < 0.25 else 2.0

    runner = SimulatedBackendJaxRunner(TASK, runtime=runtime)
    trials = make_trials(3)
    deploy(runner, trials)
    finish(runner, trials)
    assert [trial.status.name for trial in trials] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert "nan s" in runner.poll_exception(trials[1])
    assert runner.timeline(trials[0].experiment)["ended"].tolist() == [2.0, 0.0, 4.0]


def test_a_retried_trial_gets_new_draws():
    runner = SimulatedBackendJaxRunner(TASK, runtime=1.0, failure_rate=0.5, seed=3)
    (trial,) = make_trials(1)
    statuses = []
    for _ in range(12):
        trial._status = TrialStatus.CANDIDATE
        trial.run_metadata.pop("ax_jax", None)
        deploy(runner, [trial])
        finish(runner, [trial])
        statuses.append(trial.status.name)
    assert set(statuses) == {"COMPLETED", "FAILED"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"max_concurrency": 1.5}, "whole number"),
        ({"max_concurrency": True}, "whole number"),
        ({"failure_rate": 1.1}, "failure_rate"),
        ({"failure_rate": math.nan}, "failure_rate"),
        ({"failure_rate": "often"}, "failure_rate"),
        ({"time_scaling": 0}, "time_scaling"),
        ({"time_scaling": math.inf}, "time_scaling"),
        ({"runtime": -1.0}, "runtime"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        SimulatedBackendJaxRunner(TASK, **arguments)


# ---- campaigns


def make_runner(**options: Any) -> SimulatedBackendJaxRunner:
    options = {
        "runtime": dist.LogNormal(2.0, 0.8),
        "max_concurrency": 4,
        "failure_rate": 0.1,
        **options,
    }
    return SimulatedBackendJaxRunner(TASK, **options)


OPENED: list[Store] = []


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def open_store(url: str, folder: Path) -> Store:
    OPENED.append(Store.open(url, artifacts=folder))
    return OPENED[-1]


def make_campaign(url: str, folder: Path, runner: Any = None) -> Campaign:
    return Campaign(
        "simulated",
        runner=runner or make_runner(),
        objective="-loss",
        generation="sobol",
        batch_size=6,
        store=open_store(url, folder),
    )


def history(campaign: Campaign) -> str:
    """Everything that must be the same twice, to the last bit."""
    runner: Any = campaign.experiment.runner
    frame = runner.timeline(campaign.experiment)
    found = {
        "cluster": frame.to_dict(orient="list"),
        "trials": campaign.to_frame().to_dict(orient="list"),
        "clock": runner.clock(campaign.experiment),
        "records": {
            index: {k: v for k, v in trial.run_metadata.items() if k != "ax_jax"}
            for index, trial in campaign.experiment.trials.items()
        },
    }
    return json.dumps(found)


TOTAL = 24


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("expected")
    campaign = make_campaign(f"sqlite:///{folder / 'c.db'}", folder).run(TOTAL, progress=False)
    return history(campaign)


def test_the_same_seed_gives_the_same_history_and_another_seed_another(tmp_path, expected):
    found = []
    for seed in (0, 1):
        url = f"sqlite:///{tmp_path / f'{seed}.db'}"
        campaign = make_campaign(url, tmp_path, make_runner(seed=seed)).run(TOTAL, progress=False)
        found.append(history(campaign))
    assert found[0] == expected != found[1]


def test_a_free_slot_is_filled_at_the_time_it_became_free(tmp_path):
    url = f"sqlite:///{tmp_path / 'c.db'}"
    runner = make_runner(max_concurrency=6)
    campaign = make_campaign(url, tmp_path, runner).run(TOTAL, progress=False)
    frame = runner.timeline(campaign.experiment)
    assert (frame["started"] == frame["queued"]).all()
    assert set(frame["queued"][6:]) <= set(frame["ended"])
    assert frame["queued"].is_monotonic_increasing


def interrupt_after(polls: int) -> Any:
    """A stop that comes at the given question, in the middle of anything."""
    left = iter(range(polls))
    return lambda: next(left, None) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store_url", "questions"),
    [
        *(("sqlite", questions) for questions in (1, 2, 5, 9, 14, 30, 47)),
        *(("postgresql", questions) for questions in (5, 14)),
    ],
    indirect=["store_url"],
)
def test_a_campaign_stopped_anywhere_and_loaded_again_has_the_same_history(
    store_url, tmp_path, expected, monkeypatch, questions
):
    from ax_jax_runners.campaign.scheduler import Scheduler

    run_to = Scheduler.run_to
    stop = interrupt_after(questions)

    def stopped_run_to(self: Scheduler, total: int, **options: Any) -> bool:
        return run_to(self, total, **{**options, "should_stop": stop})

    campaign = make_campaign(store_url, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "run_to", stopped_run_to)
        campaign.run(TOTAL, progress=False)
    begun = campaign.trials_begun
    campaign.store.close()
    again = Campaign.load("simulated", TASK, store=open_store(store_url, tmp_path))
    assert again.trials_begun == begun
    again.run(TOTAL, progress=False)
    assert history(again) == expected


VICTIM = """
import sys, pathlib
sys.path.insert(0, {root!r})
from {module} import TOTAL, make_campaign
folder = pathlib.Path(sys.argv[1])
campaign = make_campaign(f"sqlite:///{{folder / 'c.db'}}", folder)
print("ready", flush=True)
campaign.run(TOTAL, progress=False)
"""


@pytest.mark.slow
def test_a_campaign_killed_at_any_moment_has_the_same_history(tmp_path, expected):
    """SIGKILL falls where it falls; the last process must end with the first one's bits."""
    # Tasks are known by their module, so it must have the same name there.
    module = make_campaign.__module__
    root = Path(__file__).parents[module.count(".")]
    code = VICTIM.format(root=str(root), module=module)
    pauses = iter(np.random.default_rng(0).uniform(0.05, 1.0, 4))
    for pause in pauses:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    url = f"sqlite:///{tmp_path / 'c.db'}"
    campaign = Campaign.load("simulated", TASK, store=open_store(url, tmp_path))
    assert history(campaign.run(TOTAL, progress=False)) == expected


def test_a_runtime_function_is_stored_by_name_and_must_be_given_again(tmp_path):
    url = f"sqlite:///{tmp_path / 'c.db'}"
    runner = make_runner(runtime=slower_at_the_right)
    campaign = make_campaign(url, tmp_path, runner).run(6, progress=False)
    before = runner.timeline(campaign.experiment)
    x = campaign.to_frame()["x"]
    assert before["runtime"].to_numpy() == pytest.approx(1 + 4 * np.sqrt(x), rel=1e-12)
    campaign.store.close()
    store = open_store(url, tmp_path)
    lost = Campaign.load("simulated", TASK, store=store)
    stored: Any = lost.experiment.runner
    assert stored.timeline(lost.experiment).equals(before)
    with pytest.raises(TaskNotBound, match="slower_at_the_right"):
        lost.run(8, progress=False)
    found = Campaign.load("simulated", TASK, store=store, functions=[slower_at_the_right])
    assert found.run(8, progress=False).trials_begun == 8
    assert found.experiment.runner == runner
    assert registry_bundle(functions=[slower_at_the_right]) is not None
