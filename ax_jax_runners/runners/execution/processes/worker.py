"""The child's side: runs one trial after the other until its link ends.

Started by `WorkerProcess` as a fresh interpreter; nothing here runs in the scheduler's process.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import BinaryIO, NoReturn

import jax

from ax_jax_runners.runners.execution.in_process import InProcessExecution
from ax_jax_runners.runners.execution.payload import unpack_task
from ax_jax_runners.runners.execution.processes.messages import (
    Report,
    Setup,
    Start,
    Stop,
    read_order,
)
from ax_jax_runners.runners.execution.protocol import ArmKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import describe_error

# Between two reports on a trial that goes on; its first slice and its end are told at once.
_SECONDS_BETWEEN_REPORTS = 0.25
_SET_DEATH_SIGNAL = 1
_FIRST_VICTIM = b"800"


def main(descriptor: int) -> NoReturn:
    """Serve the link with this file descriptor, then end."""
    link = socket.socket(fileno=descriptor)
    _detach()
    incoming, outgoing = link.makefile("rb"), link.makefile("wb")
    try:
        setup = Setup.read(incoming)
        _end_with(setup.parent)
    except EOFError:
        _end()
    try:
        execution = _execution(setup)
    except BaseException as error:
        sentence = f"The task cannot be loaded in a worker process: {describe_error(error)}."
        _tell(outgoing, Report("refused", sentence=sentence))
        _end()
    worker = Worker(execution, outgoing)
    threading.Thread(target=worker.listen, args=(incoming,), daemon=True).start()
    worker.serve()


class Worker:
    """Runs the trials that it is sent; two threads, one listens and one computes."""

    def __init__(self, execution: InProcessExecution, outgoing: BinaryIO) -> None:
        self._execution = execution
        self._outgoing = outgoing
        self._waiting: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._stopped: set[int] = set()

    def listen(self, incoming: BinaryIO) -> NoReturn:
        """Take orders, also while a slice computes; end this process when the link ends."""
        try:
            while True:
                order = read_order(incoming)
                if isinstance(order, Stop):
                    self._stopped.add(order.job)
                else:
                    self._waiting.put(order)
        finally:
            _end()

    def serve(self) -> NoReturn:
        """Run trials for ever."""
        _tell(self._outgoing, Report("ready"))
        while True:
            start = self._waiting.get()
            self._run(start)
            self._stopped.discard(start.job)

    def _run(self, start: Start) -> None:
        known: dict[ArmKey, ArmOutcome] = {r.key: ArmOutcome("running") for r in start.requests}
        trials = {request.trial for request in start.requests}
        told = -_SECONDS_BETWEEN_REPORTS
        try:
            known |= self._execution.submit(start.requests)
            while start.job not in self._stopped:
                if all(outcome.is_final for outcome in known.values()):
                    break
                if time.monotonic() - told >= _SECONDS_BETWEEN_REPORTS:
                    self._report("progress", start.job, known)
                    told = time.monotonic()
                known |= self._execution.poll(trials)
        except BaseException as error:  # what passes `Exception` ends no worker either
            sentence = describe_error(error)
            known = {key: outcome.given_up(sentence) for key, outcome in known.items()}
        for trial in trials:
            self._execution.stop(trial)
        self._report("ended", start.job, known)

    def _report(self, about: str, job: int, known: Mapping[ArmKey, ArmOutcome]) -> None:
        _tell(self._outgoing, Report(about, job, known))  # pyright: ignore[reportArgumentType]


def _execution(setup: Setup) -> InProcessExecution:
    for name, value in setup.jax.items():
        jax.config.update(name, value)
    task = unpack_task(setup.task)
    return InProcessExecution.in_directory(task, seed=setup.seed, directory=setup.directory)


def _tell(outgoing: BinaryIO, report: Report) -> None:
    try:
        outgoing.write(report.encode())
        outgoing.flush()
    except OSError:  # nobody listens any more
        _end()


def _detach() -> None:
    """Leave interruptions to the scheduler, and be what the kernel ends first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(_FIRST_VICTIM)
    except OSError:
        return


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its parent, even in a slice that keeps the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        _end()


def _end() -> NoReturn:
    """End at once, with whatever the task has started: nothing here is worth a farewell."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)
