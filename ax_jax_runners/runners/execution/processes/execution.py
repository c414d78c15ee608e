"""Arms run in worker processes of this machine, one trial a worker at a time."""

from __future__ import annotations

import functools
import os
import time
import weakref
from collections.abc import Collection, Mapping, Sequence

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.payload import pack_task
from ax_jax_runners.runners.execution.processes.book import JobBook
from ax_jax_runners.runners.execution.processes.environment import (
    WorkerOptions,
    discard_half_written,
    jax_configuration,
    worker_environment,
)
from ax_jax_runners.runners.execution.processes.limits import Limits
from ax_jax_runners.runners.execution.processes.messages import Setup
from ax_jax_runners.runners.execution.processes.process import Inbox, WorkerProcess
from ax_jax_runners.runners.execution.processes.supervisor import Supervisor
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey, by_trial
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.tasks import Task

# A death is seen within a tenth of a second, that of a stopped process after two.
_SECONDS_UNSEEN = 3.0


class ProcessExecution:
    """Runs each trial in a worker process of its own, and lets a dead worker cost that trial only.

    Workers start with the first trial and stay warm until `close`, which also happens when this
    object or the interpreter ends. A trial whose worker died goes on in a fresh one from its
    frozen state.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        workers: int,
        limits: Limits,
        options: WorkerOptions,
        directory: str | None = None,
    ) -> None:
        """Pack the task; nothing is started yet.

        Args:
            task: What to compute.
            seed: Root of all keys.
            workers: How many processes.
            limits: Bounds of one trial.
            options: Threads, devices and compiled programs.
            directory: Folder of arrays, frozen states and compiled programs; None keeps none.

        Raises:
            ConfigurationError: The task cannot be sent to another process, or this system has no
                such processes.
        """
        if os.name != "posix":
            raise ConfigurationError(
                "Worker processes need Linux or macOS; give engine='dask' or an executor here."
            )
        directory = None if directory is None else os.path.abspath(directory)
        cache = options.cache(directory)
        setup = Setup(
            task=pack_task(task),
            seed=seed,
            directory=directory,
            jax=jax_configuration(cache),
            parent=os.getpid(),
        )
        self._workers = workers
        self._frozen = (
            None
            if directory is None
            else FrozenArms.in_directory(task, seed=seed, directory=directory)
        )
        self._book = JobBook()
        self._supervisor = Supervisor(
            functools.partial(_start_worker, setup, options, workers),
            self._book,
            workers=workers,
            limits=limits,
            mourn=functools.partial(_clean, cache),
        )
        weakref.finalize(self, self._supervisor.abandon)

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Queue each trial for the next idle worker; see `Execution.submit`."""
        found: dict[ArmKey, ArmOutcome] = {}
        for arms in by_trial(requests).values():
            found.update(self._supervisor.submit(arms))
        return found

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """Return what the workers have reported; see `Execution.poll`."""
        return self._book.poll(trials)

    def stop(self, trial: TrialKey) -> Mapping[ArmKey, ArmOutcome]:
        """Let a trial end after its slice, or within two seconds; see `Execution.stop`."""
        return self._supervisor.stop(trial)

    def capacity(self) -> int:
        """Return how many workers no trial waits for or runs in."""
        return max(0, self._workers - self._book.unfinished())

    def wait(self, seconds: float) -> None:
        """Return when a worker has reported something, or after ``seconds``."""
        self._book.wait(seconds)

    def release(self, requests: Sequence[ArmRequest]) -> None:
        """Discard frozen states, those of a trial that is just stopping after its last slice."""
        if self._frozen is not None:
            for request in requests:
                discard = functools.partial(self._frozen.discard, request)
                self._supervisor.when_done(request.trial, discard)

    def close(self) -> None:
        """End all workers; returns when none is left."""
        self._supervisor.close()


def _start_worker(
    setup: Setup, options: WorkerOptions, workers: int, index: int, inbox: Inbox
) -> WorkerProcess:
    environment = worker_environment(options, index=index, workers=workers)
    return WorkerProcess(setup, environment, inbox)


def _clean(cache: str | None) -> None:
    if cache is not None:
        discard_half_written(cache, time.time() - _SECONDS_UNSEEN)
