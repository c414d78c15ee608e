"""Tasks in storage: what is written of a task, and how a task is found again.

A stored runner names its task by reference and digest. References resolve among the tasks that
the caller hands over and the built-in problems, and nowhere else: no module is ever imported
because a database names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ax.exceptions.core import UnsupportedError

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError, TaskChanged, TaskNotBound
from ax_jax_runners.tasks import Task, UnboundTask, task_identity, task_reference

#: Under this name a `TaskResolver` stands in the JSON decoder registry of a registry bundle.
RESOLVER = "ax_jax_runners.tasks"


class RunnerNotBound(UnsupportedError, TaskNotBound):
    """A runner without its task was asked to run. Ax ends its loop on it and repeats nothing."""


class RunnerTaskChanged(UnsupportedError, TaskChanged):
    """A runner whose task changed was asked to run. Ax ends its loop on it and repeats nothing."""


def check_task(task: Any, where: str) -> None:
    """Refuse what does not follow the task protocol.

    Raises:
        ConfigurationError: Names what is missing.
    """
    if isinstance(task, UnboundTask):
        return
    wanted = ("space", "outputs", "begin", "advance", "progress")
    missing = [name for name in wanted if not hasattr(task, name)]
    if missing or isinstance(task, type):
        what = f"the class {task.__name__}" if isinstance(task, type) else type(task).__name__
        lack = f" without {', '.join(missing)}" if missing else ""
        raise ConfigurationError(
            f"{where} was given {what}{lack}, which is not a task; "
            "give a FeatureTask, or an object that follows the Task protocol."
        )


def encode_task(task: Task | UnboundTask) -> dict[str, Any]:
    """Return what is stored of a task: reference, digest and, for a built-in one, its problem."""
    if isinstance(task, UnboundTask):
        problem = None if task.problem is None else dict(task.problem)
        return {"reference": task.reference, "digest": task.digest, "problem": problem}
    return {
        "reference": _reference(task),
        "digest": task_identity(task).digest,
        "problem": _problem(task),
    }


def raise_unbound(task: UnboundTask) -> NoReturn:
    """Raise what ends Ax's loop with the task's sentence.

    Raises:
        RunnerNotBound: The task was not given again.
        RunnerTaskChanged: It was given, but computes something else.
    """
    error = task.error()
    kind = RunnerTaskChanged if isinstance(error, TaskChanged) else RunnerNotBound
    raise kind(str(error))


class TaskResolver:
    """Finds the task of a stored runner among known tasks and built-in problems."""

    def __init__(self, tasks: Iterable[Task] = (), *, accept_changed: bool = False) -> None:
        """Keep the tasks; nothing is traced yet.

        Args:
            tasks: Tasks that stored runners may name.
            accept_changed: Whether a task of the same reference stands in for one that computed
                something else.

        Raises:
            ConfigurationError: Something that is not a task.
        """
        self._tasks = tuple(tasks)
        self._accept_changed = accept_changed
        for task in self._tasks:
            check_task(task, "registry_bundle")

    def resolve(self, stored: Mapping[str, Any]) -> Task | UnboundTask:
        """Return the task of a record that `encode_task` wrote, or an `UnboundTask` that says why.

        Raises:
            ConfigurationError: The record is damaged.
        """
        try:
            reference, digest = str(stored["reference"]), str(stored["digest"])
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                f"A stored runner names its task as {stored!r}; "
                "a reference and a digest were expected."
            ) from error
        problem = stored.get("problem")
        found = [task for task in self._tasks if _reference(task) == reference]
        if not found and isinstance(problem, Mapping):
            try:
                found = [problems.build(problem["name"], **problem["options"])]
            except Exception as error:
                return UnboundTask(
                    reference,
                    digest,
                    problem,
                    f"The built-in problem {problem.get('name')!r} of this campaign cannot be "
                    f"built: {error}",
                )
        for task in found:
            if task_identity(task).digest == digest:
                return task
        if not found:
            return UnboundTask(reference, digest, problem, _not_given(reference))
        if self._accept_changed and len(found) == 1:
            return found[0]
        now = ", ".join(task_identity(task).digest[:12] for task in found)
        return UnboundTask(reference, digest, problem, _changed(reference, digest, now), True)


def _reference(task: Task) -> str:
    source = problems.origin(task)
    return task_reference(task) if source is None else f"problem:{source[0]}"


def _problem(task: Task) -> dict[str, Any] | None:
    source = problems.origin(task)
    if source is None:
        return None
    name, options = source
    try:
        return json.loads(json.dumps({"name": name, "options": dict(options)}, allow_nan=False))
    except (TypeError, ValueError):
        # Built with objects that have no place in JSON: the task must be given again.
        return None


def _not_given(reference: str) -> str:
    return (
        f"The task {reference!r} of this campaign was not given again, so its runner cannot run; "
        "pass it as registry_bundle(tasks=[task]) or Campaign.load(name, task)."
    )


def _changed(reference: str, digest: str, now: str) -> str:
    return (
        f"The task {reference!r} computes something else than when the campaign was started "
        f"(digest {digest[:12]} then, {now} now); restore the simulator, its options and the JAX "
        "version, or accept the change with registry_bundle(tasks=[task], accept_changed=True)."
    )
