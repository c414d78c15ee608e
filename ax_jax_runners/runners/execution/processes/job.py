"""One trial on its way through the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ax_jax_runners.runners.execution.processes.limits import Limits
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import bounded

_ATTEMPT_LIMIT = 1_000


@dataclass(eq=False)
class Job:
    """All arms of one trial; times are seconds of the monotonic clock.

    Attributes:
        number: Never given twice.
        trial: Whose arms these are.
        requests: The arms.
        outcomes: What is known of each.
        lost: A sentence for every attempt that ended without a result.
        spent: Running time of the attempts before this one.
        started: When the present attempt began; None while it waits.
        end_by: When it is to have stopped; None while nobody has asked it to.
        afterwards: What is to be done when no worker runs it any more.
    """

    number: int
    trial: TrialKey
    requests: Sequence[ArmRequest]
    outcomes: dict[ArmKey, ArmOutcome]
    lost: list[str] = field(default_factory=list)
    spent: float = 0.0
    started: float | None = None
    end_by: float | None = None
    afterwards: Callable[[], None] | None = None

    @classmethod
    def of(cls, number: int, requests: Sequence[ArmRequest]) -> Job:
        """Return a job that waits; the requests are of one trial."""
        waiting = {request.key: ArmOutcome("running") for request in requests}
        return cls(number, requests[0].trial, tuple(requests), waiting)

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes of any arm."""
        return all(outcome.is_final for outcome in self.outcomes.values())

    def open_requests(self) -> list[ArmRequest]:
        """Return the arms that still have to run."""
        return [r for r in self.requests if not self.outcomes[r.key].is_final]

    def running_time(self, now: float) -> float:
        """Return the running time of all attempts."""
        return self.spent + (0.0 if self.started is None else now - self.started)

    def pause(self, now: float) -> None:
        """End the present attempt's running time."""
        self.spent, self.started = self.running_time(now), None

    def learn(self, arms: Mapping[ArmKey, ArmOutcome]) -> None:
        """Take over what a worker reports; an attempt that begins again takes nothing back."""
        for key, outcome in arms.items():
            known = self.outcomes.get(key)
            if known is not None and known.or_further(outcome) is not known:
                self.outcomes[key] = replace(outcome, lost=tuple(self.lost))

    def lose(self, sentence: str, limits: Limits, now: float) -> bool:
        """End an attempt without a result; return whether another one may follow."""
        self.pause(now)
        sentence = bounded(sentence, _ATTEMPT_LIMIT)
        if len(self.lost) >= limits.retries:
            self.fail(sentence, now)
            return False
        self.lost.append(sentence)
        self.outcomes = {
            key: o if o.is_final else replace(o, lost=tuple(self.lost))
            for key, o in self.outcomes.items()
        }
        return True

    def fail(self, sentence: str, now: float) -> None:
        """End all arms that are not final with a sentence, and with what was lost before."""
        self.pause(now)
        if self.lost:
            earlier = " ".join(f"({n}) {text}" for n, text in enumerate(self.lost, start=1))
            sentence = f"{sentence} This was attempt {len(self.lost) + 1}. Earlier: {earlier}"
        for key, known in self.outcomes.items():
            if not known.is_final:
                self.outcomes[key] = replace(known.given_up(sentence), lost=tuple(self.lost))
