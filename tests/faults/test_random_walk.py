"""Random walks that are killed at any moment, and one that would fill the memory."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import LeaseHeld
from ax_jax_runners.exploration import WalkArchive, WalkResult
from tests.faults import walking

_ROOT = Path(__file__).resolve().parents[2]


def start(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.walking", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            # Every life compiles the same programs.
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        },
    )


def reached(folder: Path) -> int:
    """The iteration of the newest checkpoint of a walk, 0 before the first."""
    if not (folder / "manifest.json").exists():
        return 0
    latest = WalkArchive.read(folder).latest
    return 0 if latest is None else latest.iteration


def assert_same_bits(found: WalkResult, expected: WalkResult) -> None:
    assert found.states.tobytes() == expected.states.tobytes()
    assert found.violations.tobytes() == expected.violations.tobytes()
    assert found.feature("radius").tobytes() == expected.feature("radius").tobytes()
    ends = zip(jax.tree.leaves(found.state), jax.tree.leaves(expected.state), strict=True)
    for one, other in ends:
        np.testing.assert_array_equal(one, other)


@pytest.mark.fault(1, 16, 21)
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("redraw", 3),
        *(
            pytest.param(name, 20, marks=pytest.mark.slow)
            for name in ("learned", "tuned", "redraw", "aimed")
        ),
    ],
)
def test_a_walk_that_is_killed_again_and_again_comes_to_the_same_bits(
    name: str, kills: int, tmp_path: Path
) -> None:
    given = walking.make_walk(name)
    expected = given.run(walking.SEED, particles=walking.PARTICLES)
    folder, cache = tmp_path / "walk", tmp_path / "programs"
    moments = random.Random(kills)
    seen = []
    for _ in range(kills):
        life = start(cache, name, str(folder))
        assert life.stdout is not None
        assert life.stdout.readline() == "ready\n"
        # Now it compiles, or goes on at once; kill it some checkpoints later.
        before, more, end = reached(folder), moments.randint(0, 3), time.monotonic() + 60
        while life.poll() is None and reached(folder) < before + 7 * more:
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.05))
        life.kill()
        life.communicate()
        seen.append(reached(folder))
    assert seen == sorted(seen)
    assert seen[-1] > 0
    assert_same_bits(
        given.run(walking.SEED, particles=walking.PARTICLES, directory=folder), expected
    )


@pytest.mark.fault(13)
def test_two_processes_do_not_walk_in_one_directory(tmp_path: Path) -> None:
    given = walking.make_walk("redraw")
    with (
        WalkArchive.open(tmp_path, identity={"other": 1}),
        pytest.raises(LeaseHeld, match="is being written by process"),
    ):
        given.run(walking.SEED, directory=tmp_path)


@pytest.mark.fault(15, 21)
def test_a_damaged_checkpoint_costs_what_came_after_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = walking.make_walk("redraw")
    expected = given.run(walking.SEED, particles=3)
    given.run(walking.SEED, particles=3, directory=tmp_path)
    newest = tmp_path / WalkArchive.read(tmp_path).shards[-1].state.name
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        again = given.run(walking.SEED, particles=3, directory=tmp_path)
    assert "is damaged" in caplog.text
    assert_same_bits(again, expected)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_bounded_by_the_chunk_and_not_by_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    particles, iterations = 1024, 98_000
    life = start(
        tmp_path / "programs", "long", str(particles), str(iterations), str(tmp_path / "w")
    )
    told = json.loads(life.communicate()[0])
    assert life.returncode == 0
    assert told["iterations"] == particles * iterations >= 10**8
    archive = WalkArchive.read(tmp_path / "w")
    assert archive.status["finished"]
    with capsys.disabled():
        print(f"\n1e8 particle-iterations at d = 40: {told}")
    assert told["peak_kilobytes"] < 2e6
