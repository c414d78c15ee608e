"""The runner of built-in test functions whose optimum is known."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self, final

from ax.core.base_trial import BaseTrial
from ax.utils.common.serialization import (
    TClassDecoderRegistry,
    TDecoderRegistry,
    extract_init_args,
    serialize_init_args,
)

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.problems.synthetic_task import SyntheticTask
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.execution import Execution, InProcessExecution
from ax_jax_runners.tasks import Task


@final
class SyntheticJaxRunner(TaskRunner):
    """Runs a built-in test function in this process; stored by the problem's name.

    Beside the results, a trial's run_metadata holds ``name``, the experiment's name and the trial's
    index joined by an underscore (the index alone where the experiment has no name), and
    ``dummy_metadata`` where it was given.

    Attributes:
        problem: Name of the built-in problem.
        noise_sd: Standard deviation of the noise, as given.
        dummy_metadata: Copied into every trial's run_metadata.
    """

    __slots__ = ()

    def __init__(
        self,
        problem: str = "branin",
        *,
        noise_sd: float | Mapping[str, float] = 0.0,
        dummy_metadata: Any = None,
        seed: int = 0,
    ) -> None:
        """Make the problem's task; nothing is compiled yet.

        Args:
            problem: Name of a built-in problem with a known optimum or front, such as "branin".
            noise_sd: Standard deviation of Gaussian noise on each objective: a number, or
                {"base": b, "slope": s} for b + s * |true objective|.
            dummy_metadata: Anything that JSON holds; None: nothing.
            seed: Root of all keys, and so of the noise.

        Raises:
            ConfigurationError: An unknown problem, or an argument that cannot be used.
        """
        if not isinstance(problem, str):
            raise ConfigurationError(
                f"problem is a {type(problem).__name__}; give the name of a built-in problem."
            )
        super().__init__(_task(problem, noise_sd), seed=seed)
        self.problem = problem
        self.noise_sd = dict(noise_sd) if isinstance(noise_sd, Mapping) else float(noise_sd)
        self.dummy_metadata = _checked_metadata(dummy_metadata)

    def start_execution(self, task: Task) -> Execution:
        """Return an execution in this process that keeps no files."""
        return InProcessExecution(task, seed=self.seed)

    def run_multiple(self, trials: Iterable[BaseTrial]) -> dict[int, dict[str, Any]]:
        """Run all arms of all trials together and return their run_metadata by trial index."""
        trials = list(trials)
        metadata = super().run_multiple(trials)
        return {trial.index: {**self._labels(trial), **metadata[trial.index]} for trial in trials}

    @property
    def run_metadata_report_keys(self) -> list[str]:
        """The trial's name."""
        return ["name"]

    def _labels(self, trial: BaseTrial) -> dict[str, Any]:
        experiment = trial.experiment
        prefix = f"{experiment.name}_" if experiment.has_name else ""
        labels = {"name": f"{prefix}{trial.index}"}
        if self.dummy_metadata is not None:
            labels["dummy_metadata"] = copy.deepcopy(self.dummy_metadata)
        return labels

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """Return the constructor's arguments as JSON: the problem by its name."""
        return serialize_init_args(obj=obj)

    @classmethod
    def deserialize_init_args(
        cls,
        args: dict[str, Any],
        decoder_registry: TDecoderRegistry | None = None,
        class_decoder_registry: TClassDecoderRegistry | None = None,
    ) -> dict[str, Any]:
        """Return the constructor's arguments; nothing has to be looked up."""
        return extract_init_args(args=args, class_=cls)

    def clone(self) -> Self:
        """Return an equal runner with nothing running."""
        return type(self)(**serialize_init_args(obj=self))

    def __repr__(self) -> str:
        listed = ", ".join(f"{k}={v!r}" for k, v in serialize_init_args(obj=self).items())
        return f"{type(self).__name__}({listed})"


def _task(problem: str, noise_sd: Any) -> Task:
    if "noise_sd" in problems.get(problem).options:
        task = problems.build(problem, noise_sd=noise_sd)
        if isinstance(task, SyntheticTask):
            return task
    raise ConfigurationError(
        f"Problem {problem!r} has no known optimum; choose a test function such as 'branin', or "
        f"run it as JaxRunner(problems.build({problem!r}))."
    )


def _checked_metadata(value: Any) -> Any:
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"dummy_metadata is {value!r}, which JSON cannot hold ({error}); give texts, finite "
            "numbers, lists and dicts."
        ) from error
    return plain
