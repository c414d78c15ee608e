"""Named points of a campaign process, found from outside it: statements, commits, files, runs.

Nothing in the package knows of this: SQLAlchemy's own events and wrappers around `os` and the
runner number everything that the main thread does to database and disk.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from ax_jax_runners.runners.base import TaskRunner

_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


class CrashPoints:
    """Names the points that a process passes; at one of them it may kill itself.

    Attributes:
        passed: The points so far, as ``name #n`` for the n-th time that the name came up.
    """

    def __init__(self, *, die_at: str | None = None, last_words: str | None = None) -> None:
        self._die_at = die_at
        self._last_words = last_words
        self._written = ""
        self._seen: Counter[str] = Counter()
        self.passed: list[str] = []

    def reach(self, name: str) -> None:
        """Pass one point, or end here with SIGKILL."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._seen[name] += 1
        point = f"{name} #{self._seen[name]}"
        self.passed.append(point)
        if point == self._die_at:
            if self._last_words is not None:
                Path(self._last_words).write_text(point)
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Install itself for the rest of the process."""
        event.listen(Engine, "before_cursor_execute", self._before_statement)
        event.listen(Engine, "rollback", self._forget_writes)
        _wrap(DefaultDialect, "do_commit", self._around_commit)
        for name in ("replace", "fsync"):
            _wrap(os, name, self._around(f"os.{name}"))
        _wrap(TaskRunner, "run_multiple", self._around("run_multiple"))

    def _before_statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split()
        if words and words[0].upper() in _WRITES:
            self._written = " ".join(words[:3])
            self.reach(f"before {self._written}")

    def _forget_writes(self, _connection: Any) -> None:
        self._written = ""

    def _around_commit(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def commit(*arguments: Any) -> None:
            # A transaction is named by its last statement.
            last, self._written = self._written, ""
            if last:
                self.reach(f"before commit of {last}")
            real(*arguments)
            if last:
                self.reach(f"after commit of {last}")

        return commit

    def _around(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                self.reach(f"before {name}")
                found = real(*arguments, **options)
                self.reach(f"after {name}")
                return found

            return call

        return wrap


def gaps(points: list[str]) -> list[str]:
    """One point for every gap between two writes: where one ends and the next begins is one."""
    return [
        point
        for before, point in zip(["", *points], points, strict=False)
        if not (before.startswith("after") and point.startswith("before"))
    ]


def _wrap(owner: Any, name: str, wrapper: Callable[[Callable[..., Any]], Any]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))
