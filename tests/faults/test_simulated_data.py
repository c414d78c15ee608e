"""Simulations that are ended, killed or out of space come to the very same files."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ax_jax_runners.posterior.datasets import SimulatedDataset
from tests.faults.simulating import ROWS, SHARD_ROWS, Simulators, make


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    started = Simulators(tmp_path_factory.mktemp("programs"))
    yield started
    started.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shards(folder: Path) -> int:
    return len(list(folder.glob("shard-*")))


@pytest.fixture(scope="module")
def straight(simulators: Simulators, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nothing interrupted, beside a file that tells how many operations it took."""
    folder = tmp_path_factory.mktemp("straight") / "data"
    assert simulators.run(folder) == 0
    assert shards(folder) == -(-ROWS // SHARD_ROWS)
    return folder


@pytest.mark.fault(1, 16, 21)
def test_a_process_that_ends_again_and_again_loses_one_shard_at_most_each_time(
    simulators: Simulators, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    # The first ends before its manifest, the others before, at and behind shard and manifest.
    for end_at in (1, 3, 6, 8, 9, 10):
        before = shards(folder) if folder.exists() else 0
        assert simulators.run(folder, end_at=end_at) == 99
        assert shards(folder) >= before
    assert 0 < shards(folder)
    assert simulators.run(folder) == 0
    assert contents(folder) == contents(straight)


@pytest.mark.slow
@pytest.mark.fault(1, 16, 21)
@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_a_process_that_ends_before_any_operation_on_the_disk_comes_to_the_same_end(
    simulators: Simulators, tmp_path: Path, kind: str
) -> None:
    whole = tmp_path / "whole"
    assert simulators.run(whole, kind=kind) == 0
    operations = int(whole.with_suffix(".operations").read_text())
    # A manifest of no rows, four shards with theirs, and the lock.
    assert operations >= 3 * (1 + 2 * 4) + 1
    for end_at in range(1, operations + 1):
        folder = tmp_path / str(end_at)
        assert simulators.run(folder, end_at=end_at, kind=kind) == 99
        assert simulators.run(folder, kind=kind) == 0
        assert contents(folder) == contents(whole), end_at


def kill_until_done(simulators: Simulators, folder: Path, *, seed: int, rows: int) -> int:
    """Kill at random moments behind a first new shard, until all are there; return how often."""
    moments, killed, total = random.Random(seed), 0, -(-rows // SHARD_ROWS)
    while (before := shards(folder)) < total:
        pid = simulators.start(folder, rows=rows)
        while shards(folder) == before:
            time.sleep(0.002)
        # The first time at once: on a fast machine the rest would be done.
        time.sleep(moments.uniform(0.0, 0.3) if killed else 0.0)
        killed += simulators.kill(pid) != 0
    assert simulators.run(folder, rows=rows) == 0
    return killed


@pytest.mark.fault(1, 16, 21)
@pytest.mark.parametrize(
    ("seed", "rows"),
    [(0, 1_200), *(pytest.param(seed, 12_000, marks=pytest.mark.slow) for seed in range(1, 6))],
)
def test_killed_at_random_moments_the_files_are_the_same_to_the_byte(
    simulators: Simulators, tmp_path: Path, seed: int, rows: int
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "data"
    assert simulators.run(whole, rows=rows) == 0
    assert kill_until_done(simulators, folder, seed=seed, rows=rows) > 0
    assert contents(folder) == contents(whole)


@pytest.mark.fault(12)
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_whole_and_the_next_call_goes_on(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, folder = getattr(os, name), tmp_path / "data"
    left = 0

    def full(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, full)
    for calls in (1, 3, 4):
        left = calls
        with pytest.raises(OSError, match="No space left"):
            make(folder)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    left = 0
    make(folder)
    assert contents(folder) == contents(straight)
    assert len(SimulatedDataset.open(folder)) + SimulatedDataset.open(folder).failed == ROWS
