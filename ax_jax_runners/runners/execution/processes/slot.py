"""The place of one worker: the process in it may change, its number and its share stay."""

from __future__ import annotations

from collections.abc import Callable

from ax_jax_runners.runners.execution.processes.job import Job
from ax_jax_runners.runners.execution.processes.limits import (
    is_stopped,
    resident_memory,
    show_memory,
)
from ax_jax_runners.runners.execution.processes.messages import Start
from ax_jax_runners.runners.execution.processes.process import Inbox, WorkerProcess

_SECONDS_STOPPED = 1.5
_SECONDS_TO_START = 300.0
_SECONDS_TO_HANG = 1.0
_SECONDS_BETWEEN_CENSUSES = 1.0
_HOPELESS = 3


class Slot:
    """One worker's place. Times are seconds of the monotonic clock.

    Attributes:
        process: The worker, or None between two.
        job: What it runs, or None.
        hung_up: Whether its link has ended and all that it said is read.
        verdict: Why it was ended, or None where it was not or where its trial has its sentence.
        not_before: When it may be started.
    """

    def __init__(
        self, index: int, start_worker: Callable[[int, Inbox], WorkerProcess], inbox: Inbox
    ) -> None:
        self._index = index
        self._start_worker = start_worker
        self._inbox = inbox
        self.clear()

    def clear(self) -> None:
        """Be empty, without a history."""
        self.process: WorkerProcess | None = None
        self.job: Job | None = None
        self.hung_up = False
        self.verdict: str | None = None
        self.not_before = 0.0
        self._is_ready = False
        self._failures = 0
        self._began = 0.0
        self._stopped_since: float | None = None
        self._hung_since: float | None = None
        self._census = 0.0
        self._family = 0

    @property
    def is_idle(self) -> bool:
        """Whether its worker waits for a trial."""
        return self._is_ready and self.job is None and not self.is_ending

    @property
    def is_ending(self) -> bool:
        """Whether its worker is on its way out."""
        return self.process is not None and (self.hung_up or self.process.is_killed)

    @property
    def is_hopeless(self) -> bool:
        """Whether one process after the other has ended before it was ready."""
        return self._failures >= _HOPELESS

    def start(self, now: float) -> None:
        """Start a process.

        Raises:
            OSError: The system starts no more processes.
        """
        self.process = self._start_worker(self._index, self._inbox)
        self._began = now

    def welcome(self) -> None:
        """Note that the process is ready."""
        self._is_ready, self._failures = True, 0

    def give(self, job: Job, now: float) -> None:
        """Let the process run what is open of a job."""
        if self.process is not None:
            self.job, job.started = job, now
            self.process.send(Start(job.number, job.open_requests()))

    def take_back(self, now: float) -> Job | None:
        """Return the job that is over here, or None; what waited for its end is done."""
        job, self.job = self.job, None
        if job is not None:
            job.pause(now)
            if job.afterwards is not None:
                job.afterwards()
        return job

    def dismiss(self) -> None:
        """Let the process end itself; one that is not ready yet cannot be asked."""
        if self.process is not None:
            self.process.hang_up()
            if not self._is_ready:
                self.process.kill()

    def put_off(self, now: float) -> None:
        """Note a failed start; the next one waits the longer, the more there were."""
        self._failures += 1
        self.not_before = now + 0.1 * 2**self._failures

    def bury(self, now: float, *, refused: bool) -> str:
        """Take an ended process away and return how it ended."""
        end = "" if self.process is None else self.process.bury()
        failures = self._failures
        was_ready = self._is_ready
        self.clear()
        if not was_ready and not refused:
            self._failures = failures
            self.put_off(now)
        return end

    def ailment(self, now: float) -> str | None:
        """Return why a process that has not ended has to be, or None."""
        if self.process is None or self.process.is_killed:
            return None
        if self.hung_up:
            self._hung_since = self._hung_since or now
            if now - self._hung_since > _SECONDS_TO_HANG:
                return "closed its link to the scheduler"
            return None
        if not is_stopped(self.process.vitals):
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        elif now - self._stopped_since > _SECONDS_STOPPED:
            return "was stopped by a signal (SIGSTOP) and had to be ended"
        if not self._is_ready and now - self._began > _SECONDS_TO_START:
            return f"was not ready within {_SECONDS_TO_START:.0f} s"
        return None

    def excess(self, limit: int, now: float) -> str | None:
        """Return a sentence when the process takes more than ``limit`` bytes, else None."""
        if self.process is None:
            return None
        own = resident_memory(self.process.vitals, descendants=False)
        if now - self._census > _SECONDS_BETWEEN_CENSUSES:
            # To find what it started takes longer, and hardly any task starts anything.
            whole = resident_memory(self.process.vitals, descendants=True)
            self._family, self._census = max(0, whole - own), now
        taken = own + self._family
        if taken <= limit:
            return None
        return (
            f"Its worker was ended when it held {show_memory(taken)} of memory: the memory_limit "
            f"of a trial is {show_memory(limit)}."
        )
