"""Which trials wait, which run, and what is known of them: shared by two threads."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from ax_jax_runners.runners.execution.processes.job import Job
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome

Outcomes = Mapping[ArmKey, ArmOutcome]


class JobBook:
    """Jobs by trial, and the queue of those that wait for a worker.

    Every method takes the lock; the supervisor holds it for longer where it changes more.

    Attributes:
        lock: Reentrant.
        refusal: Why nothing can be run at present, or None.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.refusal: str | None = None
        self._changed = threading.Condition(self.lock)
        self._has_news = False
        self._jobs: dict[TrialKey, Job] = {}
        self._waiting: deque[Job] = deque()
        self._numbers = itertools.count(1)

    @property
    def has_waiting(self) -> bool:
        """Whether a job waits for a worker."""
        return bool(self._waiting)

    def enter(self, requests: Sequence[ArmRequest]) -> Outcomes:
        """Queue the arms of one trial, which is not known here."""
        with self.lock:
            job = Job.of(next(self._numbers), requests)
            self._jobs[job.trial] = job
            self._waiting.append(job)
            self.refusal = None
            return dict(job.outcomes)

    def poll(self, trials: Collection[TrialKey]) -> Outcomes:
        """Return what is known, and forget trials of which all is known."""
        with self.lock:
            self._has_news = False
            found: dict[ArmKey, ArmOutcome] = {}
            for trial in trials:
                job = self._jobs.get(trial)
                if job is not None:
                    found.update(job.outcomes)
                    if job.is_final:
                        del self._jobs[trial]
            return found

    def strike(self, trial: TrialKey) -> Job | None:
        """Forget a trial; return its job, which a worker may still run."""
        with self.lock:
            job = self._jobs.pop(trial, None)
            if job in self._waiting:
                self._waiting.remove(job)
            return job

    def unfinished(self) -> int:
        """Return how many trials wait or run."""
        with self.lock:
            return sum(not job.is_final for job in self._jobs.values())

    def wait(self, seconds: float) -> None:
        """Return when there is something new since the last poll, or after ``seconds``.

        Where nothing is known to run there is nothing to wait for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_news or not self._jobs, max(0.0, seconds))

    def tell(self) -> None:
        """Wake who waits: there is something new."""
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def take(self) -> Job:
        """Return the job that has waited longest; there is one."""
        with self.lock:
            return self._waiting.popleft()

    def put_back(self, job: Job) -> None:
        """Let a job whose attempt was lost be the next one."""
        with self.lock:
            self._waiting.appendleft(job)

    def expects(self, job: Job) -> bool:
        """Whether anybody still wants to know what becomes of a job."""
        with self.lock:
            return self._jobs.get(job.trial) is job and not job.is_final

    def fail_waiting(self, sentence: str) -> None:
        """Fail every job that waits."""
        with self.lock:
            if self._waiting:
                for job in self._waiting:
                    job.fail(sentence, time.monotonic())
                self._waiting.clear()
                self.tell()

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self._jobs.clear()
            self._waiting.clear()
            self.tell()
