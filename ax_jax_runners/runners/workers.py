"""The runner of several trials at a time, each in a process of its own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, Self, final

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.binding import RunnerNotBound
from ax_jax_runners.runners.execution import Execution
from ax_jax_runners.runners.execution.processes import (
    Limits,
    ProcessExecution,
    WorkerOptions,
    pack_task,
    read_memory,
)
from ax_jax_runners.tasks import Task, UnboundTask

_ENGINES = ("processes", "dask", "slurm")
# What is stored as the engine of a runner that was given an executor.
_EXECUTOR = "executor"


@final
class WorkerJaxRunner(TaskRunner):
    """Runs trials in worker processes of this machine, on Dask, on Slurm or in any executor.

    A trial runs in one worker at a time. A worker that is killed, hangs or runs out of memory costs
    its own trial only: that goes on in a fresh worker from its last frozen slice (or from the
    start, without ``directory``), and fails with the whole history when ``max_retries`` attempts
    were lost.

    The task travels to other processes, so its class and functions must be importable there.

    Attributes:
        workers: How many trials run at a time.
        engine: "processes", "dask", "slurm", or "executor" where one was given.
        engine_options: Options of the engine, plain JSON, or None.
        time_limit: Seconds of running time of one trial, or None.
        memory_limit: Resident memory of one trial's worker, as given, or None.
        max_retries: How many lost attempts of a trial are repeated.
    """

    __slots__ = ("_executor",)

    def __init__(
        self,
        task: Task | UnboundTask,
        *,
        workers: int = 2,
        engine: str = "processes",
        engine_options: Mapping[str, Any] | None = None,
        time_limit: float | None = None,
        memory_limit: int | str | None = None,
        max_retries: int = 1,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Keep the arguments; no worker is started yet.

        Args:
            task: What one arm computes.
            workers: How many trials run at a time.
            engine: "processes" (supervised ones on this machine), "dask" or "slurm".
            engine_options: For processes: "threads" of each (by default the cores are shared
                out), "devices" dealt out among them, "compilation_cache" (a folder; by default
                ``compiled`` in the directory). For the others see `open_futures`.
            time_limit: Seconds of running time that a trial may take, all attempts together.
            memory_limit: Resident memory that its worker may hold, in bytes or as "2 GiB". The
                libraries alone take about 0.3 GiB.
            max_retries: How many attempts that ended without a result (a killed worker) are
                repeated. Errors of the task and limits are results, and are not.
            seed: Root of all keys.
            directory: Folder where arrays and frozen states are kept, or None.
            executor: Runs the trials instead of an engine. It is not stored: set `executor` again
                after loading.

        Raises:
            ConfigurationError: An argument that cannot be used, or a task that cannot be sent to
                another process.
        """
        super().__init__(task, seed=seed, directory=directory)
        self.workers = _whole("workers", workers, 1)
        self.max_retries = _whole("max_retries", max_retries, 0)
        self.time_limit = _seconds(time_limit)
        self.memory_limit = memory_limit
        read_memory(memory_limit)
        self.engine = _engine(engine, executor)
        self.engine_options = _plain(engine_options)
        if self.engine == _EXECUTOR and self.engine_options:
            raise ConfigurationError(
                "engine_options were given beside an executor, which has its own; leave them out."
            )
        if self.engine == "processes":
            WorkerOptions.read(self.engine_options or {})
            if not isinstance(task, UnboundTask):
                pack_task(task)
        self._executor = executor

    def _start_afresh(self, task: Task | UnboundTask) -> None:
        super()._start_afresh(task)
        self._executor: Executor | None = None

    @property
    def executor(self) -> Executor | None:
        """What runs the trials where ``engine`` is "executor"; None until it is given again."""
        return self._executor

    @executor.setter
    def executor(self, executor: Executor) -> None:
        self.engine = _engine(self.engine, executor)
        self.close()
        self._executor = executor

    def start_execution(self, task: Task) -> Execution:
        """Return supervised processes, or an execution on the engine or executor.

        Raises:
            ConfigurationError: The task cannot be sent to another process, or the engine is not
                installed.
            RunnerNotBound: The executor was not given again on load.
        """
        options, memory = self.engine_options or {}, read_memory(self.memory_limit)
        if self.engine == "processes":
            return ProcessExecution(
                task,
                seed=self.seed,
                workers=self.workers,
                limits=Limits(self.time_limit, memory, self.max_retries),
                options=WorkerOptions.read(options),
                directory=self.directory,
            )
        if self.engine == _EXECUTOR and self._executor is None:
            raise RunnerNotBound(
                "This WorkerJaxRunner was stored with an executor, which has no place in storage; "
                "set its executor again before it runs."
            )
        from ax_jax_runners.runners.execution.futures import open_futures

        return open_futures(
            task,
            engine=None if self.engine == _EXECUTOR else self.engine,
            executor=self._executor,
            workers=self.workers,
            options=options,
            time_limit=self.time_limit,
            memory_limit=memory,
            max_retries=self.max_retries,
            seed=self.seed,
            directory=self.directory,
        )

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """Return the constructor's arguments as JSON; an executor has no place there."""
        arguments = super().serialize_init_args(obj)
        del arguments["executor"]
        return arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = super().__deepcopy__(memo)
        twin._executor = self._executor
        return twin


def _engine(engine: Any, executor: Any) -> str:
    if executor is None:
        if engine in (*_ENGINES, _EXECUTOR):
            return engine
        listed = ", ".join(map(repr, _ENGINES))
        raise ConfigurationError(
            f"engine is {engine!r}; give one of {listed}, or an executor instead."
        )
    if not isinstance(executor, Executor):
        raise ConfigurationError(
            f"executor is a {type(executor).__name__}; give a concurrent.futures.Executor."
        )
    if engine not in ("processes", _EXECUTOR):
        raise ConfigurationError(
            f"Both the engine {engine!r} and an executor were given; give one of them."
        )
    return _EXECUTOR


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number of at least {least}.")
    return int(value)


def _seconds(limit: Any) -> float | None:
    if limit is None:
        return None
    number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if not number or not 0 < limit < math.inf:
        raise ConfigurationError(f"time_limit is {limit!r}; give seconds above 0, or None.")
    return float(limit)


def _plain(options: Any) -> dict[str, Any] | None:
    """Return options as they come back from storage."""
    if options is None:
        return None
    try:
        if isinstance(options, Mapping):
            return json.loads(json.dumps(dict(options), allow_nan=False))
    except (TypeError, ValueError):
        pass
    raise ConfigurationError(
        f"engine_options is {options!r:.200}; give a mapping of texts to plain JSON values."
    )
