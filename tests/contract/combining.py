"""A runner and a task that the contract suites try on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ax.core.arm import Arm
from ax.core.experiment import Experiment

from ax_jax_runners.runners import (
    JaxRunner,
    SimulatedBackendJaxRunner,
    SingleRunningTrialJaxRunner,
    TaskRunner,
    WorkerJaxRunner,
)
from ax_jax_runners.tasks import Task
from tests.contract.cases import Subject

RUNNERS: dict[str, Callable[..., TaskRunner]] = {
    "JaxRunner": JaxRunner,
    "SingleRunningTrial": SingleRunningTrialJaxRunner,
    "SimulatedBackend": partial(SimulatedBackendJaxRunner, max_concurrency=8, runtime=2.0),
    "Worker": partial(WorkerJaxRunner, workers=2),
    "Worker with Dask": partial(WorkerJaxRunner, workers=2, engine="dask"),
}
_IN_PROCESS = {"JaxRunner", "SingleRunningTrial"}


@dataclass(frozen=True)
class RunnerCase:
    """One combination of a runner and a task.

    Attributes:
        name: The runner's.
        subject: The task and its arms.
        task: The task.
    """

    name: str
    subject: Subject
    task: Task = field(init=False)
    _made: list[TaskRunner] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", self.subject.build())

    @property
    def good(self) -> tuple[Mapping[str, Any], ...]:
        """Arms with a finite result."""
        return self.subject.good

    @property
    def bad(self) -> Mapping[str, Any]:
        """An arm without one."""
        return self.subject.bad[0]

    @property
    def is_in_process(self) -> bool:
        """Whether a slice is done within a call."""
        return self.name in _IN_PROCESS

    @property
    def is_single(self) -> bool:
        """Whether a newer trial takes the place of an older one."""
        return self.name == "SingleRunningTrial"

    def build(self, task: Task, **options: Any) -> Any:
        """Make a runner, which is closed after the test."""
        runner = RUNNERS[self.name](task, **options)
        self._made.append(runner)
        return runner

    def runner(self, **options: Any) -> Any:
        return self.build(self.task, **{"seed": 7, **options})

    def keep(self, runner: Any) -> Any:
        """Close this runner too, which came about by other means."""
        self._made.append(runner)
        return runner

    def experiment(self, name: str = "contract") -> Experiment:
        return Experiment(name=name, search_space=self.task.space.to_ax())

    def trials(self, experiment: Experiment, *arms: Mapping[str, Any]) -> list[Any]:
        return [experiment.new_trial().add_arm(Arm(dict(arm))) for arm in arms]

    def batch(self, experiment: Experiment, *arms: Mapping[str, Any]) -> Any:
        return experiment.new_batch_trial().add_arms_and_weights([Arm(dict(arm)) for arm in arms])

    def close(self) -> None:
        for runner in self._made:
            runner.close()
