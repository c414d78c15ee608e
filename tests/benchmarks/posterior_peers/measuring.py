"""Clocks, turns and fresh processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

_ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
#: Compiled programs that an earlier process left behind would hide the time to compile.
_CACHES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


@dataclass(frozen=True)
class Taken:
    """Seconds: of the processor, all threads together, and on the wall."""

    cpu: float
    wall: float

    def __truediv__(self, count: float) -> Taken:
        return Taken(self.cpu / count, self.wall / count)

    def __sub__(self, other: Taken) -> Taken:
        return Taken(self.cpu - other.cpu, self.wall - other.wall)


def now() -> Taken:
    """Return the clocks of this process."""
    return Taken(time.process_time(), time.perf_counter())


def take_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int, work: Mapping[str, int] | None = None
) -> dict[str, Taken]:
    """Return the least seconds of each call; the first round compiles and does not count.

    Args:
        calls: What is measured.
        repeats: Rounds after the first.
        work: By how much a call's seconds are divided; 1 where nothing is said.
    """
    found: dict[str, list[Taken]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = now()
            call()
            if turn:
                found[name].append(now() - start)
    return {
        name: Taken(min(t.cpu for t in taken), min(t.wall for t in taken))
        / (work or {}).get(name, 1)
        for name, taken in found.items()
    }


def alone(function: Callable[..., Any], *arguments: Any, one_thread: bool = True) -> Any:
    """Call a function in a fresh process.

    Args:
        function: Of a module, not a local one.
        *arguments: For it.
        one_thread: Whether XLA and torch have one thread there; else as many as there are cores.
    """
    before = dict(os.environ)
    # XLA has as many threads as there are cores for the process, whatever its flags say.
    cores = {max(os.sched_getaffinity(0))} if one_thread else os.sched_getaffinity(0)
    try:
        os.environ.update(_ONE_THREAD if one_thread else {})
        for name in _CACHES:
            os.environ.pop(name, None)
        with ProcessPoolExecutor(
            1, get_context("spawn"), initializer=os.sched_setaffinity, initargs=(0, cores)
        ) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)
