"""Ax's runner contract, implemented once for every task and every way to run it."""

from __future__ import annotations

import itertools
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners.files import FileStore
from ax_jax_runners.runners.binding import raise_unbound
from ax_jax_runners.runners.execution import ArmRequest, Execution, FrozenArms, TrialKey
from ax_jax_runners.runners.execution.protocol import ArmKey
from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.runners.recalling import Recalling
from ax_jax_runners.runners.sentences import bounded
from ax_jax_runners.runners.stored import StorableRunner
from ax_jax_runners.tasks import Task, UnboundTask

# What Ax's own column for an abandoned arm's reason holds.
_REASON_LIMIT = 255
_numbers = itertools.count()


class TaskRunner(StorableRunner):
    """An Ax runner that holds a task; a subclass says where and when arms run.

    Results land in ``trial.run_metadata`` as plain finite JSON. A task that raises, or an arm
    without a finite result, fails its own trial with a sentence; nothing but an interruption by
    the user leaves `run_multiple`.

    To write one: subclass, build the `Execution` in `start_execution`, and pass constructor
    arguments of your own on as attributes of the same name.

    Attributes:
        seed: Root of all keys, at least 0 and below 2**32.
        directory: Folder where arrays are kept, as text; None keeps none.
    """

    __slots__ = ("_execution", "_experiments", "_known")

    computes_while_running: ClassVar[bool] = True
    """Whether a running trial occupies a process, which it may take down."""

    deciding: ClassVar[tuple[str, ...]] = ("seed",)
    """Constructor arguments that decide a campaign's results; the others may change in its life."""

    def _start_afresh(self, task: Task | UnboundTask) -> None:
        super()._start_afresh(task)
        self._execution: Execution | None = None
        self._experiments: dict[int, tuple[weakref.ref[Experiment], int]] = {}
        self._known: dict[ArmKey, ArmOutcome] = {}

    @abstractmethod
    def start_execution(self, task: Task) -> Execution:
        """Return where arms of ``task`` run. Called once, when the first arm is to run."""

    @property
    def execution(self) -> Execution:
        """Where arms run.

        Raises:
            TaskNotBound: The task was not given again on load.
            TaskChanged: The given task computes something else than the stored one.
        """
        task = self.bound_task
        if self._execution is None:
            self._execution = self.start_execution(task)
        return self._execution

    @property
    def bound_task(self) -> Task:
        """The task, ready to run.

        Raises:
            TaskNotBound: The task was not given again on load.
            TaskChanged: The given task computes something else than the stored one.
        """
        if isinstance(self._task, UnboundTask):
            raise_unbound(self._task)
        return self._task

    def run(self, trial: BaseTrial) -> dict[str, Any]:
        """Run one trial; see `run_multiple`."""
        return self.run_multiple([trial])[trial.index]

    def run_multiple(self, trials: Iterable[BaseTrial]) -> dict[int, dict[str, Any]]:
        """Run all arms of all trials together and return their run_metadata by trial index.

        Raises:
            TaskNotBound: The task was not given again on load; nothing was evaluated.
            TaskChanged: The given task computes something else than the stored one.
        """
        trials = list(trials)
        recalling = Recalling(self.execution, self._known)
        found = recalling.submit([r for trial in trials for r in self._requests(trial)])
        metadata = {}
        for trial in trials:
            key = self._key(trial)
            outcomes = {arm.name: found[key, arm.name] for arm in trial.arms}
            metadata[trial.index] = encode_outcomes(outcomes)
        return metadata

    def recall(self, trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> None:
        """Take outcomes of arms that are known already; the next run of the trial gives them.

        Args:
            trial: The trial that is about to be run.
            outcomes: Final outcomes by the names of its arms.
        """
        key = self._key(trial)
        self._known.update({(key, name): outcome for name, outcome in outcomes.items()})

    def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
        """Return the status of trials that are not terminal, and record what is new of them.

        Unfinished trials go on. A trial that runs, but is not known in this process (after a
        resume), is begun again with the same keys. Bad arms of a BatchTrial are abandoned.

        Raises:
            TaskNotBound: An unfinished trial needs a task that was not given again on load.
        """
        live = [trial for trial in trials if not trial.status.is_terminal]
        recorded = {trial.index: decode_outcomes(trial.run_metadata) for trial in live}
        waiting = [
            trial
            for trial in live
            if (recorded[trial.index] or not trial.status.is_candidate)
            and not all_final(trial, recorded[trial.index])
        ]
        if waiting:
            self._go_on(waiting, recorded)
        statuses: dict[TrialStatus, set[int]] = {}
        for trial in live:
            status = judge(trial, recorded[trial.index])
            statuses.setdefault(status, set()).add(trial.index)
        return statuses

    def _go_on(
        self, trials: list[BaseTrial], recorded: Mapping[int, dict[str, ArmOutcome]]
    ) -> None:
        """Poll unfinished trials, begin what is not known here, and record what is new."""
        found = dict(self.execution.poll({self._key(trial) for trial in trials}))
        lost = [
            request
            for trial in trials
            for request in self._requests(trial)
            if request.key not in found and not _is_final(recorded[trial.index], request.name)
        ]
        if lost:
            found.update(self.execution.submit(lost))
        for trial in trials:
            outcomes, key = recorded[trial.index], self._key(trial)
            for arm in trial.arms:
                if (key, arm.name) in found and not _is_final(outcomes, arm.name):
                    outcomes[arm.name] = found[key, arm.name]
            trial.update_run_metadata(encode_outcomes(outcomes))

    def poll_available_capacity(self) -> int:
        """Return how many more trials may run now; -1 for any number."""
        return self.execution.capacity()

    def poll_exception(self, trial: BaseTrial) -> str:
        """Return why a trial failed: the sentence of its arm, or of each bad arm by name."""
        failures = {
            name: outcome.failure
            for name, outcome in decode_outcomes(trial.run_metadata).items()
            if outcome.failure is not None
        }
        if not failures:
            return f"No failure of trial {trial.index} is recorded."
        if not isinstance(trial, BatchTrial):
            return next(iter(failures.values()))
        return bounded(" ".join(f"{name}: {failure}" for name, failure in failures.items()))

    def stop(self, trial: BaseTrial, reason: str | None = None) -> dict[str, Any]:
        """Stop a trial between two slices. What is known of it stays in its run_metadata."""
        if self._execution is not None:
            key = self._key(trial)
            found = self._execution.stop(key)
            outcomes = decode_outcomes(trial.run_metadata)
            for arm in trial.arms:
                if (key, arm.name) in found and not _is_final(outcomes, arm.name):
                    outcomes[arm.name] = found[key, arm.name]
            if found:
                trial.update_run_metadata(encode_outcomes(outcomes))
        return {} if reason is None else {"reason": bounded(str(reason))}

    def wait(self, seconds: float) -> None:
        """Return as soon as a poll may find something new, and at the latest after ``seconds``."""
        if self._execution is not None:
            self._execution.wait(seconds)

    def release(self, trials: Iterable[BaseTrial]) -> None:
        """Drop the frozen states of trials whose results are recorded for good.

        Our Scheduler calls it after its transaction. Where nobody does, the states stay in
        ``directory``, and a trial that is run again goes on from its last one.
        """
        if self.directory is None or isinstance(self._task, UnboundTask):
            return
        requests = [request for trial in trials for request in self._requests(trial)]
        if requests:
            self.execution.release(requests)

    def slices_frozen(self, trials: Iterable[BaseTrial]) -> dict[int, int]:
        """How many slices of each trial, over all its arms, a killed process would not lose.

        Returns:
            {index of the trial: slices}.
        """
        frozen = None if isinstance(self._task, UnboundTask) else self.frozen_arms(self._task)
        return {
            trial.index: 0 if frozen is None else sum(map(frozen.slices, self._requests(trial)))
            for trial in trials
        }

    def close(self) -> None:
        """End worker processes and the like. A later poll goes on, from the frozen states."""
        if self._execution is not None:
            self._execution.close()

    @property
    def files(self) -> FileStore | None:
        """Where the arrays of finished arms are kept."""
        return None if self.directory is None else FileStore(Path(self.directory))

    def frozen_arms(self, task: Task) -> FrozenArms | None:
        """Where the states of long trials are frozen between slices."""
        if self.directory is None:
            return None
        return FrozenArms.in_directory(task, seed=self.seed, directory=self.directory)

    @property
    def run_metadata_report_keys(self) -> list[str]:
        """Nothing: what stands in run_metadata is reported by the metrics."""
        return []

    def _requests(self, trial: BaseTrial) -> list[ArmRequest]:
        key = self._key(trial)
        return [
            ArmRequest(key, position, arm.name, arm.parameters)
            for position, arm in enumerate(trial.arms)
        ]

    def _key(self, trial: BaseTrial) -> TrialKey:
        """Number the experiment, since one runner may serve several with equal trial indices."""
        experiment = trial.experiment
        known = self._experiments.get(id(experiment))
        if known is None or known[0]() is not experiment:
            known = (weakref.ref(experiment), next(_numbers))
            self._experiments[id(experiment)] = known
        return known[1], trial.index


def _is_final(outcomes: Mapping[str, ArmOutcome], name: str) -> bool:
    return name in outcomes and outcomes[name].is_final


def all_final(trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> bool:
    """Whether nothing more will come of any arm of a trial."""
    return all(_is_final(outcomes, arm.name) for arm in trial.arms)


def judge(trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> TrialStatus:
    """Judge a trial by its arms, and abandon the bad ones of a BatchTrial that has good ones."""
    if trial.status.is_candidate and not outcomes:
        return TrialStatus.CANDIDATE
    if not all_final(trial, outcomes):
        return TrialStatus.RUNNING
    bad = [arm.name for arm in trial.arms if outcomes[arm.name].status == "failed"]
    if len(bad) == len(trial.arms):
        return TrialStatus.FAILED
    if isinstance(trial, BatchTrial):
        abandoned = {arm.name for arm in trial.abandoned_arms}
        for name in bad:
            if name not in abandoned:
                reason = bounded(outcomes[name].failure or "", _REASON_LIMIT)
                trial.mark_arm_abandoned(name, reason)
    return TrialStatus.COMPLETED
