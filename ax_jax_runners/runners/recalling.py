"""Outcomes that are known already, in place of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from ax_jax_runners.runners.execution import ArmRequest, Execution, TrialKey
from ax_jax_runners.runners.execution.protocol import ArmKey
from ax_jax_runners.runners.outcome import ArmOutcome


@dataclass(frozen=True)
class Recalling:
    """Submits arms to an execution, but for those whose outcome is known.

    Attributes:
        execution: Where the other arms run.
        known: Final outcomes; each is given once, so that an arm that is run again runs.
    """

    execution: Execution
    known: MutableMapping[ArmKey, ArmOutcome]

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Start arms; see `Execution.submit`."""
        found = {r.key: self.known.pop(r.key) for r in requests if r.key in self.known}
        waiting = [request for request in requests if request.key not in found]
        return {**found, **self.execution.submit(waiting)} if waiting else found

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """See `Execution.poll`."""
        return self.execution.poll(trials)
