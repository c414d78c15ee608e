"""Opens an execution on Dask, on Slurm or on a user's executor."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.execution.engine import Engine, ExecutorEngine
from ax_jax_runners.runners.execution.futures_execution import FuturesExecution
from ax_jax_runners.tasks import Task

__all__ = ["FuturesExecution", "open_futures"]


def open_futures(
    task: Task,
    *,
    engine: str | None,
    executor: Executor | None,
    workers: int,
    options: Mapping[str, Any],
    time_limit: float | None,
    memory_limit: int | None,
    max_retries: int,
    seed: int,
    directory: str | None,
) -> FuturesExecution:
    """Return an execution on Dask, Slurm or a user's executor; nothing is started yet.

    Args:
        task: What to compute; it must be importable on the other side.
        engine: "dask" or "slurm"; None where an executor is given.
        executor: Any ``concurrent.futures.Executor`` that does not fork, or None.
        workers: How many trials run at a time.
        options: Options of the engine, plain JSON; see `DaskEngine` and `SlurmEngine`.
        time_limit: Seconds that a trial may run, all attempts together, or None. Where the
            engine's processes are our own, a slice that hangs is ended too; elsewhere the limit is
            checked between slices, and a trial that hangs is given up while its worker stays busy.
        memory_limit: Resident bytes of the process of a trial, or None.
        max_retries: How often a trial whose attempt gave no result is tried again.
        seed: Root of all keys.
        directory: Folder of arrays, frozen states and progress, or None. All workers must see it.

    Raises:
        ConfigurationError: A task that cannot travel, an engine that is not installed or not known,
            or options that it cannot use.
    """
    chosen: Engine
    if executor is not None:
        if engine is not None or options:
            raise ConfigurationError(
                "Both an executor and an engine or engine options were given; give one of them."
            )
        chosen = ExecutorEngine(executor)
    elif engine == "dask":
        from ax_jax_runners.runners.execution.dask_engine import DaskEngine

        chosen = DaskEngine(options, workers=workers, memory_limit=memory_limit)
    elif engine == "slurm":
        from ax_jax_runners.runners.execution.slurm_engine import SlurmEngine

        chosen = SlurmEngine(
            options, directory=directory, time_limit=time_limit, memory_limit=memory_limit
        )
    else:
        raise ConfigurationError(
            f'engine is {engine!r}; give "dask" or "slurm", or pass an executor.'
        )
    if memory_limit is not None and not chosen.owns_processes:
        raise ConfigurationError(
            "memory_limit needs worker processes of our own, and these belong to somebody else; "
            "set the limit where they are started, or leave memory_limit out."
        )
    return FuturesExecution(
        task,
        chosen,
        workers=workers,
        time_limit=time_limit,
        memory_limit=memory_limit,
        max_retries=max_retries,
        seed=seed,
        directory=directory,
    )
