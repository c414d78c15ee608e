"""One running trial at a time, as on a laboratory bench."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from ax.core.base_trial import BaseTrial
from ax.core.trial_status import TrialStatus

from ax_jax_runners.runners.base import TaskRunner, all_final
from ax_jax_runners.runners.execution import Execution, InProcessExecution
from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.tasks import Task


class SingleRunningTrialMixin:
    """Of the running trials only the latest runs; older ones are completed with what they have.

    For runners of your own, named before or after their other base. With a base that holds a task
    the latest trial ends when its task is done. Any other runner says so by `is_trial_done`; one
    that cannot tell needs ``max_pending_trials`` of at least 2, since only a newer trial ends its
    latest one.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Where another base stands before the mixin, its poll would silently win.
        rule = SingleRunningTrialMixin.poll_trial_status
        defined_by = next(kind for kind in cls.__mro__ if "poll_trial_status" in vars(kind))
        if not issubclass(defined_by, SingleRunningTrialMixin):
            cls.poll_trial_status = rule

    def is_trial_done(self, trial: BaseTrial) -> bool:
        """Whether the latest running trial has ended by itself; override where that can be told."""
        del trial
        return False

    def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
        """Return the statuses of trials that are not terminal.

        Which running trial is the latest is a matter of the experiment, not of ``trials``.
        """
        statuses: dict[TrialStatus, set[int]] = {}
        own: list[BaseTrial] = []
        live = [trial for trial in trials if not trial.status.is_terminal]
        running = live[0].experiment.running_trial_indices if live else ()
        latest = max(running, default=-1)
        for trial in live:
            displaced = trial.status.is_running and trial.index < latest
            if displaced and isinstance(self, TaskRunner):
                _complete(self, trial)
            if displaced and not isinstance(self, TaskRunner):
                statuses.setdefault(TrialStatus.COMPLETED, set()).add(trial.index)
            else:
                own.append(trial)
        for status, indices in self._poll_others(own).items():
            statuses.setdefault(status, set()).update(indices)
        return statuses

    def _poll_others(self, trials: list[BaseTrial]) -> dict[TrialStatus, set[int]]:
        if isinstance(self, TaskRunner):
            return _task_poll(type(self))(self, trials)
        statuses: dict[TrialStatus, set[int]] = {}
        for trial in trials:
            done = trial.status.is_running and self.is_trial_done(trial)
            status = TrialStatus.COMPLETED if done else trial.status
            statuses.setdefault(status, set()).add(trial.index)
        return statuses


@final
class SingleRunningTrialJaxRunner(SingleRunningTrialMixin, TaskRunner):
    """Runs one trial at a time in this process.

    It takes the next trial when the last one is done. A trial that is started all the same takes
    the place of the one that runs, which is completed with its last progress.
    """

    def start_execution(self, task: Task) -> Execution:
        """Return an execution in this process that takes one trial at a time."""
        return _SingleExecution.in_directory(task, seed=self.seed, directory=self.directory)


class _SingleExecution(InProcessExecution):
    def capacity(self) -> int:
        """Return 1 when the bench is free, else 0."""
        return 0 if self.is_busy else 1


def _complete(runner: TaskRunner, trial: BaseTrial) -> None:
    """End an unfinished trial with what is known of it."""
    if all_final(trial, decode_outcomes(trial.run_metadata)):
        return
    runner.stop(trial)
    known = decode_outcomes(trial.run_metadata)
    nothing = ArmOutcome("running")
    ended = {arm.name: known.get(arm.name, nothing).completed() for arm in trial.arms}
    trial.update_run_metadata(encode_outcomes(ended))


def _task_poll(kind: type[TaskRunner]) -> Any:
    """The poll of the task runner that the mixin was mixed with."""
    for base in kind.__mro__:
        if issubclass(base, TaskRunner) and not issubclass(base, SingleRunningTrialMixin):
            return base.poll_trial_status
    raise AssertionError(f"{kind.__name__} has no TaskRunner among its bases.")
