"""Trials on Dask, on submitit's local executor and on executors of the standard library."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.files import FileStore
from ax_jax_runners.runners.execution import ArmRequest, InProcessExecution
from ax_jax_runners.runners.execution.futures import FuturesExecution, open_futures
from ax_jax_runners.runners.execution.protocol import ArmKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.tasks import FeatureTask, Task
from tests.unit.futures_tasks import (
    DyingWalk,
    GreedyWalk,
    HangingWalk,
    Walk,
    feature_task,
    noisy_curve,
)

SEED = 5
PATIENCE = 120.0
Open = Callable[..., FuturesExecution]


def requests(count: int, *, arms: int = 1, x: float = 1.0) -> list[ArmRequest]:
    return [
        ArmRequest((0, trial), arm, f"{trial}_{arm}", {"x": x, "y": 0.1 * trial + 0.05 * arm})
        for trial in range(count)
        for arm in range(arms)
    ]


def in_process(task: Task, wanted: Sequence[ArmRequest]) -> dict[ArmKey, ArmOutcome]:
    execution = InProcessExecution(task, seed=SEED)
    found = dict(execution.submit(wanted))
    while not all(outcome.is_final for outcome in found.values()):
        found.update(execution.poll({request.trial for request in wanted}))
    return found


def until(condition: Callable[[], Any], *, patience: float = PATIENCE) -> Any:
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def results(execution: FuturesExecution, wanted: Sequence[ArmRequest]) -> dict[ArmKey, ArmOutcome]:
    """Run arms to their end."""
    return follow(execution, dict(execution.submit(wanted)))


def follow(
    execution: FuturesExecution, found: dict[ArmKey, ArmOutcome]
) -> dict[ArmKey, ArmOutcome]:
    end = time.monotonic() + PATIENCE
    while running := {key[0] for key, outcome in found.items() if not outcome.is_final}:
        assert time.monotonic() < end, found
        execution.wait(1.0)
        found.update(execution.poll(running))
    return found


def children() -> set[int]:
    """Processes that this one has started, but for Python's own that tracks resources."""
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if not any("resource_tracker" in word for word in child.cmdline())
    }


def outputs(found: Mapping[ArmKey, ArmOutcome]) -> dict[ArmKey, Any]:
    return {key: (o.status, dict(o.outputs), o.step, dict(o.curves)) for key, o in found.items()}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find the tasks where this one does."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="module")
def open_here() -> Iterator[Open]:
    """Opens executions; what they opened stays until the module ends."""
    with ExitStack() as opened:

        def opener(task: Task, engine: str | Executor = "dask", **given: Any) -> FuturesExecution:
            chosen = {"engine": engine} if isinstance(engine, str) else {"executor": engine}
            standard = {
                "engine": None,
                "executor": None,
                "workers": 2,
                "options": {"cluster": "local"} if engine == "slurm" else {},
                "time_limit": None,
                "memory_limit": None,
                "max_retries": 1,
                "seed": SEED,
                "directory": None,
            }
            execution = open_futures(task, **{**standard, **chosen, **given})
            opened.callback(execution.close)
            return execution

        yield opener


SLOW = pytest.mark.slow
ENGINES = ["dask", pytest.param("slurm", marks=SLOW)]


@pytest.fixture(
    scope="module", params=["dask", pytest.param("slurm", marks=SLOW), "threads", "spawned"]
)
def engine(request: pytest.FixtureRequest) -> Iterator[str | Executor]:
    context = multiprocessing.get_context("spawn")
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif request.param == "spawned":
        with ProcessPoolExecutor(2, mp_context=context) as processes:
            yield processes
    else:
        yield request.param


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


@pytest.mark.parametrize("task", [feature_task(), Walk()], ids=["features", "long"])
def test_results_are_those_of_this_process(
    open_here: Open, engine: str | Executor, task: Task, directory: str
) -> None:
    wanted = requests(3, arms=2)
    execution = open_here(task, engine, directory=directory)
    found = results(execution, wanted)
    assert outputs(found) == outputs(in_process(task, wanted))
    assert [(o.status, o.lost) for o in found.values()] == [("completed", ())] * len(found)
    files = FileStore(Path(directory))
    for outcome in found.values():
        for digest in outcome.artifacts.values():
            assert files.read_arrays(digest)
    execution.release(wanted)
    assert not list((Path(directory) / "progress").iterdir())
    assert not list((Path(directory) / "frozen").glob("*"))


@pytest.mark.parametrize("kind", ["threads", "dask"])
def test_without_a_directory(open_here: Open, kind: str) -> None:
    wanted = requests(2)
    with ThreadPoolExecutor(1) as threads:
        execution = open_here(Walk(), threads if kind == "threads" else kind)
        assert outputs(results(execution, wanted)) == outputs(in_process(Walk(), wanted))


def test_an_arm_that_fails_is_one_failure(open_here: Open) -> None:
    good, bad = requests(1)[0], ArmRequest((0, 1), 0, "1_0", {"x": -1.0, "y": 0.5})
    found = results(open_here(feature_task()), [good, bad])
    assert found[good.key].status == "completed"
    assert found[bad.key].status == "failed"
    assert "not finite" in (found[bad.key].failure or "")
    assert not found[bad.key].lost


def test_no_more_trials_run_than_there_are_workers(open_here: Open, tmp_path: Path) -> None:
    execution = open_here(Walk(slices=3, pause=0.05), directory=str(tmp_path))
    assert execution.capacity() == 2
    wanted = requests(5)
    found = dict(execution.submit(wanted))
    assert execution.capacity() == 0
    follow(execution, found)
    until(lambda: execution.capacity() == 2)
    assert outputs(found) == outputs(in_process(Walk(slices=3), wanted))


@pytest.mark.parametrize("kind", ENGINES)
def test_progress_is_seen_while_a_trial_runs(open_here: Open, kind: str, directory: str) -> None:
    task = Walk(slices=200, pause=0.05)
    execution = open_here(task, kind, directory=directory)
    (request,) = wanted = requests(1)
    execution.submit(wanted)

    def progress() -> Any:
        execution.wait(1.0)
        outcome = execution.poll({request.trial})[request.key]
        return outcome if outcome.step > 1 else None

    outcome = until(progress)
    assert outcome.status == "running"
    later = until(lambda: (now := progress()).step > outcome.step and now)
    assert len(later.curves["end"]) > len(outcome.curves["end"])
    stopped = execution.stop(request.trial)
    assert stopped[request.key].step >= later.step
    assert not execution.poll({request.trial})
    until(lambda: execution.capacity() == 2)


def test_a_stopped_trial_ends_in_its_worker(open_here: Open, tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = Walk(slices=10_000, pause=0.02, log=str(log))
    execution = open_here(task)
    first, second = requests(2)
    execution.submit([first, second])
    until(log.exists)
    execution.stop(first.trial)
    execution.stop(second.trial)
    until(lambda: execution.capacity() == 2)
    size = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == size


def test_where_none_waits_there_is_room_for_one(open_here: Open, tmp_path: Path) -> None:
    execution = open_here(Walk(slices=10_000, pause=0.4), directory=str(tmp_path))
    first, second, third = requests(3)
    execution.submit([first, second])
    both = {first.trial, second.trial}
    until(lambda: all(outcome.step for outcome in execution.poll(both).values()))
    for trial in both:
        execution.stop(trial)
    # Both workers are in their slices.
    assert execution.capacity() == 1
    execution.submit([third])
    assert execution.capacity() == 0
    until(lambda: execution.poll({third.trial})[third.key].step > 0)


@pytest.mark.parametrize("kept", [True, False])
def test_equal_trials_of_two_experiments_do_not_disturb_each_other(
    open_here: Open, kept: bool, directory: str
) -> None:
    task = Walk(slices=20, pause=0.02)
    with ThreadPoolExecutor(2) as threads:
        execution = open_here(task, threads, directory=directory if kept else None)
        (first,) = requests(1)
        second = ArmRequest((1, 0), first.position, "other", first.parameters)
        found = dict(execution.submit([first]))
        until(lambda: execution.poll({first.trial})[first.key].step)
        found.update(execution.submit([second]))
        execution.stop(first.trial)
        execution.release([first])
        del found[first.key]
        follow(execution, found)
        (expected,) = in_process(Walk(slices=20), [first]).values()
        assert found[second.key].outputs == expected.outputs
        assert not found[second.key].lost


def test_a_trial_that_waits_is_stopped_before_it_begins(open_here: Open, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ThreadPoolExecutor(1) as threads:
        execution = open_here(Walk(slices=5, pause=0.05, log=str(log)), threads, workers=1)
        first, second = wanted = requests(2)
        found = dict(execution.submit(wanted))
        execution.stop(second.trial)
        del found[second.key]
        follow(execution, found)
        assert found[first.key].status == "completed"
    assert len(log.read_text().splitlines()) == 5


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.fault(2)
def test_a_killed_worker_costs_one_attempt(
    open_here: Open, kind: str, directory: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    task = DyingWalk(slices=5, marker=str(tmp_path / "deaths"), log=str(log))
    execution = open_here(task, kind, directory=directory)
    (good, bad) = wanted = [*requests(1), ArmRequest((0, 7), 0, "7_0", {"x": 3.0, "y": 0.5})]
    found = results(execution, wanted)
    expected = in_process(Walk(slices=5), wanted)
    assert outputs(found) == outputs(expected)
    assert not found[good.key].lost
    (sentence,) = found[bad.key].lost
    assert "Attempt 1 of 2" in sentence
    # Two slices of the killed attempt were frozen and not done again.
    assert len(log.read_text().splitlines()) == 10


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.fault(2)
def test_a_trial_that_always_kills_its_worker_fails(
    open_here: Open, kind: str, directory: str, tmp_path: Path
) -> None:
    task = DyingWalk(marker=str(tmp_path / "deaths"), deaths=1_000)
    execution = open_here(task, kind, directory=directory)
    (good, bad) = wanted = [*requests(1), ArmRequest((0, 7), 0, "7_0", {"x": 3.0, "y": 0.5})]
    found = results(execution, wanted)
    assert found[good.key].status == "completed"
    failed = found[bad.key]
    assert failed.status == "failed"
    assert failed.step in (1, 2)  # reports are at least 0.2 s apart
    assert "Attempt 1 of 2" in (failed.failure or "")
    assert "Attempt 2 of 2" in (failed.failure or "")
    assert (tmp_path / "deaths").stat().st_size == 2
    until(lambda: execution.capacity() == 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.fault(3)
def test_a_trial_that_hangs_is_ended_at_its_limit(
    open_here: Open, kind: str, directory: str
) -> None:
    execution = open_here(HangingWalk(), kind, directory=directory, time_limit=8.0)
    (good, bad) = wanted = [*requests(1), ArmRequest((0, 7), 0, "7_0", {"x": 3.0, "y": 0.5})]
    found = results(execution, wanted)
    assert found[good.key].status == "completed"
    assert found[bad.key].status == "failed"
    assert "time_limit of a trial is 8 s" in (found[bad.key].failure or "")
    assert not found[bad.key].lost
    until(lambda: execution.capacity() == 2)
    assert results(execution, requests(2))  # both workers are there again


@pytest.mark.slow
def test_a_user_s_executor_is_given_up_on_at_the_limit(open_here: Open) -> None:
    with ThreadPoolExecutor(2) as threads:
        between = open_here(Walk(slices=100_000, pause=0.02), threads, time_limit=3.0)
        (outcome,) = results(between, requests(1)).values()
        assert "time_limit" in (outcome.failure or "")
        assert outcome.step > 1
        within = open_here(Walk(slices=2, pause=6.0), threads, time_limit=0.5)
        (outcome,) = results(within, requests(1)).values()
        assert "time_limit" in (outcome.failure or "")
        assert within.capacity() == 1  # the thread is still busy


@SLOW
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.fault(6)
def test_a_trial_that_takes_all_memory_is_ended(open_here: Open, kind: str, directory: str) -> None:
    execution = open_here(GreedyWalk(), kind, directory=directory, memory_limit=2**30)
    (good, bad) = wanted = [*requests(1), ArmRequest((0, 7), 0, "7_0", {"x": 3.0, "y": 0.5})]
    found = results(execution, wanted)
    assert found[good.key].status == "completed"
    assert "memory_limit of a trial is 1.0 GiB" in (found[bad.key].failure or "")
    assert not found[bad.key].lost


@SLOW
def test_a_preempted_job_is_queued_again_and_goes_on(
    open_here: Open, directory: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    task = Walk(slices=40, pause=0.1, log=str(log))
    execution = open_here(task, "slurm", directory=directory, max_retries=0)
    wanted = requests(1)
    found = dict(execution.submit(wanted))
    until(lambda: log.exists() and len(log.read_text().splitlines()) > 3)
    os.kill(int(log.read_text().splitlines()[0]), signal.SIGUSR2)
    follow(execution, found)
    assert outputs(found) == outputs(in_process(Walk(slices=40), wanted))
    slices = log.read_text().splitlines()
    assert len(set(slices)) == 2
    assert len(slices) <= 41


@SLOW
@pytest.mark.fault(3)
def test_a_worker_stopped_by_a_signal_is_replaced(open_here: Open, tmp_path: Path) -> None:
    log = tmp_path / "log"
    execution = open_here(Walk(slices=10_000, pause=0.02, log=str(log)), time_limit=3.0)
    found = dict(execution.submit(requests(1)))
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    os.kill(int(log.read_text().splitlines()[0]), signal.SIGSTOP)
    follow(execution, found)
    (outcome,) = found.values()
    assert "time_limit" in (outcome.failure or "")
    until(lambda: execution.capacity() == 2)


@SLOW
def test_a_pool_that_breaks_is_told(open_here: Open, directory: str, tmp_path: Path) -> None:
    task = DyingWalk(marker=str(tmp_path / "deaths"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        execution = open_here(task, pool, workers=1, directory=directory)
        (outcome,) = results(
            execution, [ArmRequest((0, 7), 0, "7_0", {"x": 3.0, "y": 0.5})]
        ).values()
    assert outcome.status == "failed"
    assert "breaks the whole ProcessPoolExecutor" in (outcome.failure or "")


def test_a_result_that_a_former_run_left_is_not_computed_again(
    open_here: Open, directory: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    task = Walk(log=str(log))
    with ThreadPoolExecutor(1) as threads:
        first = results(open_here(task, threads, directory=directory), requests(2))
        size = log.stat().st_size
        again = open_here(task, threads, directory=directory)
        assert outputs(again.submit(requests(2))) == outputs(first)
        assert log.stat().st_size == size
        again.release(requests(2))
        assert outputs(results(again, requests(2))) == outputs(first)
        assert log.stat().st_size == 2 * size


def test_a_damaged_message_is_no_result(open_here: Open, directory: str) -> None:
    task = Walk()
    with ThreadPoolExecutor(1) as threads:
        first = results(open_here(task, threads, directory=directory), requests(1))
        (message,) = Path(directory).glob("progress/*/outcomes.json")
        whole = message.read_bytes()
        for damaged in (whole[:-9], whole.replace(b"1.", b"2.", 1), b"[]", b""):
            message.write_bytes(damaged)
            again = open_here(task, threads, directory=directory)
            assert outputs(results(again, requests(1))) == outputs(first)


@SLOW
def test_closing_leaves_no_process_and_can_be_followed_by_more(tmp_path: Path) -> None:
    task = Walk(slices=10_000, pause=0.02, log=str(tmp_path / "log"))
    for engine, options in (("dask", {"name": "closed"}), ("slurm", {"cluster": "local"})):
        before = children()
        execution = open_futures(
            task,
            engine=engine,
            executor=None,
            workers=1,
            options=options,
            time_limit=None,
            memory_limit=None,
            max_retries=0,
            seed=SEED,
            directory=str(tmp_path / engine),
        )
        execution.submit(requests(2))
        until(lambda: len((tmp_path / "log").read_text()) if (tmp_path / "log").exists() else 0)
        execution.close()
        (tmp_path / "log").unlink()

        until(lambda before=before: children() <= before, patience=15)
        assert execution.capacity() == 1


def test_executions_of_equal_options_share_a_cluster(open_here: Open) -> None:
    results(open_here(Walk()), requests(2))
    before = children()
    other = open_here(feature_task())
    results(other, requests(2))
    other.close()
    assert children() <= before
    assert results(open_here(Walk(slices=2)), requests(1))


def test_a_running_dask_cluster(open_here: Open, directory: str) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        options = {"address": cluster.scheduler_address}
        with pytest.raises(ConfigurationError, match="memory_limit"):
            open_here(Walk(), options=options, memory_limit=2**30)
        execution = open_here(Walk(), options=options, directory=directory)
        wanted = requests(3)
        assert outputs(results(execution, wanted)) == outputs(in_process(Walk(), wanted))
        execution.close()
        assert cluster.status.name == "running"


class TestRefusals:
    @pytest.mark.parametrize("engine", ["dask", "slurm"])
    def test_tasks_that_cannot_travel(self, open_here: Open, engine: str, directory: str) -> None:
        task = FeatureTask(feature_task().evaluator, outputs={"mean": lambda f: f["curve"][0]})
        with pytest.raises(ConfigurationError, match="cannot be sent"):
            open_here(task, engine, directory=directory)

    @pytest.mark.fault(23)
    def test_pools_that_fork(self, open_here: Open) -> None:
        context = multiprocessing.get_context("fork")
        with (
            ProcessPoolExecutor(1, mp_context=context) as pool,
            pytest.raises(ConfigurationError, match="fork"),
        ):
            open_here(Walk(), pool)

    @pytest.mark.fault(23)
    def test_dask_that_forks(self, open_here: Open) -> None:
        from dask import config

        with (
            config.set({"distributed.worker.multiprocessing-method": "fork"}),
            pytest.raises(ConfigurationError, match="fork"),
        ):
            open_here(Walk(), options={"name": "forked"}).submit(requests(1))

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"engine": "ray"}, "'ray'"),
            ({"executor": 3}, "a int"),
            ({"engine": "dask", "options": {"n_workers": 3}}, "n_workers"),
            ({"engine": "dask", "options": {"address": "tcp://a:1", "name": "b"}}, "name"),
            ({"engine": "dask", "options": {"security": noisy_curve}}, "JSON"),
            ({"engine": "slurm"}, "no directory"),
            ({"engine": "slurm", "directory": "x", "options": {"queue": "a"}}, "queue"),
        ],
    )
    def test_options(self, given: dict[str, Any], told: str) -> None:
        standard = {
            "engine": None,
            "executor": None,
            "workers": 1,
            "options": {},
            "time_limit": None,
            "memory_limit": None,
            "max_retries": 1,
            "seed": 0,
            "directory": None,
        }
        with pytest.raises(ConfigurationError, match=told):
            open_futures(Walk(), **{**standard, **given})

    def test_parameters_of_the_cluster(self, open_here: Open, directory: str) -> None:
        options = {"cluster": "local", "parameters": {"timeout": 3}}
        execution = open_here(Walk(), "slurm", options=options, directory=directory)
        with pytest.raises(ConfigurationError, match="timeout"):
            execution.submit(requests(1))

    def test_a_missing_package(self, open_here: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        from ax_jax_runners.runners.execution import engine

        monkeypatch.setattr(engine, "find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"ax-jax-runners\[dask\]"):
            open_here(Walk())
