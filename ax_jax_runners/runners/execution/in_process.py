"""Arms run in this process, a whole batch as one call of the task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from ax_jax_runners.errors import EvaluationError, ResultNotStorable
from ax_jax_runners.files import FileStore
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import describe_error
from ax_jax_runners.tasks import Task
from ax_jax_runners.tasks.keys import arm_keys

# A simulator that calls sys.exit() fails like any other; Ctrl-C is the user's and passes.
_FAILURES = (Exception, SystemExit)


@dataclass
class _Batch:
    """Arms that share one state of the task.

    Attributes:
        requests: In the order of the state's arm axis.
        state: The task's state after the last slice.
        outcomes: What is known of each arm.
        awaited: Positions of arms whose final outcome nobody has asked for yet.
    """

    requests: list[ArmRequest]
    state: Any
    outcomes: list[ArmOutcome]
    awaited: set[int]

    @classmethod
    def begun(cls, requests: Sequence[ArmRequest], state: Any) -> _Batch:
        waiting = [ArmOutcome("running") for _ in requests]
        return cls(list(requests), state, waiting, set(range(len(requests))))

    @property
    def is_final(self) -> bool:
        return all(self.outcomes[row].is_final for row in self.awaited)

    def singles(self) -> Iterator[_Batch]:
        """Cut the state into states of one arm each."""
        for row, request in enumerate(self.requests):
            state = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], self.state)
            awaited = {0} if row in self.awaited else set()
            yield _Batch([request], state, [self.outcomes[row]], awaited)


class InProcessExecution:
    """Runs the first slice of a batch when it is submitted, and one more at every poll."""

    def __init__(self, task: Task, *, seed: int, files: FileStore | None) -> None:
        """Keep what is needed; nothing is compiled yet.

        Args:
            task: What to compute.
            seed: Root of all keys.
            files: Where arrays are kept, or None.
        """
        self._task = task
        self._seed = seed
        self._files = files
        self._batches: list[_Batch] = []

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Begin all arms as one batch and do its first slice; see `Execution.submit`."""
        for trial in {request.trial for request in requests}:
            self.stop(trial)
        outcomes: dict[ArmKey, ArmOutcome] = {}
        batches = []
        for batch in self._begin(requests, outcomes):
            batches.extend(self._advance(batch))
        self._batches.extend(batches)
        return outcomes | self._collect({request.trial for request in requests})

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """Do one slice for every batch with an unfinished arm of ``trials``."""
        batches = []
        for batch in self._batches:
            asked = [row for row in batch.awaited if batch.requests[row].trial in trials]
            if all(batch.outcomes[row].is_final for row in asked):
                batches.append(batch)
            else:
                batches.extend(self._advance(batch))
        self._batches = batches
        return self._collect(trials)

    def stop(self, trial: TrialKey) -> None:
        """Forget a trial; see `Execution.stop`."""
        for batch in self._batches:
            batch.awaited -= {i for i in batch.awaited if batch.requests[i].trial == trial}
        self._batches = [batch for batch in self._batches if batch.awaited]

    def capacity(self) -> int:
        """Return -1: a batch of any size is one call."""
        return -1

    def _begin(
        self, requests: Sequence[ArmRequest], outcomes: dict[ArmKey, ArmOutcome]
    ) -> list[_Batch]:
        """Begin a batch without the arms that the task refuses; these go to ``outcomes``."""
        if not requests:
            return []
        try:
            return [_Batch.begun(requests, self._begin_state(requests))]
        except _FAILURES as error:
            if len(requests) == 1:
                outcomes[requests[0].key] = ArmOutcome.failed(describe_error(error))
                return []
        singles = [batch for r in requests for batch in self._begin([r], outcomes)]
        accepted = [batch.requests[0] for batch in singles]
        # Refused together though not one by one: they stay apart.
        return singles if len(accepted) == len(requests) else self._begin(accepted, outcomes)

    def _begin_state(self, requests: Sequence[ArmRequest]) -> Any:
        keys = arm_keys(self._seed, [(r.trial[1], r.position) for r in requests])
        return self._task.begin([request.parameters for request in requests], keys)

    def _advance(self, batch: _Batch) -> list[_Batch]:
        """Do one slice; if it fails, find the arms to blame and go on with the others."""
        try:
            state = self._task.advance(batch.state)
            reports = self._task.progress(state)
            outcomes = self._outcomes(batch, list(reports))
        except _FAILURES as error:
            return self._advance_singly(batch, error)
        batch.state, batch.outcomes = state, outcomes
        return [batch]

    def _advance_singly(self, batch: _Batch, error: BaseException) -> list[_Batch]:
        sentence = describe_error(error)
        if len(batch.requests) == 1:
            _fail(batch, sentence)
            return [batch]
        try:
            singles = list(batch.singles())
        except _FAILURES:  # a state without an arm axis cannot be cut
            _fail(batch, sentence)
            return [batch]
        for row, single in enumerate(singles):
            if single.awaited and not single.is_final:
                singles[row] = self._advance(single)[0]
            if row == 0 and _blames_all(error, singles[0], sentence):
                for other in singles[1:]:
                    _fail(other, sentence)
                break
        return singles

    def _outcomes(self, batch: _Batch, reports: list[Any]) -> list[ArmOutcome]:
        if len(reports) != len(batch.requests):
            raise EvaluationError(
                f"The task reported the progress of {len(reports)} arms out of "
                f"{len(batch.requests)}; report one Progress for each."
            )
        required = tuple(self._task.outputs)
        return [
            known if known.is_final else self._keep(report, required)
            for known, report in zip(batch.outcomes, reports, strict=True)
        ]

    def _keep(self, report: Any, required: tuple[str, ...]) -> ArmOutcome:
        """Record a report, its arrays first, so that no record names a missing file."""
        outcome = ArmOutcome.from_progress(report, required)
        if self._files is None or not outcome.is_final or not getattr(report, "arrays", None):
            return outcome
        try:
            stored = self._files.write_arrays(report.arrays)
        except (OSError, ResultNotStorable) as error:
            return ArmOutcome.failed(
                f"Its arrays could not be kept in {self._files.folder}: {describe_error(error)}",
                step=outcome.step,
            )
        return replace(outcome, artifacts=dict.fromkeys(report.arrays, stored.sha256))

    def _collect(self, trials: Collection[TrialKey]) -> dict[ArmKey, ArmOutcome]:
        """Return what is known of the arms of ``trials``, and let go of those that are final."""
        found = {}
        for batch in self._batches:
            for row in sorted(batch.awaited):
                request, outcome = batch.requests[row], batch.outcomes[row]
                if request.trial in trials:
                    found[request.key] = outcome
                    if outcome.is_final:
                        batch.awaited.discard(row)
        self._batches = [batch for batch in self._batches if batch.awaited]
        return found


def _fail(batch: _Batch, sentence: str) -> None:
    batch.outcomes = [
        known if known.is_final else ArmOutcome.failed(sentence, step=known.step)
        for known in batch.outcomes
    ]


def _blames_all(error: BaseException, first: _Batch, sentence: str) -> bool:
    """Whether an error is about the program and not about an arm, so that trying on is idle.

    By the protocol an EvaluationError is; one that wraps an error of the running program (too
    little memory, a callback that raised) is not.
    """
    return (
        isinstance(error, EvaluationError)
        and not isinstance(error.__cause__, jax.errors.JaxRuntimeError)
        and first.outcomes[0].failure == sentence
    )
