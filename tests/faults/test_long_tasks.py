"""Long tasks that are killed again and again, whose states are damaged or half written."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from ax_jax_runners.files import FileStore
from tests.faults.bench import Bench
from tests.faults.long_tasks import read_slices, times_done
from tests.faults.zygote import Victim

KILLS = 20
SLICES = 80


def wait_for_slices(bench: Bench, victim: Victim, count: int) -> bool:
    """Wait until this many more slices were begun; False when the process ended before."""
    end = time.monotonic() + 60
    known = len(read_slices(bench.log))
    while len(read_slices(bench.log)) < known + count:
        if victim.has_ended():
            return False
        assert time.monotonic() < end, victim.output
        time.sleep(0.001)
    return True


def outcome(victim: Victim) -> dict[str, Any]:
    (found,) = victim.report["metadata"]["ax_jax"]["arms"].values()
    return found


def run_straight(bench: Bench, **job: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outcome and arrays of the same trial in one process that nobody disturbs."""
    folder = bench.folder / "straight"
    folder.mkdir()
    other = Bench(bench.victims, "", folder)
    victim = other.start(1, **job)
    assert victim.wait(120) == 0, victim.output
    found = outcome(victim)
    assert set(times_done(other.log)[1.5].values()) == {1}
    return found, arrays_of(other, found)


def arrays_of(bench: Bench, found: dict[str, Any]) -> dict[str, Any]:
    (digest,) = set(found["artifacts"].values())
    return FileStore(bench.artifacts).read_arrays(digest)


def check_equal(bench: Bench, victim: Victim, straight: tuple[dict[str, Any], Any]) -> None:
    found = outcome(victim)
    assert found | {"lost": []} == straight[0] | {"lost": []}
    arrays = arrays_of(bench, found)
    assert arrays.keys() == straight[1].keys() == {"total", "half", "wave", "key"}
    for name, array in arrays.items():
        assert array.dtype == straight[1][name].dtype
        assert array.tobytes() == straight[1][name].tobytes(), name


@pytest.mark.parametrize("runner", ["here", pytest.param("workers", marks=pytest.mark.slow)])
@pytest.mark.fault(1, 21)
def test_twenty_kills_do_not_change_a_bit(
    sqlite_bench: Bench, runner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = sqlite_bench
    job = {"alone": True, "task": "drift", "slices": SLICES, "slice_seconds": 0.01}
    straight = run_straight(bench, **job)
    moments = random.Random(5)
    for _ in range(KILLS):
        victim = bench.start(1, **job, runner=runner)
        assert wait_for_slices(bench, victim, moments.randint(1, 4))
        time.sleep(moments.uniform(0.0, 0.02))
        victim.signal(9)
        assert victim.wait(30) == -9
    last = bench.start(1, **job, runner=runner)
    assert last.wait(120) == 0, last.output
    check_equal(bench, last, straight)
    (counts,) = times_done(bench.log).values()
    assert sorted(counts) == list(range(1, SLICES + 1))
    again = sum(counts.values()) - SLICES
    # A kill costs the slice in flight at most.
    assert again <= KILLS
    with capsys.disabled():
        print(f"\n{runner}: {KILLS} kills, {again} of {SLICES} slices done again, bits equal")


@pytest.mark.fault(16)
def test_a_kill_inside_the_write_of_a_state_leaves_the_one_before(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    job = {"alone": True, "task": "drift", "slices": 12, "watched": True}
    straight = run_straight(bench, **job)
    # A slice writes two files: four flushes and two renames, the manifest last.
    points = ["before os.replace #1", "before os.fsync #2", "after os.fsync #3"]
    points += ["before os.replace #2", "after os.replace #2"]
    last_words = bench.folder / "last words"
    left = 0
    for point in points:
        last_words.unlink(missing_ok=True)
        victim = bench.start(1, **job, die_at=point, last_words=str(last_words))
        assert victim.wait(60) == -9, (point, victim.output)
        assert last_words.read_text() == point
        left += len(list(bench.artifacts.rglob(".partial-*")))
    last = bench.start(1, **job)
    assert last.wait(60) == 0, last.output
    check_equal(bench, last, straight)
    (counts,) = times_done(bench.log).values()
    assert sum(counts.values()) - 12 <= len(points)
    # What the killed ones left is told from files, and goes when a campaign begins.
    assert left > 0
    assert FileStore(bench.artifacts).sweep() > 0
    assert not list(bench.artifacts.rglob(".partial-*"))


@pytest.mark.fault(16)
def test_a_run_sweeps_what_killed_writers_left(bench: Bench) -> None:
    assert bench.run(2, batch_size=2).code == 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = "".join(filter(str.isalnum, socket.gethostname()))
    planted = [
        folder / f".partial-{host}-{pid}-{'0' * 16}"
        for folder in (bench.artifacts, bench.artifacts / "ab", bench.artifacts / "frozen" / "cd")
        for pid in (gone.pid, os.getpid())
    ]
    for path in planted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert bench.run(4, batch_size=2).code == 0
    # Those of a live writer stay.
    assert [path.exists() for path in planted] == [False, True] * 3
