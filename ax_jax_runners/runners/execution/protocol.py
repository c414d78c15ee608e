"""Where arms run: four verbs that every runner is built on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ax_jax_runners.runners.outcome import ArmOutcome

#: Number of the experiment within this process, and index of the trial.
TrialKey: TypeAlias = tuple[int, int]
#: A trial and the name of one of its arms.
ArmKey: TypeAlias = tuple[TrialKey, str]


@dataclass(frozen=True)
class ArmRequest:
    """One arm to run.

    Attributes:
        trial: The trial that it belongs to.
        position: Its place among the trial's arms; with the trial's index it counts its keys.
        name: Its name, unique in the trial.
        parameters: Its values by parameter name.
    """

    trial: TrialKey
    position: int
    name: str
    parameters: Mapping[str, Any]

    @property
    def key(self) -> ArmKey:
        """By what outcomes are found."""
        return self.trial, self.name


def by_trial(requests: Iterable[ArmRequest]) -> dict[TrialKey, list[ArmRequest]]:
    """Return the requests of each trial, in their order."""
    trials: dict[TrialKey, list[ArmRequest]] = {}
    for request in requests:
        trials.setdefault(request.trial, []).append(request)
    return trials


class Execution(Protocol):
    """Runs arms of one task. No error of a task ever leaves it: it becomes a failed outcome."""

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Start arms and return what is known of each, whether it is running or final.

        An arm of a trial that is already running here is started anew; one that was frozen goes on
        from there.
        """
        ...

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """Return what is known now of the arms of these trials; arms not known here are absent."""
        ...

    def stop(self, trial: TrialKey) -> Mapping[ArmKey, ArmOutcome]:
        """End a trial after its slice in flight and forget it; return what was known of its arms.

        Nothing happens where it is not known.
        """
        ...

    def capacity(self) -> int:
        """Return how many more trials may be submitted now; -1 for any number.

        Where none is unfinished it is not 0, which Ax would take for an error.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Return as soon as a poll may find something new, and at the latest after ``seconds``."""
        ...

    def release(self, requests: Sequence[ArmRequest]) -> None:
        """Drop what is kept for a resume of these arms: their results are recorded elsewhere."""
        ...

    def close(self) -> None:
        """End everything that runs here; nothing frozen is dropped, and a later submit goes on."""
        ...
