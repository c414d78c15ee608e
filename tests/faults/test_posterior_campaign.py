"""Campaigns whose trials are trainings of posteriors, killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners import JaxRunner, WorkerJaxRunner
from ax_jax_runners.runners import decode_outcomes
from tests.faults.bench import Bench
from tests.faults.records import Records, recorded
from tests.faults.training_tasks import NotedTrainings

BATCH = 3


def noted(log: Path) -> list[int]:
    """The process of every epoch that was begun, of all trials."""
    return [int(line) for line in log.read_bytes().splitlines()] if log.exists() else []


def kill_at_random_moments(bench: Bench, *, trials: int, epochs: int, kills: int) -> int:
    """Kill and resume a campaign, then compare it with a straight one; return epochs lost."""
    job = {"task": "trainings", "slices": epochs, "slice_seconds": 0.05, "batch_size": BATCH}
    folder = bench.folder / "straight"
    folder.mkdir()
    straight = Bench(bench.victims, f"sqlite:///{folder / 'campaigns.db'}", folder)
    undisturbed = straight.start(trials, **job)
    assert undisturbed.wait(200) == 0, undisturbed.output
    assert len(noted(straight.log)) == trials * epochs
    moments = random.Random(13)
    killed = 0
    for _ in range(kills):
        victim = bench.start(trials, **job)
        known, wanted = len(noted(bench.log)), moments.randint(1, BATCH * epochs - BATCH)
        end = time.monotonic() + 100
        while len(noted(bench.log)) < known + wanted and not victim.has_ended():
            assert time.monotonic() < end, victim.output
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.06))
        if not victim.has_ended():
            victim.signal(9)
            assert victim.wait(30) == -9
            killed += 1
    assert killed
    last = bench.start(trials, **job)
    assert last.wait(200) == 0, last.output
    records, expected = Records.read(bench.url), Records.read(straight.url)
    assert records.statuses == {"completed": trials}
    assert recorded(records) == recorded(expected)
    records.check(bench.artifacts, outputs=5, arrays=2)
    again = len(noted(bench.log)) - trials * epochs
    # A kill costs the epoch in flight of every trial at most.
    assert again <= killed * BATCH
    return again


@pytest.mark.slow
@pytest.mark.fault(1, 21)
def test_a_killed_training_goes_on_with_the_same_bits(sqlite_bench: Bench) -> None:
    kill_at_random_moments(sqlite_bench, trials=3, epochs=6, kills=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.fault(1, 21)
def test_trainings_killed_ten_times_have_the_same_bits(
    sqlite_bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    again = kill_at_random_moments(sqlite_bench, trials=9, epochs=8, kills=10)
    with capsys.disabled():
        print(f"\n10 kills, {again} of 72 epochs done again, bits equal")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(2, 21)
def test_a_killed_worker_costs_one_epoch_and_no_bits(tmp_path: Path) -> None:
    log, epochs = tmp_path / "log", 6
    task = NotedTrainings.make(str(log), epochs, 0.3)
    runner = WorkerJaxRunner(task, workers=2, seed=5, directory=tmp_path / "workers")
    try:
        found = begin(runner)
        end = time.monotonic() + 300
        killed = False
        while not all(trial.status.is_terminal for trial in found):
            assert time.monotonic() < end
            busy = Counter(noted(log)).most_common(1)
            if not killed and busy and busy[0][1] >= 3:
                os.kill(busy[0][0], signal.SIGKILL)
                killed = True
            runner.wait(0.05)
            poll(runner, found)
    finally:
        runner.close()
    assert killed
    assert len(noted(log)) == 2 * epochs + 1
    assert len(set(noted(log))) == 3
    other = JaxRunner(
        NotedTrainings.make(str(tmp_path / "here"), epochs, 0.0),
        seed=5,
        directory=tmp_path / "kept",
    )
    expected = begin(other)
    while not all(trial.status.is_terminal for trial in expected):
        poll(other, expected)
    assert sorted(len(outcome(trial).lost) for trial in found) == [0, 1]
    for trial, straight in zip(found, expected, strict=True):
        assert trial.status == TrialStatus.COMPLETED
        assert outcome(trial).outputs == outcome(straight).outputs
        assert outcome(trial).curves == outcome(straight).curves
        # The digests of the estimator and of its training.
        assert outcome(trial).artifacts == outcome(straight).artifacts


def begin(runner: JaxRunner | WorkerJaxRunner) -> list[Any]:
    """Start two trials."""
    space = runner.bound_task.space
    experiment = Experiment(name="trainings", search_space=space.to_ax())
    trials = [
        experiment.new_trial().add_arm(Arm({"learning_rate": rate, "weight_decay": 0.1}))
        for rate in (1e-3, 1e-2)
    ]
    for index, metadata in runner.run_multiple(trials).items():
        trials[index].update_run_metadata(metadata)
        trials[index].mark_running(no_runner_required=True)
    return trials


def poll(runner: JaxRunner | WorkerJaxRunner, trials: list[Any]) -> None:
    for status, indices in runner.poll_trial_status(trials).items():
        for index in indices:
            if trials[index].status != status:
                trials[index].mark_as(status, unsafe=True)


def outcome(trial: Any) -> Any:
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found
