"""How far a walk goes between two looks at the clock."""

from __future__ import annotations

#: How often the clock is looked at between two checkpoints by time.
_LOOKS = 10


class Pace:
    """Iterations of the next piece, so that it takes about a tenth of the time between checkpoints.

    Attributes:
        length: Iterations; 1 at first.
    """

    def __init__(self, seconds: float) -> None:
        """Aim at pieces of so many seconds at most, and half of them at least."""
        self._seconds = seconds
        self.length = 1

    @classmethod
    def between(cls, minutes: float | None) -> Pace | None:
        """Return the pace for checkpoints every so many minutes; None where they are counted."""
        return None if minutes is None else cls(60.0 * minutes / _LOOKS)

    def note(self, seconds: float) -> None:
        """Take note of what a piece took."""
        if seconds > self._seconds:
            self.length = max(1, self.length // 2)
        elif seconds < self._seconds / 2:
            self.length *= 2
