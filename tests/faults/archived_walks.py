"""A small walk that keeps its points in an archive, and processes of it that are ended.

Run as a program it stays warm and forks copies of itself, which walk until they are killed, or end
themselves at one operation on the disk.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.exploration.archive import Checkpoint, WalkArchive
from tests.faults.operations import on_each_operation

PARTICLES = 3
INTERVAL = 4
IDENTITY = {"kernel": "test", "seed": 0, "box": [0.0, 1.0]}


def step(x: np.ndarray, iteration: int) -> np.ndarray:
    """One iteration of all particles, by random numbers that depend on the iteration alone."""
    random = np.random.default_rng(iteration)
    proposed = x + random.normal(0.0, 0.3, x.shape)
    return np.where((np.abs(proposed) < 1.0), proposed, x)


def walk(x: np.ndarray, first: int, last: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Go from one checkpoint to the next; return where, and the rows between."""
    rows: list[list[Any]] = []
    newest: dict[int, list[Any]] = {}
    for iteration in range(first, last + 1):
        x, before = step(x, iteration), x
        for particle in range(PARTICLES):
            if particle in newest and x[particle] == before[particle]:
                newest[particle][2] += 1
            else:
                newest[particle] = [particle, iteration, 1, x[particle]]
                rows.append(newest[particle])
    particle, iteration, multiplicity, place = zip(*rows, strict=True)
    return x, {
        "seed_point": np.zeros(len(rows), np.int32),
        "particle": np.array(particle, np.int32),
        "iteration": np.array(iteration, np.int64),
        "multiplicity": np.array(multiplicity, np.int32),
        "x": np.array(place),
    }


def go_on(
    archive: WalkArchive, until: int, *, saved: Callable[[int], object] = lambda iteration: None
) -> None:
    """Walk from the newest checkpoint to an iteration, with a checkpoint each few."""
    latest = archive.latest
    x = np.zeros(PARTICLES) if latest is None else latest.arrays["x"]
    iteration = 0 if latest is None else latest.iteration
    while iteration < until:
        end = min(iteration - iteration % INTERVAL + INTERVAL, until)
        x, rows = walk(x, iteration + 1, end)
        parameters = {"x": rows.pop("x")}
        iteration = end
        facts = {"status": "done" if iteration == until else "running", "iteration": iteration}
        archive.save(rows, Checkpoint(iteration, {"x": x}, facts), parameters=parameters)
        saved(iteration)


def run(folder: Path, until: int, **options: Any) -> None:
    """Walk in a folder, from whatever is there."""
    with WalkArchive.open(folder, identity=IDENTITY, concat_every=2) as archive:
        go_on(archive, until, **options)


def straight(until: int) -> dict[str, np.ndarray]:
    """The rows of a walk that nothing interrupts, without an archive."""
    x, parts = np.zeros(PARTICLES), []
    for first in range(1, until + 1, INTERVAL):
        x, rows = walk(x, first, min(first + INTERVAL - 1, until))
        parts.append(rows)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_rows(found: dict[str, np.ndarray], until: int) -> None:
    """The very bits of a straight walk."""
    expected = straight(until)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].tobytes() == values.tobytes(), name


def _start_copy(job: Callable[[], None]) -> int:
    """Fork a process for the job and return its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    return pid


def _in_a_copy(job: Callable[[], None]) -> int:
    """Fork a process for the job and return how it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(_start_copy(job), 0)[1])


def _end_at(number: int, folder: Path, until: int) -> None:
    def act(count: int) -> None:
        if count == number:
            os._exit(99)

    on_each_operation(act)
    progress = folder.with_suffix(".saved")
    run(folder, until, saved=lambda iteration: progress.write_text(str(iteration)))


def _check_and_go_on(folder: Path, until: int) -> None:
    on_each_operation(lambda count: None)
    progress = folder.with_suffix(".saved")
    saved = int(progress.read_text()) if progress.exists() else 0
    with WalkArchive.open(folder, identity=IDENTITY, concat_every=2) as archive:
        reached = 0 if archive.latest is None else archive.latest.iteration
        assert saved <= reached <= saved + INTERVAL, (saved, reached)
        go_on(archive, until)
        assert_rows(archive.view.arrays(), until)
        # What the ended process left is gone: each file is named, or is the lock or a manifest.
        kept = {path.name for path in folder.iterdir()}
        older = {name for name in kept if name.endswith((".parquet", ".npz"))}
        assert not any(name.startswith(".partial") or name.endswith("ed") for name in kept), kept
        assert len(older) <= 4 * len(archive.shards) + 8, kept


def end_everywhere(folder: Path) -> dict[str, Any]:
    """End a copy at the first operation, the second, and so on until one comes to its end."""
    until, ended, failed = 5 * INTERVAL, 0, []
    while True:
        place = folder / f"{ended + 1}"
        code = _in_a_copy(partial(_end_at, ended + 1, place, until))
        if code == 0:
            return {"ended": ended, "failed": failed}
        assert code == 99, code
        ended += 1
        if _in_a_copy(partial(_check_and_go_on, place, until)):
            failed.append(ended)


def main() -> None:
    """Do what is asked line by line."""
    # Arrow loads these when they are first needed; the copies need not do so one by one.
    for name in ("pandas", "pyarrow.compute", "pyarrow.parquet"):
        importlib.import_module(name)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        if what == "end everywhere":
            answer: Any = end_everywhere(Path(arguments[0]))
        elif what == "walk":
            answer = _start_copy(partial(run, Path(arguments[0]), arguments[1]))
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(arguments[0], 0)[1])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Walkers:
    """The tests' side of `main`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have something done and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def walk(self, folder: Path, until: int) -> int:
        """Start a walk in a process of its own and return the process id."""
        return self.ask("walk", str(folder), until)

    def kill(self, pid: int) -> None:
        """Kill a walk; it must have been alive."""
        os.kill(pid, signal.SIGKILL)
        assert self.ask("wait", pid) == -signal.SIGKILL

    def close(self) -> None:
        """End the warm process."""
        self._process.communicate()


if __name__ == "__main__":
    main()
