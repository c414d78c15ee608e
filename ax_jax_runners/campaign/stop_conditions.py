"""What ends a run before its total, and a wait that such an end cuts short."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ax.core.runner import Runner

from ax_jax_runners.campaign.heartbeat import Heartbeat
from ax_jax_runners.runners.base import TaskRunner

WAIT_SECONDS = 0.5
"""Longest single sleep, so that a stop or a timeout is seen within a second."""


class StopConditions:
    """A run's deadline, and who may ask for its end: its caller, or another process.

    Attributes:
        heartbeat: Listens for other processes; None: nobody does. It stays when the run is over,
            because whether a stop was asked for is still to be told.
    """

    def __init__(
        self, *, timeout: float | None = None, should_stop: Callable[[], bool] | None = None
    ) -> None:
        """Start the clock.

        Args:
            timeout: Seconds until the deadline; None: there is none.
            should_stop: Asked whether to stop.
        """
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._should_stop = should_stop
        self.heartbeat: Heartbeat | None = None

    @property
    def are_met(self) -> bool:
        """Whether the run is to end.

        Raises:
            LeaseLost: Another process has taken over.
        """
        if time.monotonic() >= self._deadline:
            return True
        if self.heartbeat is not None:
            if self.heartbeat.lost is not None:
                raise self.heartbeat.lost
            if self.heartbeat.stop_requested.is_set():
                return True
        return self._should_stop is not None and self._should_stop()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Meanwhile the deadline is at most so far away; None changes nothing."""
        before = self._deadline
        if seconds is not None:
            self._deadline = min(before, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._deadline = before

    def rest(self, runner: Runner, seconds: float) -> bool:
        """Wait until a runner may have something new, and ``seconds`` more at most.

        Returns:
            Whether the run is to end.
        """
        if self.are_met:
            return True
        if isinstance(runner, TaskRunner):
            runner.wait(WAIT_SECONDS)
        end = time.monotonic() + seconds
        while not self.are_met:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, WAIT_SECONDS))
        return True
