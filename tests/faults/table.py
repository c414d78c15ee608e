"""The table of faults: which of them the tests of a run have caused, and how it went.

A test names what it causes by ``@pytest.mark.fault(number, ...)``; where its database is not told
by a fixture, ``on="sqlite"`` or ``on="postgresql"`` says it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

FAULTS = {
    1: "scheduler killed",
    2: "worker killed",
    3: "worker hangs",
    4: "result that is no finite number",
    5: "evaluation raises",
    6: "out of memory",
    7: "result that is not JSON",
    8: "malicious pickle, npz or JSON type",
    9: "SQL in names",
    10: "path traversal, links",
    11: "database down in mid-campaign",
    12: "disk full",
    13: "two schedulers, one campaign",
    14: "clocks that jump or differ",
    15: "damaged frozen state or artifact",
    16: "half-written file",
    17: "duplicate, late, out-of-order steps",
    18: "lock contention",
    19: "older or newer schema",
    20: "Ctrl-C, SIGTERM",
    21: "results after a resume",
    22: "imports and the network",
    23: "fork",
    24: "soak with random kills",
}
DATABASES = ("sqlite", "postgresql", "either")
_OUTCOMES = ("passed", "failed", "skipped")


class FaultTable:
    """A pytest plugin that prints one line a fault when the tests are over."""

    def __init__(self) -> None:
        self._marked: dict[str, tuple[tuple[int, ...], str]] = {}
        self._counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        self._seconds: Counter[int] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            numbers = faults_of(item.iter_markers("fault"))
            if numbers:
                self._marked[item.nodeid] = numbers, database_of(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        numbers, database = self._marked.get(report.nodeid, ((), ""))
        for number in numbers:
            self._seconds[number] += report.duration
            # A test has three reports; setup and teardown tell only of trouble.
            if report.when == "call" or not report.passed:
                self._counts[number, database][report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._counts:
            return
        terminalreporter.section("faults: passed / failed / skipped")
        for line in self.lines():
            terminalreporter.write_line(line)

    def lines(self) -> list[str]:
        """The table, its head first."""
        head = f"{'#':>2}  {'fault':<36}" + "".join(f"{name:>13}" for name in DATABASES)
        lines = {number: self._line(number) for number in FAULTS}
        absent = [str(number) for number, line in lines.items() if line is None]
        last = [f"not run: {', '.join(absent)}"] if absent else []
        return [f"{head}{'seconds':>9}", *filter(None, lines.values()), *last]

    def _line(self, number: int) -> str | None:
        begin = f"{number:>2}  {FAULTS[number]:<36}"
        counts = [self._counts.get((number, name), Counter()) for name in DATABASES]
        if not any(count["passed"] or count["failed"] for count in counts):
            return None
        cells = (
            " / ".join(str(count[name]) for name in _OUTCOMES) if count else "-" for count in counts
        )
        return begin + "".join(f"{cell:>13}" for cell in cells) + f"{self._seconds[number]:>9.1f}"


def faults_of(marks: Iterable[pytest.Mark]) -> tuple[int, ...]:
    """The numbers that marks name, each once.

    Raises:
        pytest.UsageError: A mark without a number, or with one that is none of the 24.
    """
    numbers: set[int] = set()
    for mark in marks:
        strange = [n for n in mark.args if n not in FAULTS]
        if strange or not mark.args or mark.kwargs.get("on", "either") not in DATABASES:
            raise pytest.UsageError(
                f"fault{mark.args}{mark.kwargs or ''}: give numbers from 1 to {len(FAULTS)}, and "
                f"as on= one of {', '.join(DATABASES)}."
            )
        numbers.update(mark.args)
    return tuple(sorted(numbers))


def database_of(item: Any) -> str:
    """The kind of database that a test uses, by its mark, its parameter or its fixtures."""
    for mark in item.iter_markers("fault"):
        if "on" in mark.kwargs:
            return mark.kwargs["on"]
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = [value for value in values if isinstance(value, str) and value in DATABASES]
    if named:
        return named[0]
    fixtures = " ".join(getattr(item, "fixturenames", ()))
    named = [name for name in DATABASES if name in fixtures]
    return named[0] if len(named) == 1 else "either"
