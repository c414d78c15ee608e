"""Trials as jobs of Slurm, by submitit; its local executor runs them on this machine.

Results come as JSON by the trial's mailbox. What submitit pickles on its way to the job is never
read back here.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ConfigurationError, EvaluationError
from ax_jax_runners.runners.execution.engine import check_installed, check_options
from ax_jax_runners.runners.execution.mailbox import Mailbox, RunningProcess
from ax_jax_runners.runners.execution.remote import TrialJob, run_trial
from ax_jax_runners.runners.sentences import bounded, describe_error

_LOG = logging.getLogger("ax_jax_runners.runners")
_FOLDER = "slurm"
_LOCAL = "local"
# The local executor ends jobs after two minutes by default; on this machine nobody asks for that.
_LOCAL_MINUTES = 7 * 24 * 60
# How often jobs are looked at, and how long a result may take to be visible after the job's end.
_INTERVALS = {_LOCAL: (0.1, 1.0)}
_CLUSTER_INTERVALS = (1.0, 30.0)
_LOG_BYTES = 1_000
_CLOSING = 5.0
_JOIN = 0.5


class ResumableTrial:
    """Runs a trial; when Slurm preempts the job or its time is over, it is queued again.

    The new job goes on from the frozen states.
    """

    def __call__(self, job: TrialJob) -> None:
        """Run the trial; its outcomes are in the mailbox.

        It runs in a thread, because submitit ends a preempted job by an exception in the main
        thread, which a task that runs there would be blamed for.

        Raises:
            BaseException: Whatever `run_trial` raised.
        """
        raised: list[BaseException] = []

        def run() -> None:
            try:
                run_trial(job)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, name="ax-jax-trial", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_JOIN)
        except SystemExit as preempted:
            # Without the farewells of libraries that still compute in the thread.
            os._exit(preempted.code if isinstance(preempted.code, int) else 1)
        if raised:
            raise raised[0]

    def checkpoint(self, job: TrialJob) -> Any:
        """Return what is to be queued again; called by submitit."""
        from submitit.helpers import DelayedSubmission

        if job.mailbox is not None:
            Mailbox(Path(job.mailbox)).withdraw_start(job.attempt)
        return DelayedSubmission(self, job)


@dataclass
class _Submitted:
    """A job of the cluster and what is waited for."""

    job: Any
    mailbox: Mailbox
    attempt: str
    ended: float | None = None


class SlurmEngine:
    """Jobs of Slurm.

    Options are ``{"cluster": "slurm" or "local", "parameters": {...}}``; the parameters are those
    of submitit's ``AutoExecutor.update_parameters``, for example ``timeout_min``, ``mem_gb``,
    ``cpus_per_task`` and ``slurm_partition``.
    """

    owns_processes = True
    shares_files = True

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        directory: str | None,
        time_limit: float | None,
        memory_limit: int | None,
    ) -> None:
        """Check the options; nothing is started.

        Raises:
            ConfigurationError: submitit is not installed, there is no directory, or the options
                cannot be used.
        """
        check_installed("submitit", engine="slurm")
        self._options = check_options(options, engine="slurm")
        unknown = sorted(set(self._options) - {"cluster", "parameters"})
        if unknown:
            raise ConfigurationError(
                f'engine="slurm" was given {", ".join(unknown)}; its options are "cluster" and '
                '"parameters".'
            )
        if directory is None:
            raise ConfigurationError(
                'engine="slurm" was given no directory; give one on a file system that this '
                "machine and the cluster share."
            )
        self._folder = Path(directory).absolute() / _FOLDER
        self._time_limit = time_limit
        self._memory_limit = memory_limit
        self._executor: Any = None
        self._submitted: dict[Future[Any], _Submitted] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    def submit(self, job: TrialJob) -> Future[Any]:
        """Submit to the cluster."""
        if self._executor is None:
            self._executor = self._open()
        future: Future[Any] = Future()
        mailbox = Mailbox(Path(job.mailbox or self._folder))
        handle = self._executor.submit(ResumableTrial(), job)
        with self._lock:
            self._submitted[future] = _Submitted(handle, mailbox, job.attempt)
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="ax-jax-slurm", daemon=True
                )
                self._watcher.start()
        return future

    def cancel(self, future: Future[Any], *, has_begun: bool) -> None:
        """Take a waiting job out of the queue. A running one is told by its mailbox."""
        submitted = self._submitted.get(future)
        if submitted is not None and not has_begun and not self._is_local:
            submitted.job.cancel(check=False)

    def end(self, future: Future[Any], process: RunningProcess | None) -> None:
        """Kill the job."""
        submitted = self._submitted.get(future)
        if submitted is None:
            return
        if not self._is_local:
            submitted.job.cancel(check=False)
            return
        with suppress(ProcessLookupError):
            # A local job's number is that of the process that watches over it; that one passes
            # SIGTERM on to a job that has not begun.
            number = int(submitted.job.job_id) if process is None else process.number
            os.kill(number, signal.SIGTERM if process is None else signal.SIGKILL)

    def describe(self, error: BaseException) -> str:
        """Say why a job gave no result."""
        if isinstance(error, CancelledError):
            return "The cluster cancelled it."
        return str(error) if isinstance(error, EvaluationError) else describe_error(error)

    def close(self) -> None:
        """End all jobs."""
        until = time.monotonic() + _CLOSING
        for future, submitted in list(self._submitted.items()):
            submitted.mailbox.ask_to_stop(submitted.attempt)
            self.end(future, submitted.mailbox.start(submitted.attempt))
        while self._submitted and time.monotonic() < until and self._is_local:
            time.sleep(_INTERVALS[_LOCAL][0])
            for future, submitted in list(self._submitted.items()):
                process = submitted.mailbox.start(submitted.attempt)
                if process is not None and not submitted.job.done():
                    self.end(future, process)

    @property
    def _is_local(self) -> bool:
        return self._executor is not None and self._executor.cluster == _LOCAL

    def _open(self) -> Any:
        """Return submitit's executor.

        Raises:
            ConfigurationError: Options that it does not know, or no time for a job.
        """
        from submitit import AutoExecutor

        parameters = {"name": "ax-jax", **self._options.get("parameters", {})}
        try:
            executor = AutoExecutor(
                folder=self._folder / "%j", cluster=self._options.get("cluster")
            )
            if "timeout_min" not in parameters:
                parameters["timeout_min"] = self._minutes(executor.cluster)
            if self._memory_limit is not None:
                # So that the limit is reported before the cluster acts on it.
                parameters.setdefault("mem_gb", math.ceil(self._memory_limit / 2**30) + 1)
            executor.update_parameters(**parameters)
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f'engine="slurm" cannot use its options: {describe_error(error)}'
            ) from error
        return executor

    def _minutes(self, cluster: str) -> int:
        if self._time_limit is not None:
            return math.ceil(self._time_limit / 60) + 5
        if cluster == _LOCAL:
            return _LOCAL_MINUTES
        raise ConfigurationError(
            'engine="slurm" does not know how long a trial may take; give time_limit, or '
            'engine_options={"parameters": {"timeout_min": ...}}.'
        )

    def _watch(self) -> None:
        """Resolve futures while there are jobs."""
        interval, grace = _INTERVALS.get(self._executor.cluster, _CLUSTER_INTERVALS)
        while True:
            for future, submitted in list(self._submitted.items()):
                try:
                    self._look_at(future, submitted, grace)
                except Exception as error:
                    _LOG.warning("A job of the cluster cannot be looked at: %s", error)
            with self._lock:
                if not self._submitted:
                    self._watcher = None
                    return
            time.sleep(interval)

    def _look_at(self, future: Future[Any], submitted: _Submitted, grace: float) -> None:
        job, mailbox = submitted.job, submitted.mailbox
        if not job.done():
            return
        submitted.ended = submitted.ended or time.monotonic()
        outcomes = mailbox.outcomes() or []
        if outcomes and all(outcome.is_final for outcome in outcomes):
            shutil.rmtree(job.paths.folder, ignore_errors=True)
            self._resolve(future, outcomes=[outcome.encode() for outcome in outcomes])
        elif (
            time.monotonic() - submitted.ended > grace
            or mailbox.is_stopped(submitted.attempt)
            or mailbox.verdict(submitted.attempt) is not None
        ):
            self._resolve(future, error=EvaluationError(_how_it_ended(job)))

    def _resolve(
        self, future: Future[Any], *, outcomes: Any = None, error: Exception | None = None
    ) -> None:
        with self._lock:
            self._submitted.pop(future, None)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(outcomes)


def _how_it_ended(job: Any) -> str:
    try:
        text = (job.stderr() or "").strip()
    except OSError:
        text = ""
    last = f"; its output ends: {bounded(text[-_LOG_BYTES:])}" if text else ""
    return f"Job {job.job_id} ended in the state {job.state} without a result{last}"
