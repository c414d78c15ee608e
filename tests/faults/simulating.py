"""Simulations for processes of their own, which are ended or killed before they are done.

Run as a program it stays warm and forks copies of itself, one a line of its input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.posterior.datasets import SimulatedDataset, simulate
from tests.faults.operations import on_each_operation

SPACE = ParameterSpace(
    [Parameter(name, lower=0.0, upper=1.0) for name in "ab"], constraints=["a + b <= 1.2"]
)
ROWS, SHARD_ROWS = 200, 60


def noisy(values: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    noise = jax.random.normal(key, (3,))
    return {"x": jnp.where(values["a"] < 0.1, jnp.nan, values["a"] + values["b"] * noise)}


EVALUATOR = FeatureEvaluator(noisy, SPACE, chunk=8, capacity=64, stochastic=True)


def make(folder: Path, *, rows: int = ROWS, kind: str = "parquet") -> SimulatedDataset:
    return simulate(
        EVALUATOR, SPACE, rows, directory=folder, shard_rows=SHARD_ROWS, batch_size=25, kind=kind
    )


def _do(job: dict[str, Any]) -> int:
    """Simulate; end before one operation on the disk, or tell how many there were."""

    def act(count: int) -> None:
        if count == job["end_at"]:
            os._exit(99)

    counted = on_each_operation(act)
    make(Path(job["folder"]), rows=job["rows"], kind=job["kind"])
    Path(job["folder"]).with_suffix(".operations").write_text(str(counted()))
    return 0


def main() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            told = os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])
        else:
            told = os.fork()
            if told == 0:
                code = 1
                try:
                    code = _do(job)
                finally:
                    os._exit(code)
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()


class Simulators:
    """The tests' side: one warm process that has imported everything and computed nothing."""

    def __init__(self, programs: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.simulating"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "OMP_NUM_THREADS": "1",
                # Copies compile the same small programs again and again.
                "JAX_COMPILATION_CACHE_DIR": str(programs),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            },
        )
        assert self._process.stdout is not None
        while "ready" not in (line := self._process.stdout.readline()):
            assert line, "the process ended before it was ready"

    def start(
        self, folder: Path, *, end_at: int = 0, rows: int = ROWS, kind: str = "parquet"
    ) -> int:
        """Fork a process that simulates; it ends itself before an operation, counted from 1."""
        return self._ask({"folder": str(folder), "end_at": end_at, "rows": rows, "kind": kind})

    def wait(self, pid: int) -> int:
        """Return how it ended: 0 at its end, 99 before the operation, negative by a signal."""
        return self._ask({"wait": pid})

    def run(self, folder: Path, **options: Any) -> int:
        return self.wait(self.start(folder, **options))

    def kill(self, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, job: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


if __name__ == "__main__":
    main()
