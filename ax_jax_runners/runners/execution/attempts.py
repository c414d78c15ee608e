"""A trial that waits for its result, and the attempts of an engine at it."""

from __future__ import annotations

import time
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from ax_jax_runners.runners.execution.mailbox import Mailbox, RunningProcess
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import bounded

# The history of a trial is stored with it, so each of its sentences is kept short.
_LOST_BYTES = 2_000


@dataclass
class Attempt:
    """One try of an engine at a trial.

    Attributes:
        name: Unique among all attempts of all processes.
        future: Its end.
        mailbox: Where its messages are, or None.
        seen_running: Monotonic time of the first sign that it runs.
    """

    name: str
    future: Future[Any]
    mailbox: Mailbox | None
    seen_running: float | None = None

    @property
    def process(self) -> RunningProcess | None:
        """Where it runs or ran, once it has said so."""
        return None if self.mailbox is None else self.mailbox.start(self.name)

    @property
    def has_begun(self) -> bool:
        """Whether there is a sign that it runs or has run."""
        if self.mailbox is None:
            return self.future.running() or self.future.done()
        return self.process is not None

    @property
    def verdict(self) -> str | None:
        """Why its process ended it for good, if it did."""
        return None if self.mailbox is None else self.mailbox.verdict(self.name)


@dataclass
class PendingTrial:
    """What is known of a trial; without an attempt it waits for a free worker.

    Attributes:
        requests: Its arms.
        outcomes: What is known of each.
        mailbox: Where its messages are, or None.
        lost: A sentence for every attempt that ended without a result.
        attempt: The current one.
        spent: Running time of the attempts before, in seconds.
    """

    requests: list[ArmRequest]
    outcomes: list[ArmOutcome]
    mailbox: Mailbox | None = None
    lost: list[str] = field(default_factory=list)
    attempt: Attempt | None = None
    spent: float = 0.0
    _read: Hashable = None

    @classmethod
    def of(cls, requests: list[ArmRequest]) -> PendingTrial:
        """Return a trial of which nothing is known."""
        return cls(requests, [ArmOutcome("running") for _ in requests])

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come of any arm."""
        return all(outcome.is_final for outcome in self.outcomes)

    @property
    def has_news(self) -> bool:
        """Whether progress was reported since it was last read; cheap."""
        change = None if self.mailbox is None else self.mailbox.change()
        return change is not None and change != self._read

    def read_progress(self) -> None:
        """Take what was reported; an attempt that begins again takes nothing back."""
        if self.mailbox is None or self.is_final or not self.has_news:
            return
        self._read = self.mailbox.change()
        outcomes = self.mailbox.outcomes()
        if outcomes is not None and len(outcomes) == len(self.requests):
            self.outcomes = [
                known.or_further(new) for new, known in zip(outcomes, self.outcomes, strict=True)
            ]

    def running_time(self) -> float:
        """Return the seconds that all attempts have run, as far as it was seen."""
        since = None if self.attempt is None else self.attempt.seen_running
        return self.spent + (0.0 if since is None else time.monotonic() - since)

    def keep_time(self, *, begun: bool) -> None:
        """Start or stop the clock of the current attempt, which may wait again after a while."""
        if self.attempt is None:
            return
        if not begun:
            self.spent, self.attempt.seen_running = self.running_time(), None
        elif self.attempt.seen_running is None:
            self.attempt.seen_running = time.monotonic()

    def fail(self, sentence: str) -> None:
        """End every arm that is not final, without a result."""
        self.outcomes = [outcome.given_up(sentence) for outcome in self.outcomes]

    def lose(self, sentence: str, *, allowed: int) -> None:
        """Note an attempt without a result; after the last allowed one the trial fails."""
        self.keep_time(begun=False)
        self.attempt = None
        count = len(self.lost) + 1
        sentence = bounded(f"Attempt {count} of {allowed} gave no result: {sentence}", _LOST_BYTES)
        if count < allowed:
            self.lost.append(sentence)
        else:
            self.fail(" ".join([*self.lost, sentence]))

    def found(self) -> dict[ArmKey, ArmOutcome]:
        """Return what is known of its arms, with the history of lost attempts."""
        lost = tuple(self.lost)
        return {
            request.key: replace(outcome, lost=lost) if lost else outcome
            for request, outcome in zip(self.requests, self.outcomes, strict=True)
        }
