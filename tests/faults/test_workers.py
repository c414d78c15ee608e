"""Worker processes that are killed, stopped, hang, grow or fail cost their own trial only."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners import JaxRunner, WorkerJaxRunner
from ax_jax_runners.runners import decode_outcomes
from tests.faults.worker_tasks import SPACE, Walk, read_slices

ROOT = Path(__file__).resolve().parents[2]
# Generous: another test run may share the machine, and a worker starts in a second of its own.
PATIENCE = 60.0


def workers() -> list[psutil.Process]:
    """Worker processes of this process that are alive."""
    found = []
    for child in psutil.Process().children():
        try:
            if "processes.worker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def start() -> Iterator[Callable[..., WorkerJaxRunner]]:
    """Make runners that leave no process behind."""
    runners = []

    def build(task: Walk, **options: Any) -> WorkerJaxRunner:
        runners.append(WorkerJaxRunner(task, **{"seed": 5, **options}))
        return runners[-1]

    yield build
    for runner in runners:
        runner.close()
    assert not workers()


def deploy(runner: Any, *troubles: int) -> list[Any]:
    """Start one trial for each trouble; trial i has x = i + 1."""
    experiment = Experiment(name="workers", search_space=SPACE.to_ax())
    trials = [
        experiment.new_trial().add_arm(Arm({"x": index + 1.0, "trouble": trouble}))
        for index, trouble in enumerate(troubles)
    ]
    for index, metadata in runner.run_multiple(trials).items():
        trials[index].update_run_metadata(metadata)
        trials[index].mark_running(no_runner_required=True)
    return trials


def poll(runner: Any, trials: list[Any]) -> None:
    for status, indices in runner.poll_trial_status(trials).items():
        for trial in trials:
            if trial.index in indices and trial.status != status:
                trial.mark_as(status, unsafe=True)


def finish(runner: Any, trials: list[Any], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not all(trial.status.is_terminal for trial in trials):
        assert time.monotonic() < end, [trial.status for trial in trials]
        runner.wait(1.0)
        poll(runner, trials)


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def outcome(trial: Any) -> Any:
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found


def steps_of(log: Path, x: float) -> list[int]:
    return [step for _, step, of in read_slices(log) if of == x]


def in_process(task: Walk, directory: Path, *troubles: int) -> list[Any]:
    """The same trials in this process, untroubled."""
    healthy = Walk(task.log + ".healthy", slices=task.slices)
    runner = JaxRunner(healthy, seed=5, directory=directory)
    trials = deploy(runner, *troubles)
    finish(runner, trials)
    return trials


@pytest.mark.fault(2, 21)
@pytest.mark.fault(2)
def test_a_killed_worker_costs_one_slice_of_its_own_trial(start, tmp_path) -> None:
    log = tmp_path / "log"
    task = Walk(str(log), slices=5, seconds=0.1, troubles=("kill",), at=4, times=1)
    runner = start(task, directory=tmp_path / "kept")
    trials = deploy(runner, 1, 0)
    finish(runner, trials)
    assert steps_of(log, 1.0) == [1, 2, 3, 4, 4, 5]
    assert steps_of(log, 2.0) == [1, 2, 3, 4, 5]
    assert len({pid for pid, _, x in read_slices(log) if x == 1.0}) == 2
    (sentence,) = outcome(trials[0]).lost
    assert "SIGKILL" in sentence
    assert outcome(trials[1]).lost == ()
    alone = in_process(task, tmp_path / "alone", 1, 0)
    for trial, expected in zip(trials, alone, strict=True):
        assert trial.status == TrialStatus.COMPLETED
        assert outcome(trial).outputs == outcome(expected).outputs
        assert outcome(trial).curves == outcome(expected).curves
        assert outcome(trial).artifacts == outcome(expected).artifacts
    assert any((tmp_path / "kept" / "frozen").iterdir())
    runner.release(trials)
    assert not any((tmp_path / "kept" / "frozen").iterdir())


@pytest.mark.fault(2)
@pytest.mark.fault(2)
def test_attempts_are_bounded_and_all_of_them_are_told(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log), troubles=("kill",)), max_retries=2)
    trials = deploy(runner, 1, 0)
    finish(runner, trials)
    assert [trial.status for trial in trials] == [TrialStatus.FAILED, TrialStatus.COMPLETED]
    assert steps_of(log, 1.0) == [1, 2, 1, 2, 1, 2]
    assert steps_of(log, 2.0) == [1, 2, 3, 4]
    sentence = runner.poll_exception(trials[0])
    assert sentence.count("SIGKILL") == 3
    assert "attempt 3" in sentence
    assert len(outcome(trials[0]).lost) == 2


ENDS = {
    "exit": "SystemExit: 3",
    "unpicklable": "Unpicklable: local",
    "escape": "Escaping: beyond Exception",
    "shout": "RuntimeError: xxx",
    "leave": "exit code 7",
    "segfault": "SIGSEGV",
    "hang up": "",
    "stop": "SIGSTOP",
    "kill": "SIGKILL",
}


@pytest.mark.fault(2, 3, 5)
@pytest.mark.fault(5)
def test_whatever_a_task_does_fails_its_own_trial_with_a_bounded_sentence(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log), troubles=tuple(ENDS)), max_retries=0)
    trials = deploy(runner, 0, *range(1, len(ENDS) + 1), 0)
    finish(runner, trials)
    for trial, (trouble, expected) in zip(trials[1:-1], ENDS.items(), strict=True):
        sentence = runner.poll_exception(trial)
        assert trial.status == TrialStatus.FAILED, trouble
        assert expected in sentence, trouble
        assert len(sentence.encode()) <= 10_000
        assert outcome(trial).step == 1
    for trial in (trials[0], trials[-1]):
        assert trial.status == TrialStatus.COMPLETED
        assert outcome(trial).step == 4


@pytest.mark.fault(3)
@pytest.mark.fault(3)
def test_a_worker_that_is_stopped_by_a_signal_is_replaced(start, tmp_path) -> None:
    log = tmp_path / "log"
    task = Walk(str(log), troubles=("stop",), times=1)
    runner = start(task, directory=tmp_path / "kept")
    trials = deploy(runner, 1, 0)
    finish(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.COMPLETED}
    assert steps_of(log, 1.0) == [1, 2, 2, 3, 4]
    assert "SIGSTOP" in outcome(trials[0]).lost[0]


@pytest.mark.fault(3)
@pytest.mark.fault(3)
def test_a_task_that_sleeps_for_ever_ends_at_its_time_limit(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log), troubles=("sleep",)), workers=1, time_limit=8.0, max_retries=3)
    (sleeper,) = deploy(runner, 1)
    pid = until(lambda: steps_of(log, 1.0) == [1, 2] and read_slices(log)[0][0])
    finish(runner, [sleeper])
    assert sleeper.status == TrialStatus.FAILED
    assert "time_limit of a trial is 8 s" in runner.poll_exception(sleeper)
    assert outcome(sleeper).step == 1
    assert steps_of(log, 1.0) == [1, 2], "a limit is a result and is not tried again"
    until(lambda: not psutil.pid_exists(pid))
    assert runner.poll_available_capacity() == 1


def holders_of_memory() -> list[psutil.Process]:
    found = [p for p in psutil.process_iter(["cmdline"]) if "bytearray(6" in str(p.info)]
    return [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.fault(6)
@pytest.mark.parametrize("trouble", ["allocate", "allocate elsewhere"])
@pytest.mark.fault(6)
def test_a_task_that_allocates_without_end_ends_at_its_memory_limit(
    start, tmp_path, trouble
) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log), troubles=(trouble,)), memory_limit="800 MiB")
    trials = deploy(runner, 1, 0)
    finish(runner, trials)
    assert [trial.status for trial in trials] == [TrialStatus.FAILED, TrialStatus.COMPLETED]
    assert "memory_limit of a trial is 800.0 MiB" in runner.poll_exception(trials[0])
    assert steps_of(log, 1.0) == [1, 2]
    until(lambda: not holders_of_memory())


@pytest.mark.fault(2)
@pytest.mark.fault(2)
def test_capacity_is_back_soon_after_an_idle_or_busy_worker_was_killed(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log)))
    finish(runner, deploy(runner, 0, 0))
    (idle, other) = workers()
    idle.kill()
    until(lambda: other in workers() and idle not in workers() and len(workers()) == 2)
    trials = deploy(runner, 0, 0, 0)
    assert runner.poll_available_capacity() == 0
    finish(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.COMPLETED}
    assert runner.poll_available_capacity() == 2


def test_trials_beyond_the_workers_wait_for_their_turn(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log)))
    assert runner.poll_available_capacity() == 2
    trials = deploy(runner, 0, 0, 0, 0, 0)
    assert [outcome(trial).step for trial in trials] == [0] * 5
    assert runner.poll_available_capacity() == 0
    finish(runner, trials)
    assert runner.poll_available_capacity() == 2
    assert len({pid for pid, _, _ in read_slices(log)}) == 2


def test_a_stopped_trial_keeps_what_is_known_and_frees_its_worker(start, tmp_path) -> None:
    log = tmp_path / "log"
    task = Walk(str(log), slices=1000, seconds=0.2, troubles=("sleep",))
    runner = start(task, directory=tmp_path / "kept")
    quick, stuck = trials = deploy(runner, 0, 1)
    until(lambda: poll(runner, trials) or (outcome(quick).step >= 2 and outcome(stuck).step >= 1))
    until(lambda: steps_of(log, 2.0) == [1, 2])
    for trial in trials:
        known = outcome(trial).step
        assert runner.stop(trial, reason="enough") == {"reason": "enough"}
        assert outcome(trial).step >= known
    runner.release(trials)
    assert runner.poll_available_capacity() == 2
    until(lambda: not any((tmp_path / "kept" / "frozen").iterdir()))
    again = deploy(runner, 0, 0)
    until(lambda: poll(runner, again) or all(outcome(trial).step >= 1 for trial in again))
    slices_of_stopped = len(steps_of(log, 1.0))
    for trial in again:
        runner.stop(trial)
    assert slices_of_stopped < 100


def test_after_a_close_the_trials_go_on_from_their_frozen_states(start, tmp_path) -> None:
    log = tmp_path / "log"
    runner = start(Walk(str(log), slices=6, seconds=0.3), directory=tmp_path / "kept")
    trials = deploy(runner, 0, 0)
    until(lambda: poll(runner, trials) or all(outcome(trial).step >= 2 for trial in trials))
    assert len(workers()) == 2
    runner.close()
    assert not workers()
    finish(runner, trials)
    for x in (1.0, 2.0):
        assert sorted(set(steps_of(log, x))) == [1, 2, 3, 4, 5, 6]
        assert len(steps_of(log, x)) <= 7, "at most the slice in flight is done twice"


PARENT = """
import sys, time
sys.path.insert(0, {root!r})
from tests.faults import test_workers as here
if __name__ == "__main__":
    runner = here.WorkerJaxRunner(here.Walk({log!r}, slices=1000, seconds={seconds}))
    trials = here.deploy(runner, 0, 0)
    while len({{pid for pid, _, _ in here.read_slices(here.Path({log!r}))}}) < 2:
        time.sleep(0.05)
    {end}
"""


@pytest.mark.fault(1)
@pytest.mark.parametrize("end", ["killed", pytest.param("exited", marks=pytest.mark.slow)])
@pytest.mark.fault(1, 20)
def test_no_worker_outlives_the_scheduler(tmp_path, end) -> None:
    log = tmp_path / "log"
    last = "time.sleep(3600)" if end == "killed" else "sys.exit(0)"
    script = PARENT.format(root=str(ROOT), log=str(log), seconds=3600.0, end=last)
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    try:
        pids = until(lambda: len(found := {pid for pid, _, _ in read_slices(log)}) == 2 and found)
        if end == "killed":
            parent.kill()
        assert parent.wait(PATIENCE) == (-signal.SIGKILL if end == "killed" else 0)
        until(lambda: not any(map(psutil.pid_exists, pids)), 10.0)
    finally:
        parent.kill()
        parent.wait()


def test_a_module_that_workers_cannot_import_fails_the_trial(start, tmp_path) -> None:
    source = Path(ROOT / "tests/faults/worker_tasks.py").read_text()
    (tmp_path / "out_of_reach.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    try:
        import out_of_reach  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(tmp_path))
    runner = start(out_of_reach.Walk(str(tmp_path / "log")))
    trials = deploy(runner, 0, 0, 0)
    finish(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}
    sentence = runner.poll_exception(trials[0])
    assert "No module named 'out_of_reach'" in sentence
    # Nothing is started in vain; the next trial tries again.
    until(lambda: not workers())
    finish(runner, deploy(runner, 0))


def test_workers_that_die_at_their_start_are_not_restarted_for_ever(
    start, tmp_path, monkeypatch
) -> None:
    source = Path(ROOT / "tests/faults/worker_tasks.py").read_text()
    suicidal = "import os, sys\nif sys.argv[0] == '-c':\n    os._exit(9)\n"
    head, _, rest = source.partition("from __future__ import annotations\n")
    (tmp_path / "deadly.py").write_text(
        head + "from __future__ import annotations\n" + suicidal + rest
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # pyright: ignore[reportMissingImports]

    runner = start(deadly.Walk(str(tmp_path / "log")))
    trials = deploy(runner, 0, 0, 0)
    finish(runner, trials)
    assert {trial.status for trial in trials} == {TrialStatus.FAILED}
    assert "exit code 9" in runner.poll_exception(trials[0])


@pytest.mark.fault(24)
@pytest.mark.slow
@pytest.mark.fault(24)
def test_dozens_of_deaths_leave_nothing_behind(start, tmp_path) -> None:
    runner = start(Walk(str(tmp_path / "log"), slices=2), max_retries=100)
    chance = random.Random(1)
    process = psutil.Process()

    def run(count: int) -> None:
        for _ in range(count // 10):
            trials = deploy(runner, *[0] * 10)
            if chance.random() < 0.5 and (alive := workers()):
                chance.choice(alive).kill()
            finish(runner, trials)
            assert {trial.status for trial in trials} == {TrialStatus.COMPLETED}

    def measure() -> tuple[float, int, int]:
        until(lambda: len(workers()) == 2)
        return process.memory_info().rss, process.num_fds(), process.num_threads()

    run(100)
    before = measure()
    run(500)
    after = measure()
    assert after[0] <= 1.1 * before[0]
    assert after[1] <= 1.1 * before[1] + 1
    assert after[2] <= before[2] + 1
    assert len(os.listdir(tmp_path)) == 1
