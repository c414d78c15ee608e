"""Ax's runner contract, implemented once for every task and every way to run it."""

from __future__ import annotations

import itertools
import os
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.experiment import Experiment
from ax.core.runner import Runner
from ax.core.trial_status import TrialStatus
from ax.utils.common.serialization import (
    TClassDecoderRegistry,
    TDecoderRegistry,
    extract_init_args,
    serialize_init_args,
)

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.binding import (
    RESOLVER,
    TaskResolver,
    check_task,
    encode_task,
    raise_unbound,
)
from ax_jax_runners.runners.execution import ArmRequest, Execution, TrialKey
from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.runners.sentences import bounded
from ax_jax_runners.tasks import Task, UnboundTask
from ax_jax_runners.tasks.keys import SEED_LIMIT

# What Ax's own column for an abandoned arm's reason holds.
_REASON_LIMIT = 255
_numbers = itertools.count()


class TaskRunner(Runner):
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

    # Ax compares the instance __dict__ of a runner with that of its stored copy, type by type, so
    # only what is stored lives there. The rest is rebuilt when needed.
    __slots__ = ("_execution", "_experiments", "_stored_task", "_task")

    def __init__(
        self,
        task: Task | UnboundTask,
        *,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Keep the arguments; nothing is compiled yet.

        Args:
            task: What one arm computes.
            seed: Root of all keys: arm j of trial i gets
                ``fold_in(fold_in(key(seed), i), j)``.
            directory: Folder where the arrays of finished arms are kept, or None.

        Raises:
            ConfigurationError: Not a task, or a seed or directory that cannot be used.
        """
        check_task(task, type(self).__name__)
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ConfigurationError(f"seed is {seed!r}; give a whole number.")
        if not 0 <= int(seed) < SEED_LIMIT:
            raise ConfigurationError(f"seed is {seed}; give a number from 0 to {SEED_LIMIT - 1}.")
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise ConfigurationError(
                f"directory is a {type(directory).__name__}; give a path, or None."
            )
        self.seed = int(seed)
        self.directory = None if directory is None else os.fspath(directory)
        self._set_task(task)

    def _set_task(self, task: Task | UnboundTask) -> None:
        self._task = task
        self._stored_task: dict[str, Any] | None = None
        self._execution: Execution | None = None
        self._experiments: dict[int, tuple[weakref.ref[Experiment], int]] = {}

    @property
    def task(self) -> Task | UnboundTask:
        """What one arm computes; an `UnboundTask` where it was not given again on load."""
        return self._task

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
        if isinstance(self._task, UnboundTask):
            raise_unbound(self._task)
        if self._execution is None:
            self._execution = self.start_execution(self._task)  # pyright: ignore[reportArgumentType]
        return self._execution

    # ---- running

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
        found = self.execution.submit([r for trial in trials for r in self._requests(trial)])
        metadata = {}
        for trial in trials:
            key = self._key(trial)
            outcomes = {arm.name: found[key, arm.name] for arm in trial.arms}
            metadata[trial.index] = encode_outcomes(outcomes)
        return metadata

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
            and not _all_final(trial, recorded[trial.index])
        ]
        if waiting:
            self._go_on(waiting, recorded)
        statuses: dict[TrialStatus, set[int]] = {}
        for trial in live:
            status = _status(trial, recorded[trial.index])
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
        """Stop a trial. What is recorded of it stays."""
        if self._execution is not None:
            self._execution.stop(self._key(trial))
        return {} if reason is None else {"reason": bounded(str(reason))}

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

    # ---- storage and copies

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """Return the constructor's arguments as JSON; the task by reference and digest."""
        if obj._stored_task is None:
            obj._stored_task = encode_task(obj.task)
        return {**serialize_init_args(obj=obj), "task": dict(obj._stored_task)}

    @classmethod
    def deserialize_init_args(
        cls,
        args: dict[str, Any],
        decoder_registry: TDecoderRegistry | None = None,
        class_decoder_registry: TClassDecoderRegistry | None = None,
    ) -> dict[str, Any]:
        """Return the constructor's arguments; the task is found by the bundle's `TaskResolver`."""
        arguments = extract_init_args(args=args, class_=cls)
        if isinstance(arguments["task"], Mapping):
            resolver = (decoder_registry or {}).get(RESOLVER)
            if not isinstance(resolver, TaskResolver):
                resolver = TaskResolver()
            arguments["task"] = resolver.resolve(arguments["task"])
        return arguments

    def clone(self) -> Self:
        """Return an equal runner with nothing running. Works for any task, lambdas included."""
        return type(self)(**{**serialize_init_args(obj=self), "task": self._task})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The task is frozen, so copies share it together with its compiled programs.
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__())
        return twin

    def __getstate__(self) -> tuple[dict[str, Any], Task | UnboundTask]:
        return dict(vars(self)), self._task

    def __setstate__(self, state: tuple[dict[str, Any], Task | UnboundTask]) -> None:
        vars(self).update(state[0])
        self._set_task(state[1])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.serialize_init_args(self) == self.serialize_init_args(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        arguments = {**serialize_init_args(obj=self), "task": self._task}
        listed = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({listed})"


def _is_final(outcomes: Mapping[str, ArmOutcome], name: str) -> bool:
    return name in outcomes and outcomes[name].is_final


def _all_final(trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> bool:
    return all(_is_final(outcomes, arm.name) for arm in trial.arms)


def _status(trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> TrialStatus:
    """Judge a trial by its arms, and abandon the bad ones of a BatchTrial that has good ones."""
    if trial.status.is_candidate and not outcomes:
        return TrialStatus.CANDIDATE
    if not _all_final(trial, outcomes):
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
