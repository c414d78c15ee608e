"""Campaigns whose trials are random walks, killed at any moment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.records import Records, recorded
from tests.faults.walk_tasks import count_slices

TRIALS, BATCH, SLICES = 6, 3, 12
KILLS = 10


@pytest.mark.slow
@pytest.mark.fault(1, 21)
def test_killed_walks_go_on_with_the_same_bits(
    sqlite_bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = sqlite_bench
    job = {"task": "walks", "slices": SLICES, "slice_seconds": 0.05, "batch_size": BATCH}
    folder = bench.folder / "straight"
    folder.mkdir()
    straight = Bench(bench.victims, f"sqlite:///{folder / 'campaigns.db'}", folder)
    undisturbed = straight.start(TRIALS, **job)
    assert undisturbed.wait(120) == 0, undisturbed.output
    assert count_slices(straight.log) == TRIALS * SLICES
    moments = random.Random(11)
    for _ in range(KILLS):
        victim = bench.start(TRIALS, **job)
        known, wanted = count_slices(bench.log), moments.randint(1, 9)
        end = time.monotonic() + 60
        while count_slices(bench.log) < known + wanted and not victim.has_ended():
            assert time.monotonic() < end, victim.output
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.1))
        if not victim.has_ended():
            victim.signal(9)
            assert victim.wait(30) == -9
    last = bench.start(TRIALS, **job)
    assert last.wait(120) == 0, last.output
    records, expected = Records.read(bench.url), Records.read(straight.url)
    assert records.statuses == {"completed": TRIALS}
    assert recorded(records) == recorded(expected)
    again = count_slices(bench.log) - TRIALS * SLICES
    # A kill costs the slice in flight of every trial at most.
    assert again <= KILLS * BATCH
    with capsys.disabled():
        print(f"\n{KILLS} kills, {again} of {TRIALS * SLICES} slices done again, bits equal")


FILE = """
name = "cells"
store = "sqlite:///{store}"
task = "neuron-explore"
trials = 3
batch_size = 3
generation = "sobol"
[task_options]
evaluations = 2560
particles = 16
slices = 8
seed_points = 1
[parameters.kernel]
fixed = "self_loop"
[parameters.adapt]
fixed = false
"""


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from ax_jax_runners.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )


def generations(folder: Path) -> int:
    """How many frozen states of trials there are."""
    return len(list((folder / "killed.artifacts").glob("frozen/*/*")))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.fault(1, 21)
def test_neuron_explore_goes_on_after_kills(tmp_path: Path) -> None:
    for name in ("straight", "killed"):
        (tmp_path / f"{name}.toml").write_text(FILE.format(store=tmp_path / f"{name}.db"))
    straight = command(tmp_path, "run", "straight.toml", "--json")
    _, errors = straight.communicate(timeout=400)
    assert straight.returncode == 0, errors
    arguments = ["run", "killed.toml"]
    for _ in range(3):
        victim = command(tmp_path, *arguments, "--json")
        seen, end = generations(tmp_path), time.monotonic() + 300
        while victim.poll() is None and generations(tmp_path) in (0, seen):
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.5)
        assert victim.poll() is None, victim.communicate()[1]
        victim.kill()
        victim.communicate()
        arguments = ["resume", "cells", "--store", f"sqlite:///{tmp_path / 'killed.db'}"]
    last = command(tmp_path, *arguments, "--json")
    found, errors = last.communicate(timeout=400)
    assert last.returncode == 0, errors
    assert json.loads(found)["counts"] == {"COMPLETED": 3}
    records, expected = (
        Records.read(f"sqlite:///{tmp_path / name}.db") for name in ("killed", "straight")
    )
    assert recorded(records) == recorded(expected)
