"""Trials on Dask: on processes of this machine, or on a cluster that runs already."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.execution import dask_worker
from ax_jax_runners.runners.execution.engine import check_installed, check_options
from ax_jax_runners.runners.execution.mailbox import RunningProcess
from ax_jax_runners.runners.execution.processes.environment import (
    WorkerOptions,
    worker_environment,
)
from ax_jax_runners.runners.execution.remote import TrialJob, run_trial
from ax_jax_runners.runners.sentences import describe_error

_OURS = ("n_workers", "threads_per_worker", "processes", "asynchronous", "worker_class", "loop")
# Dask ends a worker at 95 % of its limit. Ours is watched inside the worker, and says so; Dask's is
# for a worker that cannot even do that.
_SPARE_MEMORY = 1.3
_CLOSING = 1.5


class DaskEngine:
    """Jobs of a Dask scheduler.

    Options are ``{"address": "tcp://..."}`` for a scheduler that runs already, and else keyword
    arguments of ``LocalCluster``: then single-threaded worker processes listen on the loopback
    address, without a dashboard. Executions of equal options share one such cluster.

    Dask itself would run the job of a dead worker again, three times and in silence; here it
    reports the first death, so that every attempt is counted.
    """

    def __init__(
        self, options: Mapping[str, Any], *, workers: int, memory_limit: int | None
    ) -> None:
        """Check the options; nothing is started.

        Raises:
            ConfigurationError: Dask is not installed, or the options cannot be used.
        """
        check_installed("distributed", engine="dask")
        self._options = check_options(options, engine="dask")
        self._address = self._options.get("address")
        if self._address is not None and len(self._options) > 1:
            others = ", ".join(sorted(set(self._options) - {"address"}))
            raise ConfigurationError(
                f'engine="dask" was given an address and {others}; a running cluster takes no '
                "options, so give the address alone."
            )
        taken = [name for name in _OURS if name in self._options]
        if taken:
            raise ConfigurationError(
                f'engine="dask" sets {", ".join(taken)} itself; leave it out, and give the number '
                "of processes as workers."
            )
        self._workers = workers
        self._memory_limit = memory_limit
        self._cluster: _Cluster | None = None
        # Processes of a cluster that runs already may have other users.
        self.owns_processes = self.shares_files = self._address is None

    def submit(self, job: TrialJob) -> Future[Any]:
        """Submit to the scheduler, which is opened or connected to at first."""
        if self._cluster is None:
            self._cluster = self._open()
        return self._cluster.executor.submit(run_trial, job)

    def cancel(self, future: Future[Any], *, has_begun: bool) -> None:
        """Cancel what has not begun. What has begun would go on, and be taken for ended."""
        if not has_begun:
            future.cancel()

    def end(self, future: Future[Any], process: RunningProcess | None) -> None:
        """Kill the worker process; Dask starts another one in its place."""
        if self.owns_processes and process is not None and not future.done():
            with suppress(ProcessLookupError):
                os.kill(process.number, signal.SIGKILL)

    def describe(self, error: BaseException) -> str:
        """Say why a job gave no result."""
        if type(error).__name__ == "KilledWorker":
            return "Its Dask worker died: killed, crashed, or out of memory."
        if isinstance(error, CancelledError):
            return "Dask cancelled it, or its scheduler is gone."
        return describe_error(error)

    def close(self) -> None:
        """Leave the cluster. The last one to leave closes it."""
        if self._cluster is not None:
            _leave(self._cluster)
            self._cluster = None

    def _open(self) -> _Cluster:
        if self._address is not None:
            return _connected(self._address)
        arguments = {
            "host": "127.0.0.1",
            "dashboard_address": None,
            "silence_logs": logging.ERROR,
            # Its server of metrics would take port 8787 for itself, a second cluster's another.
            "scheduler_kwargs": {"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
            "preload": [dask_worker.__name__],
            **_memory_options(self._memory_limit),
            **self._options,
            "n_workers": self._workers,
            "threads_per_worker": 1,
            "processes": True,
        }
        return _join(arguments)


@dataclass
class _Cluster:
    """An open connection to a scheduler.

    Attributes:
        executor: Where jobs are submitted.
        client: The connection.
        local: The ``LocalCluster`` behind it, or None for a cluster that is not ours.
        key: By what equal clusters are found.
        users: How many engines use it.
    """

    executor: Any
    client: Any
    local: Any = None
    key: str = ""
    users: int = 1

    def close(self) -> None:
        """Disconnect, and end a cluster of our own."""
        if self.local is not None:
            self._end_soon()
        self.client.close()
        if self.local is not None:
            self.local.close()

    def _end_soon(self) -> None:
        """Kill workers that do not end, long before Dask would: they compute for nobody."""
        numbers = [nanny.pid for nanny in self.local.workers.values()]
        processes = [psutil.Process(n) for n in numbers if n and psutil.pid_exists(n)]

        def kill() -> None:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

        loop = self.local.loop
        loop.add_callback(loop.call_later, _CLOSING, kill)


# Starting one takes seconds, and a runner's copies need none of their own.
_clusters: dict[str, _Cluster] = {}
_lock = threading.Lock()


def _connected(address: str, **options: Any) -> _Cluster:
    from distributed import Client

    client = Client(address, set_as_default=False, **options)
    return _Cluster(client.get_executor(pure=False, retries=0), client)


def _join(arguments: dict[str, Any]) -> _Cluster:
    """Return the cluster of this process with these arguments, opened by the first who asks."""
    from dask import config
    from distributed import LocalCluster

    method = config.get("distributed.worker.multiprocessing-method")
    if method == "fork":
        raise ConfigurationError(
            "Dask is configured to fork its workers (distributed.worker.multiprocessing-method), "
            'and JAX does not survive a fork; set it to "spawn".'
        )
    key = json.dumps(arguments, sort_keys=True)
    with _lock:
        known = _clusters.get(key)
        if known is not None and known.local.status.name == "running":
            known.users += 1
            return known
        # Else Dask would set the number of threads for this process as well.
        with config.set({"distributed.nanny.pre-spawn-environ": {}}):
            local = LocalCluster(**{"env": _threads(arguments["n_workers"]), **arguments})
        try:
            cluster = _connected(local.scheduler_address)
        except BaseException:
            local.close()
            raise
        cluster.local, cluster.key = local, key
        if not _clusters:
            # Before Dask's own farewell, which would find the connections still open.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _clusters[key] = cluster
        return cluster


def _leave(cluster: _Cluster) -> None:
    with _lock:
        cluster.users -= 1
        if cluster.users > 0:
            return
        if _clusters.get(cluster.key) is cluster:
            del _clusters[cluster.key]
    cluster.close()


def _close_all() -> None:
    with _lock:
        clusters = list(_clusters.values())
        _clusters.clear()
    for cluster in clusters:
        cluster.close()


def _threads(workers: int) -> dict[str, str]:
    """Return the environment variables that share the cores out among the workers."""
    shared = worker_environment(WorkerOptions(), index=0, workers=workers)
    return {
        name: value
        for name, value in shared.items()
        if os.environ.get(name) != value and name != "CUDA_VISIBLE_DEVICES"
    }


def _memory_options(limit: int | None) -> dict[str, Any]:
    if limit is None:
        return {"memory_limit": None}
    # A worker near its limit would otherwise stop to take jobs.
    fractions = {
        f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")
    }
    return {"memory_limit": int(limit * _SPARE_MEMORY), "config": fractions}
