"""Keeps workers alive and trials bounded, in a thread of its own.

The scheduler may be busy for minutes choosing the next arms; deadlines, memory and dead workers
are seen to here meanwhile.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence

from ax_jax_runners.runners.execution.processes.book import JobBook, Outcomes
from ax_jax_runners.runners.execution.processes.limits import Limits
from ax_jax_runners.runners.execution.processes.messages import Report, Stop
from ax_jax_runners.runners.execution.processes.process import Inbox, WorkerProcess
from ax_jax_runners.runners.execution.processes.slot import Slot
from ax_jax_runners.runners.execution.protocol import ArmRequest, TrialKey

_LOG = logging.getLogger("ax_jax_runners.runners")

_SECONDS_TO_STOP = 2.0
_SECONDS_TO_CLOSE = 1.5
# A killed process ends when the system next gives it a moment.
_SECONDS_TO_DIE = 20.0
# How long nothing at all happens at most between two looks at the workers.
_BUSY, _IDLE, _ENDING = 0.1, 0.5, 0.01


class Supervisor:
    """Hands waiting trials to workers and answers for what becomes of them.

    The thread runs from the first trial to `close`. Every other method returns at once.
    """

    def __init__(
        self,
        start_worker: Callable[[int, Inbox], WorkerProcess],
        book: JobBook,
        *,
        workers: int,
        limits: Limits,
        mourn: Callable[[], None],
    ) -> None:
        """Keep what is needed; nothing is started yet.

        Args:
            start_worker: Starts the process with this number, which reports to this inbox.
            book: The jobs.
            workers: How many processes.
            limits: Bounds of one trial.
            mourn: Called after a worker has died.
        """
        self._inbox: Inbox = queue.SimpleQueue()
        self._book = book
        self._limits = limits
        self._mourn = mourn
        self._slots = [Slot(index, start_worker, self._inbox) for index in range(workers)]
        self._closing = False
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()

    # ------------------------------------------------------------------ for the scheduler's thread

    def submit(self, requests: Sequence[ArmRequest]) -> Outcomes:
        """Queue the arms of one trial; where it runs already, it is started anew."""
        with self._book.lock:
            self.stop(requests[0].trial)
            outcomes = self._book.enter(requests)
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(
                    target=self._supervise, name="ax-jax-supervisor", daemon=True
                )
                self._thread.start()
            self._inbox.put(None)
            return outcomes

    def stop(self, trial: TrialKey) -> Outcomes:
        """Ask a trial to end after its slice and forget it; return what is known of it."""
        with self._book.lock:
            job = self._book.strike(trial)
            if job is None:
                return {}
            for slot in self._slots:
                if slot.job is job and slot.process is not None:
                    job.end_by = time.monotonic() + _SECONDS_TO_STOP
                    slot.process.send(Stop(job.number))
            return dict(job.outcomes)

    def when_done(self, trial: TrialKey, action: Callable[[], None]) -> None:
        """Call ``action`` once no worker runs a trial any more that was stopped or is done."""
        with self._book.lock:
            for slot in self._slots:
                if slot.job is not None and slot.job.trial == trial:
                    slot.job.afterwards = action
                    return
        action()

    def close(self) -> None:
        """End all workers and forget all trials; returns when no process is left."""
        thread = self._ask_to_end()
        if thread is not None:
            thread.join()

    def abandon(self) -> None:
        """Do as `close`, called by the garbage collector, which may do so in any thread."""
        thread = self._ask_to_end()
        if thread is not None and threading.current_thread() is threading.main_thread():
            thread.join()

    def _ask_to_end(self) -> threading.Thread | None:
        if os.getpid() != self._owner:  # a forked copy has no such workers
            return None
        with self._book.lock:
            thread, self._thread = self._thread, None
            self._closing = True
            self._book.clear()
        self._inbox.put(None)
        return thread

    # ------------------------------------------------------------------ in the supervising thread

    def _supervise(self) -> None:
        try:
            while True:
                message = self._next_message()
                with self._book.lock:
                    if self._closing:
                        return
                    if message is not None:
                        self._take(*message)
                    for slot in self._slots:
                        self._watch(slot)
                    self._hand_out()
        except Exception:
            _LOG.exception("The supervision of worker processes failed; all of them are ended.")
            with self._book.lock:
                self._thread = None
                for slot in self._slots:
                    if slot.job is not None:
                        self._book.put_back(slot.job)
                self._book.fail_waiting("The supervision of worker processes failed; see the log.")
        finally:
            self._end_workers()

    def _next_message(self) -> tuple[WorkerProcess, Report | None] | None:
        pause = _IDLE
        if any(slot.is_ending for slot in self._slots):
            pause = _ENDING
        elif self._book.has_waiting or any(slot.job is not None for slot in self._slots):
            pause = _BUSY
        try:
            return self._inbox.get(timeout=pause)
        except queue.Empty:
            return None

    def _take(self, process: WorkerProcess, report: Report | None) -> None:
        slot = next((slot for slot in self._slots if slot.process is process), None)
        if slot is None:
            return
        if report is None:
            slot.hung_up = True
        elif report.about == "ready":
            slot.welcome()
        elif report.about == "refused":
            self._book.refusal = report.sentence
        elif slot.job is not None and slot.job.number == report.job:
            slot.job.learn(report.arms or {})
            if report.about == "ended":
                slot.take_back(time.monotonic())
            self._book.tell()

    def _watch(self, slot: Slot) -> None:
        """See to one worker: its end, its health and the limits of its trial."""
        if slot.process is None:
            return
        now = time.monotonic()
        if slot.process.has_ended():
            self._see_off(slot, now)
            return
        ailment = slot.ailment(now)
        job = slot.job
        if ailment is not None:
            slot.verdict = ailment
            slot.process.kill()
        elif job is None or slot.is_ending:
            return
        elif job.end_by is not None and now > job.end_by:
            slot.process.kill()
        elif self._limits.seconds is not None and job.running_time(now) > self._limits.seconds:
            self._condemn(
                slot,
                f"Its worker was ended after {job.running_time(now):.1f} s of running time: the "
                f"time_limit of a trial is {self._limits.seconds:g} s.",
            )
        elif self._limits.memory is not None:
            excess = slot.excess(self._limits.memory, now)
            if excess is not None:
                self._condemn(slot, excess)

    def _condemn(self, slot: Slot, sentence: str) -> None:
        """Fail a trial for good and end its worker."""
        if slot.job is not None and slot.process is not None:
            slot.process.kill()
            slot.job.fail(sentence, time.monotonic())
            self._book.tell()

    def _see_off(self, slot: Slot, now: float) -> None:
        """Take an ended worker away, once all that it said is read."""
        if not slot.hung_up:
            if slot.process is not None:
                slot.process.hang_up()
            return
        job, verdict = slot.take_back(now), slot.verdict
        end = slot.bury(now, refused=self._book.refusal is not None)
        self._mourn()
        if job is not None and self._book.expects(job):
            sentence = f"Its worker process {verdict or end}."
            _LOG.warning("Trial %d: %s", job.trial[1], sentence[0].lower() + sentence[1:])
            if job.lose(sentence, self._limits, now):
                self._book.put_back(job)
            self._book.tell()
        if slot.is_hopeless and self._book.refusal is None:
            self._book.refusal = (
                "No worker process could be started: each ended before it was ready, and the last "
                f"one {end}; what it had to say is on standard error."
            )

    def _hand_out(self) -> None:
        """Start missing workers and give waiting trials to idle ones."""
        if self._book.refusal is not None:
            self._book.fail_waiting(self._book.refusal)
            return
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is None and now >= slot.not_before:
                try:
                    slot.start(now)
                except OSError as error:
                    slot.put_off(now)
                    _LOG.warning("A worker process could not be started: %s", error)
                    if slot.is_hopeless:
                        self._book.refusal = f"No worker process could be started: {error}."
            if slot.is_idle and self._book.has_waiting:
                slot.give(self._book.take(), now)

    def _end_workers(self) -> None:
        processes = [slot.process for slot in self._slots if slot.process is not None]
        for slot in self._slots:
            slot.dismiss()
        patience = time.monotonic() + _SECONDS_TO_CLOSE
        while time.monotonic() < patience and not all(p.has_ended() for p in processes):
            time.sleep(_ENDING)
        for process in processes:
            process.kill()
        patience = time.monotonic() + _SECONDS_TO_DIE
        for process in processes:
            while not process.has_ended() and time.monotonic() < patience:
                time.sleep(_ENDING)
            if process.has_ended():
                process.bury()
            else:
                _LOG.error("Worker process %d does not end even when killed.", process.pid)
        for slot in self._slots:
            slot.take_back(time.monotonic())
            slot.clear()
        while not self._inbox.empty():
            self._inbox.get()
