"""Real results of trials, computed at once and shown later, slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ax_jax_runners.runners.execution import ArmRequest, Execution, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.recalling import Recalling


@dataclass(frozen=True)
class HiddenResults:
    """What is known of the arms of one trial after each of its slices.

    Attributes:
        arms: For each arm's name its outcomes after 0, 1, 2, ... slices, all but the last without
            curves; the last one is final.
    """

    arms: Mapping[str, Sequence[ArmOutcome]]

    @property
    def slices(self) -> int:
        """Slices until the last arm is done, at least 1."""
        return max(1, *(len(outcomes) - 1 for outcomes in self.arms.values()))

    def after(self, slices: int) -> dict[str, ArmOutcome]:
        """What is known of each arm after so many slices."""
        return {name: _after(outcomes, slices) for name, outcomes in self.arms.items()}

    def failed_after(self, slices: int, sentence: str) -> dict[str, ArmOutcome]:
        """What is known of each arm where the trial failed after so many slices."""
        return {
            name: replace(known, status="failed", outputs={}, artifacts={}, failure=sentence)
            for name, known in self.after(slices).items()
        }


def compute(
    execution: Execution | Recalling,
    requests: Iterable[ArmRequest],
    known: Mapping[TrialKey, Mapping[str, ArmOutcome]],
) -> dict[TrialKey, HiddenResults]:
    """Run arms to their end, all together.

    Args:
        execution: Where they run.
        requests: The arms.
        known: Final outcomes that are recorded already; these arms are not run again.

    Returns:
        The results by trial.
    """
    arms: dict[TrialKey, dict[str, list[ArmOutcome]]] = {}
    waiting: list[ArmRequest] = []
    for request in requests:
        recorded = known.get(request.trial, {}).get(request.name, ArmOutcome("running"))
        first = recorded if recorded.is_final else ArmOutcome("running")
        arms.setdefault(request.trial, {})[request.name] = [first]
        if not first.is_final:
            waiting.append(request)
    found = execution.submit(waiting) if waiting else {}
    while waiting:
        for request in waiting:
            outcome = found[request.key]
            # A growing curve after each slice would take memory of the square of the slices.
            kept = outcome if outcome.is_final else replace(outcome, curves={})
            arms[request.trial][request.name].append(kept)
        waiting = [request for request in waiting if not found[request.key].is_final]
        if waiting:
            found = execution.poll({request.trial for request in waiting})
    return {trial: HiddenResults(outcomes) for trial, outcomes in arms.items()}


def _after(outcomes: Sequence[ArmOutcome], slices: int) -> ArmOutcome:
    last = outcomes[-1]
    if slices >= len(outcomes) - 1:
        return last
    known = outcomes[slices]
    curves = {
        name: shown
        for name, points in last.curves.items()
        if slices and (shown := tuple(point for point in points if point[0] <= known.step))
    }
    return replace(known, curves=curves)
