"""Trials as jobs of an executor: Dask, Slurm, or any ``concurrent.futures.Executor``.

At most ``workers`` trials are with the executor at a time. An attempt that ends without a result
is repeated, and how each one ended is kept in the outcomes.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import AxJaxError, EvaluationError
from ax_jax_runners.runners.execution.attempts import Attempt, PendingTrial
from ax_jax_runners.runners.execution.engine import Engine
from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.mailboxes import Mailboxes
from ax_jax_runners.runners.execution.payload import pack_task
from ax_jax_runners.runners.execution.processes.environment import COMPILED, jax_configuration
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey, by_trial
from ax_jax_runners.runners.execution.remote import TrialJob
from ax_jax_runners.runners.execution.watchdog import time_limit_sentence
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import describe_error
from ax_jax_runners.tasks import Task

# How often files are looked at while waiting: a look costs some microseconds a trial.
_LOOK_INTERVAL = 0.1
# Who exceeds a time limit says so itself, unless it hangs as a whole.
_GRACE = 1.0
_OWN_GRACE = 5.0


class FuturesExecution:
    """Runs every trial as one job of an engine."""

    def __init__(
        self,
        task: Task,
        engine: Engine,
        *,
        workers: int,
        time_limit: float | None,
        memory_limit: int | None,
        max_retries: int,
        seed: int,
        directory: str | None,
    ) -> None:
        """Pickle the task; nothing is started.

        Args:
            task: What to compute.
            engine: Where.
            workers: How many trials may be there at a time.
            time_limit: Seconds that a trial may run, all attempts together, or None.
            memory_limit: Resident bytes that its process may hold, or None.
            max_retries: How often a trial whose attempt gave no result is tried again.
            seed: Root of all keys.
            directory: Folder of arrays, frozen states and progress, or None.
        """
        self._engine = engine
        self._workers = workers
        self._max_retries = max_retries
        self._directory = None if directory is None else Path(directory).absolute()
        self._frozen = FrozenArms.in_directory(
            task, seed=seed, directory=self._directory or tempfile.gettempdir()
        )
        self._mailboxes = Mailboxes(
            self._frozen, directory=self._directory, shares_files=engine.shares_files
        )
        self._job = TrialJob(
            task=pack_task(task),
            path=tuple(os.path.abspath(entry) for entry in sys.path),
            jax=self._jax_configuration(),
            seed=seed,
            requests=(),
            directory=None if self._directory is None else str(self._directory),
            mailbox=None,
            attempt="",
            time_limit=time_limit,
            spent=0.0,
            memory_limit=memory_limit,
            owns_process=engine.owns_processes,
        )
        self._trials: dict[TrialKey, PendingTrial] = {}
        # Attempts that nobody waits for any more, and that still keep a worker busy.
        self._leaving: list[Attempt] = []

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Hand trials to the engine, or queue them here; see `Execution.submit`."""
        arms = by_trial(requests)
        for key, group in arms.items():
            self.stop(key)
            self._trials[key] = PendingTrial.of(group)
            try:
                self._trials[key].mailbox = self._mailboxes.open(group)
            except OSError as error:
                self._trials[key].fail(
                    f"Its folder of messages cannot be made: {describe_error(error)}"
                )
        try:
            return self.poll(arms)
        except AxJaxError:
            for key in arms:
                self._trials.pop(key, None)
            raise

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """Return what is known by now, and start what waits for a worker; never blocks."""
        for trial in self._trials.values():
            self._look_at(trial)
        self._start_waiting()
        found: dict[ArmKey, ArmOutcome] = {}
        for key in [key for key in self._trials if key in trials]:
            trial = self._trials[key]
            found.update(trial.found())
            if trial.is_final:
                self._forget(key)
        return found

    def stop(self, trial: TrialKey) -> Mapping[ArmKey, ArmOutcome]:
        """Withdraw a trial; one that runs ends after its slice. See `Execution.stop`."""
        if trial not in self._trials:
            return {}
        self._look_at(self._trials[trial])
        return self._forget(trial).found()

    def capacity(self) -> int:
        """Return how many workers are free, and at least 1 where no trial waits or runs.

        A job that told its last result may be with its worker for another moment. A trial that is
        submitted then waits for it, while Ax takes no trial and no capacity for an error.
        """
        waiting = sum(not trial.is_final for trial in self._trials.values())
        return max(self._workers - waiting - self._busy_leaving(), 0 if waiting else 1)

    def wait(self, seconds: float) -> None:
        """Return when a job ended or reported progress, at the latest after ``seconds``."""
        until = time.monotonic() + seconds
        while self._trials or self._busy_leaving():
            trials, left = self._trials.values(), until - time.monotonic()
            if left <= 0 or any(trial.is_final or trial.has_news for trial in trials):
                return
            attempts = [t.attempt for t in trials if t.attempt is not None] + self._leaving
            futures = [attempt.future for attempt in attempts]
            if not futures:
                time.sleep(min(left, _LOOK_INTERVAL))
            elif wait(futures, min(left, _LOOK_INTERVAL), FIRST_COMPLETED).done:
                return

    def release(self, requests: Sequence[ArmRequest]) -> None:
        """Remove messages and frozen states; see `Execution.release`."""
        if self._directory is None:
            return
        for request in requests:
            self._frozen.discard(request)
        used = [trial.mailbox for trial in self._trials.values()]
        self._mailboxes.discard(by_trial(requests).values(), used=used)

    def close(self) -> None:
        """Withdraw everything, and close the engine; what is frozen stays."""
        for key in list(self._trials):
            self._forget(key)
        self._engine.close()
        self._leaving = []
        self._mailboxes.close()

    def _jax_configuration(self) -> dict[str, Any]:
        cache = None
        if self._engine.owns_processes and self._directory is not None:
            cache = str(self._directory / COMPILED)
        values = jax_configuration(cache)
        if self._engine.owns_processes:
            return values
        # Where others compute as well, only what decides numbers is changed.
        return {name: value for name, value in values.items() if "cache" not in name}

    def _start_waiting(self) -> None:
        """Start trials that wait, while there are free workers."""
        free = self._workers - self._busy_leaving()
        free -= sum(trial.attempt is not None for trial in self._trials.values())
        for trial in self._trials.values():
            while free > 0 and trial.attempt is None and not trial.is_final:
                free -= self._start(trial)

    def _start(self, trial: PendingTrial) -> bool:
        """Begin an attempt and say whether it began."""
        name = secrets.token_hex(8)
        mailbox = None if trial.mailbox is None else str(trial.mailbox.folder)
        job = replace(
            self._job,
            requests=tuple(trial.requests),
            mailbox=mailbox,
            attempt=name,
            spent=trial.spent,
        )
        try:
            future = self._engine.submit(job)
        except AxJaxError:
            raise
        except Exception as error:
            self._lose(trial, error)
            return False
        trial.attempt = Attempt(name, future, trial.mailbox)
        return True

    def _look_at(self, trial: PendingTrial) -> None:
        """Learn what is new of a trial."""
        attempt = trial.attempt
        # Asked first: what a job wrote before its end is then there to be read.
        has_ended = attempt is not None and attempt.future.done()
        trial.read_progress()
        if attempt is None or trial.is_final:
            return
        verdict = attempt.verdict
        if verdict is not None:
            trial.fail(verdict)
        elif has_ended:
            self._take_result(trial, attempt.future)
        else:
            self._check_time(trial, attempt)

    def _take_result(self, trial: PendingTrial, future: Future[Any]) -> None:
        """Take what a job returned, or note that this attempt is lost."""
        error = CancelledError() if future.cancelled() else future.exception(timeout=0)
        if error is None:
            trial.outcomes = [ArmOutcome.decode(record) for record in future.result(timeout=0)]
        if not trial.is_final:
            ended_early = EvaluationError("It ended before its time, as if it had been stopped.")
            self._lose(trial, error or ended_early)

    def _check_time(self, trial: PendingTrial, attempt: Attempt) -> None:
        """Give up a trial that is over its limit, and whose process does not say so."""
        limit = self._job.time_limit
        if limit is None:
            return
        trial.keep_time(begun=attempt.has_begun)
        grace = _OWN_GRACE if self._engine.owns_processes else _GRACE
        if trial.running_time() < limit + grace:
            return
        self._engine.end(attempt.future, attempt.process)
        if trial.mailbox is not None:
            trial.mailbox.ask_to_stop(attempt.name)
        trial.fail(time_limit_sentence(limit))

    def _lose(self, trial: PendingTrial, error: BaseException) -> None:
        trial.lose(self._engine.describe(error), allowed=self._max_retries + 1)

    def _forget(self, key: TrialKey) -> PendingTrial:
        """Let go of a trial that is final or not wanted any more."""
        trial = self._trials.pop(key)
        attempt = trial.attempt
        if attempt is not None and not attempt.future.done():
            if not trial.is_final:
                if attempt.mailbox is not None:
                    attempt.mailbox.ask_to_stop(attempt.name)
                self._engine.cancel(attempt.future, has_begun=attempt.has_begun)
            self._leaving.append(attempt)
        else:
            self._mailboxes.leave(trial.mailbox)
        return trial

    def _busy_leaving(self) -> int:
        """Count the workers that are still with a trial that nobody waits for."""
        ended = [attempt for attempt in self._leaving if attempt.future.done()]
        for attempt in ended:
            self._leaving.remove(attempt)
            self._mailboxes.leave(attempt.mailbox)
        return len(self._leaving)
