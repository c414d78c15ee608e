"""What runs on the other side of an executor: one trial, from its begin or frozen state to its end.

A trial is a function of task, seed, trial index, positions and parameters. So it does not matter
how often, where and by how many processes at once it is run: each run gives the same outcomes, goes
on from what a former one froze, and returns at once what a former one finished.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from ax_jax_runners.errors import EvaluationError
from ax_jax_runners.runners.execution.in_process import InProcessExecution
from ax_jax_runners.runners.execution.mailbox import Mailbox
from ax_jax_runners.runners.execution.payload import unpack_task
from ax_jax_runners.runners.execution.protocol import ArmRequest
from ax_jax_runners.runners.execution.watchdog import Watchdog, time_limit_sentence
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.tasks import Task

_LOG = logging.getLogger("ax_jax_runners.runners")
# Reports are for people and stopping rules; more of them would only keep the disk busy.
_REPORT_INTERVAL = 0.2


@dataclass(frozen=True)
class TrialJob:
    """One attempt at one trial, as it travels.

    Attributes:
        task: The task, pickled; equal bytes are unpickled once in a process.
        path: Where the sender finds modules.
        jax: The sender's JAX configuration, as far as it decides numbers.
        seed: Root of all keys.
        requests: The trial's arms.
        directory: Folder of arrays and frozen states, or None.
        mailbox: Folder of the trial's messages, or None.
        attempt: Names this attempt in the mailbox.
        time_limit: Seconds of all attempts at the trial together, or None.
        spent: Seconds of the attempts before this one.
        memory_limit: Resident bytes, or None.
        owns_process: Whether the process may be ended when the trial exceeds a limit.
    """

    task: bytes
    path: tuple[str, ...]
    jax: Mapping[str, Any]
    seed: int
    requests: tuple[ArmRequest, ...]
    directory: str | None
    mailbox: str | None
    attempt: str
    time_limit: float | None
    spent: float
    memory_limit: int | None
    owns_process: bool


def run_trial(job: TrialJob) -> list[dict[str, Any]]:
    """Run a trial to its end and return the encoded outcomes of its arms, in their order.

    An attempt that nobody waits for any more ends after its slice with unfinished outcomes.

    Raises:
        EvaluationError: The folder of its messages is not there.
    """
    mailbox = None if job.mailbox is None else Mailbox(Path(job.mailbox))
    if mailbox is not None:
        _check_folder(mailbox)
        finished = mailbox.outcomes()
        if finished and all(outcome.is_final for outcome in finished):
            return [outcome.encode() for outcome in finished]
        mailbox.write_start(job.attempt)
    with _watching(job, mailbox):
        outcomes = _run(job, mailbox)
        if mailbox is not None:
            _report(mailbox, outcomes)
    return [outcome.encode() for outcome in outcomes]


def _run(job: TrialJob, mailbox: Mailbox | None) -> list[ArmOutcome]:
    began = time.monotonic() - job.spent
    execution = _execution(job)
    trials = {request.trial for request in job.requests}
    if mailbox is not None and mailbox.is_stopped(job.attempt):
        return [ArmOutcome("running") for _ in job.requests]
    known = dict(execution.submit(job.requests))
    reported = -_REPORT_INTERVAL
    while True:
        outcomes = [known[request.key] for request in job.requests]
        if all(outcome.is_final for outcome in outcomes):
            return outcomes
        now = time.monotonic()
        if job.time_limit is not None and now - began > job.time_limit:
            return [outcome.given_up(time_limit_sentence(job.time_limit)) for outcome in outcomes]
        if mailbox is not None:
            if mailbox.is_stopped(job.attempt):
                return outcomes
            if now - reported >= _REPORT_INTERVAL:
                _report(mailbox, outcomes)
                reported = now
        known.update(execution.poll(trials))


def _execution(job: TrialJob) -> InProcessExecution:
    _configure(job.jax)
    task = _unpickled(job.task, job.path)
    return InProcessExecution.in_directory(task, seed=job.seed, directory=job.directory)


@functools.lru_cache(maxsize=8)
def _unpickled(task: bytes, path: tuple[str, ...]) -> Task:
    """Return the task; kept, because its compiled programs live with it.

    The job around it came pickled, too: by the executor's own connection or, on Slurm, in a file
    that submitit wrote into the runner's directory. Only outcomes, plain JSON, go the other way.
    """
    sys.path.extend(entry for entry in path if entry not in sys.path)
    return unpack_task(task)


def _configure(values: Mapping[str, Any]) -> None:
    """Give JAX the sender's configuration. What cannot change any more was set by the user."""
    for name, value in values.items():
        if getattr(jax.config, name) != value:
            try:
                jax.config.update(name, value)
            except RuntimeError as error:
                _LOG.warning("JAX's %s stays as it is in this worker: %s", name, error)


def _watching(job: TrialJob, mailbox: Mailbox | None) -> AbstractContextManager[Any]:
    if not job.owns_process:
        return nullcontext()
    return Watchdog(
        mailbox,
        job.attempt,
        time_limit=job.time_limit,
        spent=job.spent,
        memory_limit=job.memory_limit,
    )


def _report(mailbox: Mailbox, outcomes: Sequence[ArmOutcome]) -> None:
    try:
        mailbox.write_outcomes(outcomes)
    except OSError as error:
        # The folder may be gone on purpose; the outcomes themselves are returned in the end.
        _LOG.debug("The progress of a trial cannot be reported: %s", error)


def _check_folder(mailbox: Mailbox) -> None:
    if not mailbox.folder.is_dir():
        raise EvaluationError(
            f"The folder {mailbox.folder} is not there on {socket.gethostname()}; the runner's "
            "directory must be on a file system that all its workers share."
        )
