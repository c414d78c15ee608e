"""A cluster in virtual time: slots, a queue, and a clock that jumps from event to event."""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Job:
    """One trial on the cluster. All times are virtual seconds since the cluster's start.

    Attributes:
        index: The trial's index.
        queued: When it was submitted.
        span: How long all its slices would take.
        fails_after: After what time since its start the cluster fails it; None: it does not.
        started: When it got its slot; None: it waits.
        ended: When it ended or was stopped; None: not yet.
        attempt: How often it was submitted before.
        slices: How many slices it has; 0: not known yet, and none is shown.
        shown: How many of them are over.
        is_news: Whether something happened to it since its record was last written.
        is_told: Whether its end has been reported.
    """

    index: int
    queued: float
    span: float
    fails_after: float | None = None
    started: float | None = None
    ended: float | None = None
    attempt: int = 0
    slices: int = 0
    shown: int = 0
    is_news: bool = False
    is_told: bool = False

    @property
    def duration(self) -> float:
        """How long it runs unless it is stopped."""
        return self.span if self.fails_after is None else self.fails_after

    def end_from(self, start: float) -> float:
        """When it ends, or has ended, if it starts then."""
        return start + self.duration if self.ended is None else self.ended

    def next_event(self, start: float) -> float:
        """When its next slice is over, or the job itself.

        Slices are equally long; the last one is the job's end.
        """
        following = self.shown + 1
        if following < self.slices:
            offset = self.span * following / self.slices
            if offset < self.duration:
                return start + offset
        return self.end_from(start)


class Cluster:
    """Runs at most ``slots`` jobs at a time; the others wait, the earliest submitted first.

    Nothing passes by itself: `advance` moves the clock to the next event. Its cost does not depend
    on the number of jobs that are over.

    Attributes:
        now: Virtual seconds since the start.
        jobs: The last job of each trial, by the trial's index.
    """

    def __init__(self, slots: int) -> None:
        self.now = 0.0
        self.jobs: dict[int, Job] = {}
        self._slots = slots
        self._busy: set[int] = set()
        self._queue: list[tuple[float, int]] = []
        self._events: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()

    @classmethod
    def rebuilt(cls, slots: int, jobs: Iterable[Job], now: float) -> Cluster:
        """Return the cluster that had these jobs at that time.

        Args:
            slots: How many jobs run at a time.
            jobs: As they were recorded; one that left the queue after its last record starts when
                its slot became free.
            now: The time.
        """
        cluster = cls(slots)
        cluster.now = now
        cluster.jobs = {job.index: job for job in jobs}
        waiting = cluster._place()
        for job in cluster.jobs.values():
            if job.started is None or job.ended is not None:
                continue
            if job.started + job.duration <= now:
                job.ended, job.is_news = job.started + job.duration, True
            else:
                cluster._busy.add(job.index)
                cluster._expect(job)
        cluster._queue = waiting
        return cluster

    def submit(self, jobs: Iterable[Job]) -> None:
        """Put jobs into the queue and start as many as there are free slots.

        Args:
            jobs: Those that ended already are only kept.
        """
        for job in jobs:
            self._busy.discard(job.index)
            self.jobs[job.index] = job
            heapq.heappush(self._queue, (job.queued, job.index))
        self._start_waiting()

    def stop(self, index: int) -> None:
        """End a job now; its slot goes to the queue."""
        job = self.jobs[index]
        job.ended, job.is_news = self.now, True
        self._busy.discard(index)
        self._start_waiting()

    def follow(self, job: Job, slices: int) -> None:
        """Learn how many slices a job has; those that are over by now are shown."""
        job.slices = slices
        if job.started is None or job.ended is not None:
            return
        while job.shown + 1 < slices and job.next_event(job.started) <= self.now:
            job.shown += 1
        job.is_news = True
        self._expect(job)

    def advance(self) -> bool:
        """Move the clock to the next event and let everything happen that happens then.

        Returns:
            Whether a job ended. False where a slice was over, or where nothing runs.
        """
        time = self._next_time()
        if time is None:
            return False
        self.now = time
        has_ended = False
        while self._next_time() == time:
            _, _, job = heapq.heappop(self._events)
            job.is_news = True
            if time < job.end_from(job.started or 0.0):
                job.shown += 1
                self._expect(job)
            else:
                job.ended = time
                self._busy.discard(job.index)
                has_ended = True
            if self._next_time() != time:
                self._start_waiting()
        return has_ended

    def _start_waiting(self) -> None:
        while self._queue and len(self._busy) < self._slots:
            queued, index = heapq.heappop(self._queue)
            job = self.jobs[index]
            # Entries of jobs that were stopped or submitted again are passed over.
            if job.queued == queued and job.started is None and job.ended is None:
                job.started, job.is_news = self.now, True
                self._busy.add(index)
                self._expect(job)

    def _expect(self, job: Job) -> None:
        time = job.next_event(job.started or 0.0)
        heapq.heappush(self._events, (time, next(self._numbers), job))

    def _next_time(self) -> float | None:
        """When the next event is, after dropping those that no longer come."""
        while self._events:
            time, _, job = self._events[0]
            current = self.jobs.get(job.index) is job and job.ended is None
            if current and time == job.next_event(job.started or 0.0):
                return time
            heapq.heappop(self._events)
        return None

    def _place(self) -> list[tuple[float, int]]:
        """Give recorded jobs without a start the one that they had; return the queue.

        The queue is served in order, so a job starts as soon as, after all before it, fewer jobs
        than slots have started and not ended.
        """
        placed = [job for job in self.jobs.values() if job.started is not None]
        starts = sorted(job.started for job in placed if job.started is not None)
        ends = sorted(job.end_from(job.started) for job in placed if job.started is not None)
        waiting = sorted(
            (job.queued, job.index)
            for job in self.jobs.values()
            if job.started is None and job.ended is None
        )
        time = 0.0
        for place, (queued, index) in enumerate(waiting):
            time = max(time, queued)
            while bisect.bisect_right(starts, time) - bisect.bisect_right(ends, time) >= (
                self._slots
            ):
                time = ends[bisect.bisect_right(ends, time)]
            if time > self.now:
                return waiting[place:]
            job = self.jobs[index]
            job.started, job.is_news = time, True
            bisect.insort(starts, time)
            bisect.insort(ends, job.end_from(time))
        return []
