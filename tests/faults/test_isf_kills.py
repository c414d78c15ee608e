"""A walk of RW that is killed again and again is the walk that was never killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.unit.isf_walks import ball, rows_of, walk_of

# Forks a process per attempt, so that Python and pandas are imported once, and kills it after a
# time that is its own in every attempt, until one comes to its end.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import pyarrow.parquet
from tests.unit.isf_walks import ball, walk_of

def evaluate(p):
    time.sleep(0.002)
    return ball(0.06, 3)(p)

times = random.Random(7)
kills = 0
while True:
    child = os.fork()
    if not child:
        walk = walk_of(3, Path(sys.argv[1]), evaluation_function=evaluate, n_iterations=150,
                       checkpoint_every=2, concat_every_n_save=3, shard_format=sys.argv[2])
        walk.run_RW(0, 0, 5)
        os._exit(0)
    end = time.monotonic() + times.uniform(0.05, 0.5)
    done = 0
    while not done and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if done:
        break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
print(kills, status)
"""


@pytest.mark.parametrize("shard_format", ["parquet", "npz"])
def test_kills_change_nothing(tmp_path: Path, shard_format: str) -> None:
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(tmp_path / "killed"), shard_format],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    kills, status = map(int, run.stdout.split())
    assert kills >= 2
    assert status == 0

    whole = walk_of(
        3,
        tmp_path / "whole",
        evaluation_function=ball(0.06, 3),
        n_iterations=150,
        shard_format=shard_format,
    )
    whole.run_RW(0, 0, 5)
    folder = tmp_path / "killed" / "0" / "0"
    pd.testing.assert_frame_equal(rows_of(folder), rows_of(tmp_path / "whole" / "0" / "0"))
    manifest = json.loads((folder / "_manifest.json").read_text())["manifest"]
    assert manifest["status"] == "completed"
    left = {p.name for p in folder.iterdir()} - {s["name"] for s in manifest["shards"]}
    assert left == {"_manifest.json", "_lock"}
