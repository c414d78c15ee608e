"""A thread that ends its own process when the trial in it exceeds a limit.

A slice that hangs cannot be interrupted in Python, so the whole process goes. Only a process that
nothing else shares is ended like this.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import TracebackType

import psutil

from ax_jax_runners.runners.execution.mailbox import Mailbox
from ax_jax_runners.runners.execution.processes.limits import resident_memory, show_memory

_LOG = logging.getLogger("ax_jax_runners.runners")
_INTERVAL = 0.2
_STOP_GRACE = 5.0


def time_limit_sentence(limit: float) -> str:
    """Say that a trial took too long."""
    return f"Its worker was ended: the time_limit of a trial is {limit:g} s."


class Watchdog:
    """Watches one attempt while the ``with`` block runs."""

    def __init__(
        self,
        mailbox: Mailbox | None,
        attempt: str,
        *,
        time_limit: float | None,
        spent: float,
        memory_limit: int | None,
    ) -> None:
        """Keep what is needed; the thread starts with the block.

        Args:
            mailbox: Where the reason is left, or None.
            attempt: Which attempt is watched.
            time_limit: Seconds of all attempts at the trial together, or None.
            spent: Seconds of the attempts before this one.
            memory_limit: Resident bytes of this process and what it started, or None.
        """
        self._mailbox = mailbox
        self._attempt = attempt
        self._time_limit = time_limit
        self._spent = spent
        self._memory_limit = memory_limit
        self._ended = threading.Event()
        # Held while the process ends, so that a result is never cut off in its middle.
        self._lock = threading.Lock()

    def __enter__(self) -> Watchdog:
        self._began = time.monotonic()
        self._stopped: float | None = None
        threading.Thread(target=self._watch, name="ax-jax-watchdog", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            sentence = self._excess()
            if sentence is None and not self._is_overdue():
                continue
            with self._lock:
                if self._ended.is_set():
                    return
                self._end(sentence)

    def _excess(self) -> str | None:
        limit, spent = self._time_limit, self._spent + time.monotonic() - self._began
        if limit is not None and spent > limit:
            return time_limit_sentence(limit)
        if self._memory_limit is None:
            return None
        held = resident_memory(psutil.Process(), descendants=True)
        if held <= self._memory_limit:
            return None
        return (
            f"Its worker was ended when it held {show_memory(held)} of memory: the memory_limit "
            f"of a trial is {show_memory(self._memory_limit)}."
        )

    def _is_overdue(self) -> bool:
        """Whether the trial was stopped, and its slice does not end."""
        if self._mailbox is None or not self._mailbox.is_stopped(self._attempt):
            return False
        self._stopped = self._stopped or time.monotonic()
        return time.monotonic() - self._stopped > _STOP_GRACE

    def _end(self, sentence: str | None) -> None:
        if self._mailbox is not None and sentence is not None:
            try:
                self._mailbox.write_verdict(self._attempt, sentence)
            except OSError as error:
                _LOG.warning("%s This could not be reported: %s", sentence, error)
        os.kill(os.getpid(), signal.SIGKILL)
