"""Ids of the evaluations of a runner's task: what decides the result of an arm, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import jax
from ax.core.base_trial import BaseTrial
from ax.core.runner import Runner

import ax_jax_runners
from ax_jax_runners.campaign.identity import program
from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store.identity import evaluation_id, run_id
from ax_jax_runners.tasks import FeatureTask, UnboundTask, task_identity
from ax_jax_runners.tasks.keys import KEY_IMPLEMENTATION

_LOG = logging.getLogger(__name__)
_PACKAGE = "ax_jax_runners"


class EvaluationIds:
    """Names the evaluations of one runner.

    A run is the task's digest (of its program with constants, dtype and JAX version), the program's
    settings, the platform and this package's version; neither a campaign, its goals, nor where and
    when trials run take part. An evaluation is a run, the parameters of an arm and, unless the
    simulator is deterministic, the counters of the arm's random key.

    Tasks whose identity does not say all have no ids: an own task without a method ``describe``,
    and a subclass of one of this package's that does not describe itself.
    """

    def __init__(self, runner: Runner | None) -> None:
        """Keep the runner; nothing is traced yet."""
        self.runner = runner
        self._run: str | None = None
        self._has_no_ids = not _decides(runner)

    def of_trial(self, trial: BaseTrial) -> dict[str, str]:
        """Return the ids of a trial's arms by name; empty where there are none."""
        runner = self.runner
        if self._has_no_ids or not isinstance(runner, TaskRunner):
            return {}
        try:
            if self._run is None:
                self._run = _run_id(runner)
            return {
                arm.name: self._of_arm(self._run, runner, trial, position, arm.parameters)
                for position, arm in enumerate(trial.arms)
            }
        except AxJaxError:
            # An arm outside the space: its own failure will say so.
            return {}
        except Exception as error:
            self._has_no_ids = True
            _LOG.warning("Evaluations of this campaign have no ids, so none is reused: %s", error)
            return {}

    @staticmethod
    def _of_arm(
        run: str,
        runner: TaskRunner,
        trial: BaseTrial,
        position: int,
        parameters: Mapping[str, Any],
    ) -> str:
        space = runner.bound_task.space
        seed = None
        if not _is_deterministic(runner.bound_task):
            seed = (runner.seed, trial.index, position)
        return evaluation_id(run, space.unpack(space.pack(parameters)), seed)


def acts_on_its_surroundings(task: Any) -> bool:
    """Whether a simulator has effects beside its result, so that not running it matters.

    Its program is traced once; host callbacks that say they are pure have none.
    """
    if not isinstance(task, FeatureTask):
        return False
    evaluator = task.joint_evaluator
    with jax.enable_x64(evaluator.dtype == "float64"):
        theta = jax.ShapeDtypeStruct((task.space.dimension,), evaluator.dtype)
        key = [jax.random.key(0)] if evaluator.stochastic else []
        return bool(jax.make_jaxpr(evaluator.row_features)(theta, *key).effects)


def _run_id(runner: TaskRunner) -> str:
    task = runner.bound_task
    own_runner = type(runner)
    # The runner has the digest at hand where it is stored with it.
    stored = runner.serialize_init_args(runner).get("task")
    digest = stored["digest"] if isinstance(stored, Mapping) else task_identity(task).digest
    return run_id(
        {
            "task": _name(type(task)),
            "outputs": list(task.outputs),
            "program": program(task),
            "key": None if _is_deterministic(task) else KEY_IMPLEMENTATION,
            # What is computed is the same without a folder, but its arrays are not kept.
            "keeps_arrays": runner.directory is not None,
            "runner": None if _is_ours(own_runner) else _name(own_runner),
        },
        code=f"{ax_jax_runners.__version__} {digest}",
    )


def _decides(runner: Runner | None) -> bool:
    """Whether the identity of a runner's task decides its results."""
    if not isinstance(runner, TaskRunner) or isinstance(runner.task, UnboundTask):
        return False
    kind = type(runner.task)
    return _is_ours(kind) or callable(vars(kind).get("describe"))


def _is_deterministic(task: Any) -> bool:
    return isinstance(task, FeatureTask) and not task.evaluator.stochastic


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _PACKAGE


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
