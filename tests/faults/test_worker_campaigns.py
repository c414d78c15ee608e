"""Campaigns on worker processes, which are killed, stopped, hang, grow or raise."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import psutil
import pytest
from ax.core.trial_status import TrialStatus

from ax_jax_runners import Campaign, Store, WorkerJaxRunner
from ax_jax_runners.runners import decode_outcomes
from tests.faults.bench import Bench
from tests.faults.long_tasks import read_slices, times_done
from tests.faults.records import Records
from tests.faults.worker_tasks import Walk
from tests.faults.worker_tasks import read_slices as read_walk

SQLITE_NOW = pytest.mark.parametrize(
    "store_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
BOTH_SLOW = pytest.mark.slow
TROUBLES = ("kill", "stop", "sleep", "allocate", "exit", "shout", "segfault")
SAID = {
    "kill": "SIGKILL",
    "stop": "SIGSTOP",
    "sleep": "time_limit of a trial is 6 s",
    "allocate": "memory_limit of a trial is 800.0 MiB",
    "exit": "SystemExit: 3",
    "shout": "more bytes",
    "segfault": "SIGSEGV",
}


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def walking(store: Store, log: Path, *, batch_size: int = 4, **options: Any) -> Campaign:
    assert store.files is not None
    task = options.pop("task", None) or Walk(str(log), slices=3)
    runner = WorkerJaxRunner(task, workers=2, seed=5, directory=store.files.folder, **options)
    return Campaign(
        "walks",
        runner=runner,
        objective="total",
        store=store,
        generation="sobol",
        batch_size=batch_size,
    )


def outcome(trial: Any) -> Any:
    (found,) = decode_outcomes(trial.run_metadata).values()
    return found


def processes_of(log: Path) -> list[psutil.Process]:
    """Worker processes that have noted a slice and are alive."""
    found = []
    for pid in {pid for pid, _, _ in read_walk(log)}:
        try:
            process = psutil.Process(pid)
            if "processes.worker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@BOTH_SLOW
@pytest.mark.fault(2, 3, 5, 6, 23)
def test_each_trouble_costs_its_own_trial_only(store: Store, tmp_path: Path) -> None:
    # A fork of a process in which JAX has computed would hang.
    assert float(jnp.ones(3).sum()) == 3.0
    log = tmp_path / "log"
    task = Walk(str(log), slices=3, troubles=TROUBLES)
    campaign = walking(store, log, task=task, batch_size=12, time_limit=6.0, memory_limit="800 MiB")
    for trouble in range(len(TROUBLES) + 1):
        campaign.attach({"x": trouble + 1.0, "trouble": trouble})
    campaign.attach({"x": 4.5, "trouble": 0})
    campaign.run(len(TROUBLES) + 2, progress=False)
    loaded = Campaign.load("walks", task, store=store)
    for index, trial in loaded.experiment.trials.items():
        trouble = TROUBLES[index - 1] if 0 < index <= len(TROUBLES) else None
        if trouble is None:
            assert trial.status is TrialStatus.COMPLETED
            assert outcome(trial).lost == ()
            continue
        assert trial.status is TrialStatus.FAILED, trouble
        assert trial.status_reason is not None
        assert SAID[trouble] in trial.status_reason, trouble
        assert len(trial.status_reason.encode()) <= 10_000
        # What ends a process is tried once more; limits and errors are results.
        slices = [step for _, step, x in read_walk(log) if x == index + 1.0]
        if trouble in ("kill", "stop", "segfault") and "time_limit" not in trial.status_reason:
            assert slices == [1, 2, 2], trouble
        else:
            assert slices == [1, 2], trouble
    assert not processes_of(log)
    # The same campaign goes on, with all of its workers.
    loaded.run(len(TROUBLES) + 4, progress=False)
    assert {loaded.experiment.trials[i].status.is_terminal for i in range(len(TROUBLES) + 4)} == {
        True
    }


def spawned_by(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_slices(bench: Bench, victim: Any, count: int, *, patience: float = 90.0) -> None:
    end = time.monotonic() + patience
    known = len(read_slices(bench.log))
    while len(read_slices(bench.log)) < known + count and not victim.has_ended():
        assert time.monotonic() < end, victim.output
        time.sleep(0.005)


@SQLITE_NOW
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=BOTH_SLOW)])
@pytest.mark.fault(20)
def test_a_signal_ends_the_workers_too(bench: Bench, number: int) -> None:
    job = {"task": "drift", "runner": "workers", "slices": 1_000, "slice_seconds": 0.05}
    victim = bench.start(4, batch_size=2, **job)
    wait_for_slices(bench, victim, random.Random(number).randint(3, 12))
    workers = spawned_by(victim.pid)
    assert workers
    victim.signal(number)
    # Five seconds are the promise; twice as many for a machine that others use too.
    assert victim.wait(10) == 0, victim.output
    assert not [process for process in workers if process.is_running()]
    records = Records.read(bench.url)
    assert records.state == "stopped"
    assert records.rows["leases"][0][2] == 0, "the lease was not released"
    assert records.statuses["running"] == 2
    noted = times_done(bench.log)
    resumed = bench.start(4, batch_size=2, **job)
    wait_for_slices(bench, resumed, 4)
    resumed.signal(signal.SIGTERM)
    assert resumed.wait(10) == 0
    after = times_done(bench.log)
    assert after.keys() == noted.keys()
    for gain, counts in after.items():
        assert sorted(counts) == list(range(1, max(counts) + 1))
        assert sum(counts.values()) - len(counts) <= 1, f"{gain}: more than the slice in flight"


BLOCKS, BLOCK = 3, 10


@BOTH_SLOW
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("runner", ["here", "workers"])
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.fault(1, 2)
def test_random_kills_of_schedulers_and_workers(
    bench: Bench, runner: str, block: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Campaigns of long trials; in all blocks together 60 seeds on each database."""
    # At most this many kills of schedulers while one trial runs: ten in a row give it up.
    job = {"task": "drift", "runner": runner, "slices": 12, "slice_seconds": 0.02}
    kills: Counter[str] = Counter()
    before = None
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        moments = random.Random(1_000 * seed + len(runner))
        victim = bench.start(10_000, batch_size=2, **job)
        wait_for_slices(bench, victim, moments.randint(1, 30))
        time.sleep(moments.uniform(0.0, 0.05))
        workers = [p for p in spawned_by(victim.pid) if "processes.worker" in command_of(p)]
        if workers and moments.random() < 0.5:
            moments.choice(workers).kill()
            kills["workers"] += 1
            wait_for_slices(bench, victim, moments.randint(4, 20))
        victim.signal(signal.SIGKILL)
        assert victim.wait(30) == -9
        kills["schedulers"] += 1
        after = Records.read(bench.url)
        if before is not None:
            before.check_kept_in(after)
        before = after
        end = time.monotonic() + 10
        while any(process.is_running() for process in workers):
            assert time.monotonic() < end, "a worker outlived its scheduler"
            time.sleep(0.05)
    total = len(Records.read(bench.url).indices) + 2
    final = bench.start(total, batch_size=2, **job)
    assert final.wait(240) == 0, final.output
    records = Records.read(bench.url)
    records.check(bench.artifacts, arrays=4)
    assert records.indices == list(range(total))
    assert records.statuses == {"completed": total}
    if before is not None:
        before.check_kept_in(records)
    counts = times_done(bench.log)
    assert len(counts) == total, "an arm was evaluated that is in no trial"
    assert all(sorted(slices) == list(range(1, 13)) for slices in counts.values())
    again = sum(sum(slices.values()) - 12 for slices in counts.values())
    # A killed scheduler costs a slice of each of two trials, a killed worker one of its own.
    assert again <= 2 * kills["schedulers"] + kills["workers"]
    folder = bench.folder / "straight"
    folder.mkdir()
    straight = Bench(bench.victims, f"sqlite:///{folder / 'campaigns.db'}", folder)
    undisturbed = straight.start(total, batch_size=2, **job | {"runner": "here"})
    assert undisturbed.wait(240) == 0
    other = Records.read(straight.url)
    assert records.arms == other.arms
    assert records.values == other.values
    with capsys.disabled():
        print(
            f"\n{bench.url.partition(':')[0]}, {runner}: {dict(kills)} killed, {total} trials, "
            f"{again} of {12 * total} slices again, 0 lost, 0 doubled, bits equal"
        )


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@BOTH_SLOW
@pytest.mark.timeout(3600)
@pytest.mark.fault(24)
def test_a_long_campaign_with_random_deaths_stays_small(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    campaign = walking(store, log, task=Walk(str(log), slices=2), batch_size=10, max_retries=20)
    chance, process = random.Random(1), psutil.Process()
    real, killed = WorkerJaxRunner.run_multiple, 0

    def run_and_kill(self: WorkerJaxRunner, trials: Any) -> Any:
        nonlocal killed
        trials = list(trials)
        found = real(self, trials)
        alive = processes_of(log)
        # One trial in a hundred.
        if alive and chance.random() < len(trials) / 100:
            chance.choice(alive).kill()
            killed += 1
        return found

    sizes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerJaxRunner, "run_multiple", run_and_kill)
        for total in (150, 300, 500):
            campaign.run(total, progress=False)
            # A campaign as another process opens it, so that only leaks are measured.
            campaign = Campaign.load("walks", Walk(str(log), slices=2), store=store)
            sizes.append((process.memory_info().rss, process.num_fds(), process.num_threads()))
    assert killed >= 1
    records = Records.read(store.url)
    assert records.indices == list(range(500))
    assert records.statuses == {"completed": 500}
    first, last = sizes[0], sizes[-1]
    assert last[0] <= 1.1 * first[0]
    assert last[1] <= 1.1 * first[1] + 1
    assert last[2] <= first[2] + 1
