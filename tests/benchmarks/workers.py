"""Worker processes: throughput of two, start of a trial, start of a worker with compiled programs.

Times are wall clock, medians of several repeats; what is compared runs in turns. Every target is
printed with what was reached and with the load of the machine, which decides much of it.

    python tests/benchmarks/workers.py [--repeats 3] [--json figures.json]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.runners.execution import ArmRequest
from ax_jax_runners.runners.execution.processes import Limits, ProcessExecution, WorkerOptions
from ax_jax_runners.tasks import Progress, Task

SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])
SLICES = 4


@functools.partial(jax.jit, static_argnums=1)
def grind(x: jax.Array, turns: int) -> jax.Array:
    """Keep one core busy."""
    return jax.lax.fori_loop(0, turns, lambda i, y: jnp.sin(y + i), x)


@jax.jit
def long_program(x: jax.Array) -> jax.Array:
    """Take seconds to compile and next to nothing to run."""
    y = jnp.linspace(0.0, 1.0, 64) * jnp.sum(x)
    for i in range(400):
        y = jnp.tanh(jnp.sort(y) * (1.0 + 0.01 * i) + 1e-3 * jnp.cumsum(jnp.sin(y)))
    return jnp.sum(y) + x


@dataclass(frozen=True)
class Stepwise:
    """Counts slices; what a slice does is the subclasses' business."""

    slices: int = SLICES
    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("y",)

    def begin(self, arms: Sequence[Mapping[str, Any]], keys: jax.Array) -> dict[str, Any]:
        del keys
        return {
            "y": np.array([arm["x"] for arm in arms], np.float32),
            "step": np.zeros(len(arms), int),
        }

    def progress(self, state: dict[str, Any]) -> list[Progress]:
        return [
            Progress(step=step, done=step >= self.slices, outputs={"y": (float(y), 0.0)})
            for step, y in zip(state["step"].tolist(), state["y"].tolist(), strict=True)
        ]

    def work(self, y: Any) -> Any:
        return y

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"y": np.asarray(self.work(state["y"])), "step": state["step"] + 1}


@dataclass(frozen=True)
class Busy(Stepwise):
    """Slices that keep one core busy."""

    turns: int = 1_000

    def work(self, y: Any) -> Any:
        return y + 0 * grind(jnp.zeros(1_000), self.turns)[: len(y)]


@dataclass(frozen=True)
class SlowToCompile(Stepwise):
    """One slice of a program that takes long to compile."""

    slices: int = 1

    def work(self, y: Any) -> Any:
        return long_program(jnp.asarray(y))


def execution(task: Task, workers: int, directory: str | None = None) -> ProcessExecution:
    return ProcessExecution(
        task,
        seed=0,
        workers=workers,
        limits=Limits(),
        options=WorkerOptions(),
        directory=directory,
    )


_trials = iter(range(10**9))


def run(where: ProcessExecution, trials: int, *, until_step: int = 10**9) -> float:
    """Return the seconds until all trials are done, or have come to a step."""
    requests = [ArmRequest((0, next(_trials)), 0, "arm", {"x": 0.5}) for _ in range(trials)]
    began = time.perf_counter()
    found = dict(where.submit(requests))
    while not all(o.is_final or o.step >= until_step for o in found.values()):
        where.wait(60.0)
        found |= where.poll({request.trial for request in requests})
    seconds = time.perf_counter() - began
    while where.capacity() < trials:
        where.wait(60.0)
        where.poll({request.trial for request in requests})
    failures = [outcome.failure for outcome in found.values() if outcome.failure]
    if failures:
        raise RuntimeError(failures[0])
    return seconds


def slice_of_a_second() -> Busy:
    """Find out how much work fills a second of one core."""
    turns = 2_000
    while True:
        grind(jnp.zeros(1_000), turns).block_until_ready()
        began = time.process_time()
        grind(jnp.zeros(1_000), turns).block_until_ready()
        seconds = time.process_time() - began
        if seconds > 0.3:
            return Busy(turns=int(turns / seconds))
        turns *= 2


def throughput(repeats: int) -> dict[str, float]:
    task = slice_of_a_second()
    one, two = execution(task, 1), execution(task, 2)
    alone, together = [], []
    try:
        run(one, 1, until_step=1)
        run(two, 2, until_step=1)
        for _ in range(repeats):
            alone.append(SLICES / run(one, 1))
            together.append(2 * SLICES / run(two, 2))
    finally:
        one.close()
        two.close()
    pairs = [b / a for a, b in zip(alone, together, strict=True)]
    return {
        "slices per second, one worker": statistics.median(alone),
        "slices per second, two workers": statistics.median(together),
        "two against one": statistics.median(pairs),
        "two against one, best repeat": max(pairs),
    }


def start_of_a_trial(repeats: int) -> dict[str, float]:
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, task, directory in (
            ("one slice", Stepwise(slices=1), None),
            ("first of two slices", Stepwise(slices=2), None),
            ("first of two slices, frozen on disk", Stepwise(slices=2), folder),
        ):
            where = execution(task, 1, directory)
            try:
                cold = run(where, 1, until_step=1)
                times = [run(where, 1, until_step=1) for _ in range(10 * repeats)]
            finally:
                where.close()
            figures[f"ms to the first outcome, cold worker, {name}"] = 1e3 * cold
            figures[f"ms to the first outcome, warm worker, {name}"] = 1e3 * statistics.median(
                times
            )
    return figures


def start_of_a_worker(repeats: int) -> dict[str, float]:
    without, kept = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            first = execution(SlowToCompile(), 1, folder)
            without.append(run_and_close(first))
            kept.append(run_and_close(execution(SlowToCompile(), 1, folder)))
    return {
        "s to the first result, nothing compiled": statistics.median(without),
        "s to the first result, compiled before": statistics.median(kept),
        "faster by": statistics.median([a / b for a, b in zip(without, kept, strict=True)]),
    }


def run_and_close(where: ProcessExecution) -> float:
    try:
        return run(where, 1)
    finally:
        where.close()


TARGETS: dict[str, tuple[Callable[[float], bool], str]] = {
    "two against one": (lambda value: value >= 1.7, ">= 1.7"),
    "ms to the first outcome, warm worker, one slice": (lambda value: value < 50, "< 50"),
    "ms to the first outcome, warm worker, first of two slices": (lambda v: v < 50, "< 50"),
    "faster by": (lambda value: value >= 3, ">= 3"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for measure in (throughput, start_of_a_trial, start_of_a_worker):
        load = os.getloadavg()[0]
        for name, value in measure(options.repeats).items():
            figures[name] = value
            test, target = TARGETS.get(name, (None, ""))
            verdict = "" if test is None else f"target {target}: {'yes' if test(value) else 'NO'}"
            print(f"{name:76} {value:8.2f}  {verdict}")
        print(f"{'(load of the machine before, cores)':76} {load:8.2f}  {os.cpu_count()}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    # Under this name, and not as __main__, workers find the tasks.
    from workers import main as benchmark  # pyright: ignore[reportMissingImports]

    benchmark()
