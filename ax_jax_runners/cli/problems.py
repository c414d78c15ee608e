"""``ax-jax problems``: the built-in tasks with their options and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ax_jax_runners.cli.arguments import AsJson
from ax_jax_runners.cli.output import grid, print_json, print_table, say
from ax_jax_runners.errors import AxJaxError

if TYPE_CHECKING:
    from ax_jax_runners.problems import Problem
    from ax_jax_runners.tasks import Task


def problems(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One problem; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the built-in problems, or one with its options, outputs and parameters."""
    from ax_jax_runners.problems import get, names

    if name is not None:
        found = get(name)
        print_json(_document(found)) if as_json else _show(found)
        return
    listed = [get(each) for each in names()]
    if as_json:
        print_json([_document(each) for each in listed])
    else:
        rows = [(each.name, each.summary, ", ".join(each.options) or None) for each in listed]
        print_table(grid(None, ["problem", "summary", "options"], rows))
        say("More on one of them: ax-jax problems NAME")


def _build(problem: Problem) -> tuple[Task | None, str | None]:
    """The task with default options, or why there is none."""
    try:
        return problem.build(), None
    except AxJaxError as error:
        return None, str(error)


def _parameters(task: Task) -> list[dict[str, Any]]:
    keys = ("name", "lower", "upper", "log_scale", "integer", "choices", "fixed")
    return [{key: each[key] for key in keys} for each in task.space.describe()["parameters"]]


def _document(problem: Problem) -> dict[str, Any]:
    task, reason = _build(problem)
    return {
        "name": problem.name,
        "summary": problem.summary,
        "objective": problem.objective,
        "outcome_constraints": list(problem.outcome_constraints),
        "reference": problem.reference,
        "reference_point": problem.reference_point,
        "max_hypervolume": problem.max_hypervolume,
        "options": dict(problem.options),
        "outputs": None if task is None else list(task.outputs),
        "parameters": None if task is None else _parameters(task),
        "needs": reason,
    }


def _show(problem: Problem) -> None:
    task, reason = _build(problem)
    say(f"{problem.name}: {problem.summary}")
    say(f"Objective (maximised): {problem.objective}")
    if problem.outcome_constraints:
        say(f"Outcome constraints: {', '.join(problem.outcome_constraints)}")
    if problem.reference_point is not None:
        corner = ", ".join(f"{each:g}" for each in problem.reference_point)
        say(f"Largest known hypervolume: {problem.max_hypervolume:g} below the point ({corner})")
    if problem.reference is not None:
        say(f"Best known value of the first output: {problem.reference:g}")
    if problem.options:
        print_table(grid(None, ["option", "meaning"], list(problem.options.items())))
    if task is None:
        say(f"Its parameters depend on the options. {reason}")
        return
    say(f"Outputs: {', '.join(task.outputs)}")
    rows = [(each["name"], _box(each)) for each in _parameters(task)]
    print_table(grid(None, ["parameter", "values"], rows))


def _box(parameter: dict[str, Any]) -> str:
    if parameter["fixed"] is not None:
        return f"fixed at {parameter['fixed']}"
    if parameter["choices"] is not None:
        return "one of " + ", ".join(map(str, parameter["choices"]))
    marks = [
        text
        for key, text in (("integer", "whole numbers"), ("log_scale", "logarithmic"))
        if parameter[key]
    ]
    return ", ".join([f"{parameter['lower']:g} to {parameter['upper']:g}", *marks])
