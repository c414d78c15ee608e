"""Rows of the table: what was measured, what is wanted, and whether it is reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from posterior_peers.measuring import Taken


@dataclass(frozen=True)
class Row:
    """One comparison or one limit.

    Attributes:
        what: It is.
        other: (CPU, wall) seconds of what it is compared with.
        own: (CPU, wall) seconds of this package.
        goal: Least ratio of CPU seconds, or largest number of them.
        is_limit: Whether the goal is a number of seconds.
        by_wall: Whether wall seconds decide: arms side by side take no less of the processor.
        note: In place of seconds, where there are none.
    """

    what: str
    other: Taken | None = None
    own: Taken | None = None
    goal: float | None = None
    is_limit: bool = False
    by_wall: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is; None without one."""
        if self.goal is None:
            return None
        if self.own is None:
            return False
        if self.is_limit:
            return self.own.cpu <= self.goal
        if self.other is None:
            return False
        ratios = self.other.cpu / self.own.cpu, self.other.wall / self.own.wall
        return ratios[self.by_wall] >= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        """As they are printed."""
        ratios = ("", "")
        if self.own is not None and self.other is not None:
            ratios = (
                f"{self.other.cpu / self.own.cpu:.1f}",
                f"{self.other.wall / self.own.wall:.1f}",
            )
        goal = ""
        if self.goal is not None:
            goal = f"<= {self.goal:g} s" if self.is_limit else f">= {self.goal:g}"
        verdict = {None: "", True: "reached", False: "MISSED"}[self.reached]
        own = _seconds(self.own) or self.note
        return self.what, _seconds(self.other), own, *ratios, goal, verdict

    @property
    def figures(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "reached": self.reached}


def _seconds(taken: Taken | None) -> str:
    return "" if taken is None else f"{taken.cpu:.3g} ({taken.wall:.3g})"
