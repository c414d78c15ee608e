"""What makes two campaigns the same: everything that decides their results, as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ax.generation_strategy.generation_strategy import GenerationStrategy

from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.tasks.identity import task_identity

CONFIGURATION_VERSION = 1


def configuration(
    runner: TaskRunner,
    *,
    objective: str,
    outcome_constraints: Sequence[str],
    generation: str | GenerationStrategy,
    seed: int,
) -> dict[str, Any]:
    """The configuration of a campaign as it is stored and compared.

    Execution settings (batch size, totals, folders) are left out: they may change between runs.
    """
    task = runner.bound_task
    arguments = runner.serialize_init_args(runner)
    identity = task_identity(task)
    return {
        "version": CONFIGURATION_VERSION,
        "task": {"reference": identity.reference, "digest": identity.digest},
        "parameters": _plain(task.space.describe()),
        "outputs": list(task.outputs),
        "runner": type(runner).__name__,
        "runner_options": {name: _plain(arguments[name]) for name in runner.deciding},
        "objective": objective,
        "outcome_constraints": list(outcome_constraints),
        "generation": generation if isinstance(generation, str) else generation.name,
        "seed": seed,
        "program": program(task),
    }


def program(task: Any) -> dict[str, Any]:
    """What the last bits of a result depend on besides the task's code."""
    evaluator = getattr(task, "evaluator", None)
    settings = {
        name: getattr(evaluator, name)
        for name in ("chunk", "capacity", "reproducible", "dtype")
        if hasattr(evaluator, name)
    }
    return {**settings, "jax": jax.__version__, "platform": jax.default_backend()}


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Where two configurations differ, one phrase for each key."""
    found = []
    for key in sorted({*stored, *given}):
        # Campaigns of the first version have no options of their runner.
        unknown = key == "runner_options" and key not in stored
        if unknown or stored.get(key) == given.get(key):
            continue
        if key == "task" and stored["task"].get("reference") == given["task"].get("reference"):
            found.append(f"the computation of task {given['task']['reference']!r} changed")
        elif key == "task":
            references = [side.get("task", {}).get("reference") for side in (stored, given)]
            found.append(f"the task is {references[0]!r} there and {references[1]!r} here")
        elif key == "parameters":
            found.append("the parameters (names, priors, bounds or constraints) differ")
        else:
            found.append(f"{key} is {stored.get(key)!r} there and {given.get(key)!r} here")
    return found


def _plain(value: Any) -> Any:
    """Tuples become lists, as they do in the database."""
    return json.loads(json.dumps(value))
