"""Arms run in this process: those of one static shape advance together, a slice at every poll."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import jax

from ax_jax_runners.errors import EvaluationError, ResultNotStorable
from ax_jax_runners.files import FileStore
from ax_jax_runners.runners.execution.batch import Batch, begun, singles
from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.runners.sentences import describe_error
from ax_jax_runners.tasks import Task
from ax_jax_runners.tasks.freezing import join, static_shape
from ax_jax_runners.tasks.keys import arm_keys

# A simulator that calls sys.exit() fails like any other; Ctrl-C is the user's and passes.
_FAILURES = (Exception, SystemExit)


class InProcessExecution:
    """Runs the first slice of arms when they are submitted, and one more at every poll.

    After each slice of a long task the states of its arms are frozen.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        files: FileStore | None = None,
        frozen: FrozenArms | None = None,
    ) -> None:
        """Keep what is needed; nothing is compiled yet.

        Args:
            task: What to compute.
            seed: Root of all keys.
            files: Where arrays are kept, or None.
            frozen: Where states are frozen, or None.
        """
        self._task = task
        self._seed = seed
        self._files = files
        self._frozen = frozen
        self._batches: list[Batch] = []
        self._outcomes: dict[ArmKey, ArmOutcome] = {}

    @classmethod
    def in_directory(cls, task: Task, *, seed: int, directory: str | Path | None) -> Self:
        """Return an execution that keeps arrays and states in a runner's directory, if any."""
        if directory is None:
            return cls(task, seed=seed)
        return cls(
            task,
            seed=seed,
            files=FileStore(Path(directory)),
            frozen=FrozenArms.in_directory(task, seed=seed, directory=directory),
        )

    def submit(self, requests: Sequence[ArmRequest]) -> Mapping[ArmKey, ArmOutcome]:
        """Begin or thaw all arms and do a slice of each; see `Execution.submit`."""
        for trial in {request.trial for request in requests}:
            self.stop(trial)
        fresh = [request for request in requests if not self._is_frozen(request)]
        batches = self._begin(fresh)
        batches += [b for r in requests if self._is_frozen(r) for b in self._thaw(r)]
        for batch in _joined(batches):
            self._batches.extend(self._advance(batch))
        return self._collect({request.trial for request in requests})

    def poll(self, trials: Collection[TrialKey]) -> Mapping[ArmKey, ArmOutcome]:
        """Do one slice for every batch with an arm of ``trials``."""
        asked, others = [], []
        for batch in self._batches:
            wanted = any(request.trial in trials for request in batch.requests)
            (asked if wanted else others).append(batch)
        self._batches = others
        for batch in _joined(asked):
            self._batches.extend(self._advance(batch))
        return self._collect(trials)

    def stop(self, trial: TrialKey) -> Mapping[ArmKey, ArmOutcome]:
        """Forget a trial, and do no more of it; see `Execution.stop`."""
        known = {key: o for key, o in self._outcomes.items() if key[0] == trial}
        for key in known:
            del self._outcomes[key]
        kept = (batch.without(lambda r: r.trial == trial) for batch in self._batches)
        self._batches = [batch for batch in kept if batch is not None]
        return known

    @property
    def is_busy(self) -> bool:
        """Whether an arm is unfinished."""
        return bool(self._batches)

    def capacity(self) -> int:
        """Return -1: a batch of any size is one call."""
        return -1

    def wait(self, seconds: float) -> None:
        """Return at once: a poll does the next slice."""

    def release(self, requests: Sequence[ArmRequest]) -> None:
        """Discard frozen states; see `Execution.release`."""
        if self._frozen is not None:
            for request in requests:
                self._frozen.discard(request)

    def close(self) -> None:
        """Do nothing: between two calls nothing runs."""

    def _begin(self, requests: Sequence[ArmRequest]) -> list[Batch]:
        """Begin a batch; arms that the task refuses fail."""
        if not requests:
            return []
        try:
            batch = begun(requests, self._begin_state(requests))
        except _FAILURES as error:
            if len(requests) == 1:
                self._outcomes[requests[0].key] = ArmOutcome.failed(describe_error(error))
                return []
        else:
            self._outcomes.update({r.key: ArmOutcome("running") for r in requests})
            return [batch]
        alone = [batch for request in requests for batch in self._begin([request])]
        accepted = [batch.requests[0] for batch in alone]
        # Arms of different shapes are refused together though not one by one; those of one shape
        # find each other when batches are joined.
        return alone if len(accepted) == len(requests) else self._begin(accepted)

    def _begin_state(self, requests: Sequence[ArmRequest]) -> Any:
        keys = arm_keys(self._seed, [(r.trial[1], r.position) for r in requests])
        return self._task.begin([request.parameters for request in requests], keys)

    def _is_frozen(self, request: ArmRequest) -> bool:
        return self._frozen is not None and self._frozen.holds(request)

    def _thaw(self, request: ArmRequest) -> list[Batch]:
        """Take up an arm where it was frozen; without a whole state it begins again."""
        (batch,) = self._begin([request]) or [None]
        if batch is None or self._frozen is None:
            return []
        found = self._frozen.thaw(request, batch.state)
        if found is None:
            return [batch]
        state, slices, outcome = found
        self._outcomes[request.key] = outcome
        return [] if outcome.is_final else [replace(batch, state=state, slices=[slices])]

    def _advance(self, batch: Batch) -> list[Batch]:
        """Do one slice; if it fails, find the arms to blame and go on with the others."""
        try:
            state = self._task.advance(batch.state)
            reports = list(self._task.progress(state))
            found = self._judge(batch, reports)
        except _FAILURES as error:
            return self._advance_singly(batch, error)
        slices = [count + 1 for count in batch.slices]
        self._outcomes.update(
            {r.key: outcome for r, outcome in zip(batch.requests, found, strict=True)}
        )
        self._freeze(state, batch.requests, slices, found)
        after = replace(batch, state=state, slices=slices)
        try:
            rest = after.without(lambda request: self._outcomes[request.key].is_final)
        except EvaluationError as error:
            for request in batch.requests:
                self._fail(request, describe_error(error))
            return []
        return [] if rest is None else [rest]

    def _advance_singly(self, batch: Batch, error: BaseException) -> list[Batch]:
        sentence = describe_error(error)
        try:
            alone = [] if len(batch.requests) == 1 else singles(batch)
        except _FAILURES:  # a state without an arm axis cannot be cut
            alone = []
        if not alone:
            for request in batch.requests:
                self._fail(request, sentence)
            return []
        rest: list[Batch] = []
        for row, single in enumerate(alone):
            rest.extend(self._advance(single))
            first = self._outcomes[alone[0].requests[0].key]
            if row == 0 and _blames_all(error, first, sentence):
                for other in alone[1:]:
                    self._fail(other.requests[0], sentence)
                break
        return rest

    def _judge(self, batch: Batch, reports: list[Any]) -> list[ArmOutcome]:
        if len(reports) != len(batch.requests):
            raise EvaluationError(
                f"The task reported the progress of {len(reports)} arms out of "
                f"{len(batch.requests)}; report one Progress for each."
            )
        required = tuple(self._task.outputs)
        return [
            self._keep(report, required).after(self._outcomes[request.key])
            for request, report in zip(batch.requests, reports, strict=True)
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

    def _freeze(
        self,
        state: Any,
        requests: Sequence[ArmRequest],
        slices: Sequence[int],
        outcomes: Sequence[ArmOutcome],
    ) -> None:
        """Freeze what a resume would have to compute again; a single slice is not worth a file."""
        if self._frozen is None:
            return
        rows = zip(range(len(requests)), requests, slices, outcomes, strict=True)
        self._frozen.save(state, [arm for arm in rows if arm[2] > 1 or not arm[3].is_final])

    def _fail(self, request: ArmRequest, sentence: str) -> None:
        self._outcomes[request.key] = self._outcomes[request.key].given_up(sentence)

    def _collect(self, trials: Collection[TrialKey]) -> dict[ArmKey, ArmOutcome]:
        """Return what is known of the arms of ``trials``, and let go of those that are final."""
        found = {key: o for key, o in self._outcomes.items() if key[0] in trials}
        for key, outcome in found.items():
            if outcome.is_final:
                del self._outcomes[key]
        return found


def _joined(batches: Sequence[Batch]) -> list[Batch]:
    """Put batches of one static shape together; one that failed as a whole stays apart."""
    groups: dict[Hashable, list[Batch]] = {}
    for number, batch in enumerate(batches):
        shape = None if batch.apart else static_shape(batch.state)
        groups.setdefault(("alone", number) if shape is None else shape, []).append(batch)
    return [
        group[0]
        if len(group) == 1
        else Batch(
            [request for batch in group for request in batch.requests],
            join([batch.state for batch in group]),
            [count for batch in group for count in batch.slices],
        )
        for group in groups.values()
    ]


def _blames_all(error: BaseException, first: ArmOutcome, sentence: str) -> bool:
    """Whether an error is about the program and not about an arm, so that trying on is idle.

    By the protocol an EvaluationError is; one that wraps an error of the running program (too
    little memory, a callback that raised) is not.
    """
    return (
        isinstance(error, EvaluationError)
        and not isinstance(error.__cause__, jax.errors.JaxRuntimeError)
        and first.failure == sentence
    )
