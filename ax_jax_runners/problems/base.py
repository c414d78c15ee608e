"""Built-in problems by name, and how a task remembers which of them it is.

A problem's module is imported when the problem is asked for, so that the names alone cost nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from ax_jax_runners.tasks import Task

_SYNTHETIC = (
    "branin",
    "hartmann3",
    "hartmann6",
    "ackley",
    "levy",
    "rosenbrock",
    "rastrigin",
    "griewank",
    "michalewicz",
    "styblinski-tang",
    "gardner",
    "pressure-vessel",
    "branin-currin",
    "dtlz2",
    "zdt1",
    "vehicle-safety",
)
_MODULES = {
    "ring-slot": "ring_slot",
    "touchstone": "networks",
    "learning-curve": "learning_curves",
    "neuron-find": "exploring",
    "neuron-explore": "exploring",
    "two-moons-npe": "posteriors",
    "momentum-pool": "momentum_pool",
    "momentum-pool-training": "momentum_pool",
    **dict.fromkeys(_SYNTHETIC, "synthetic"),
}
_ORIGIN = "_problem_origin"

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A named task that a campaign can ask for.

    Attributes:
        name: What a campaign file calls it.
        summary: One line on what it is.
        build: Makes the task from the keyword options.
        objective: The Ax objective expression to use where the user gives none.
        options: What each option of ``build`` means.
        reference: The best value of the first output that is known for the default options.
        outcome_constraints: What a campaign should ask of the outputs besides.
        reference_point: Of the hypervolume of several objectives, one number for each of those of
            ``objective``, all minimised; for the default options.
        max_hypervolume: The largest hypervolume that is known for the default options.
    """

    name: str
    summary: str
    build: Callable[..., Task]
    objective: str
    options: Mapping[str, str] = field(default_factory=dict)
    reference: float | None = None
    outcome_constraints: tuple[str, ...] = ()
    reference_point: tuple[float, ...] | None = None
    max_hypervolume: float | None = None


def names() -> tuple[str, ...]:
    """Names of the built-in problems."""
    return tuple(_MODULES)


def get(name: str) -> Problem:
    """The built-in problem of that name.

    Raises:
        ConfigurationError: There is none; the message names the ones most like it.
    """
    if name not in _MODULES:
        close = get_close_matches(str(name), _MODULES, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(map(repr, close))}?" if close else "choose one of "
        raise ConfigurationError(
            f"There is no built-in problem {name!r}; {advice}"
            f"{'' if close else ', '.join(map(repr, _MODULES)) + '.'}"
        )
    module = import_module(f"{__package__}.{_MODULES[name]}")
    return module.PROBLEMS[name] if hasattr(module, "PROBLEMS") else module.PROBLEM


def build(name: str, *, parameters: Overrides | None = None, **options: Any) -> Task:
    """Make a built-in problem's task.

    Args:
        name: Name of the problem.
        parameters: Changes to its parameters: {name: {"lower", "upper", "fixed", "log_scale"}}.
        options: Options of the problem; ``get(name).options`` says what they mean.

    Raises:
        ConfigurationError: An unknown problem or option, or an option that cannot be used.
        ParameterError: A change that leaves no usable parameter.
        DataFileError: A measured file that is missing or cannot be read.
    """
    problem = get(name)
    for option in options:
        if option not in problem.options:
            known = ", ".join(map(repr, problem.options)) or "none"
            close = get_close_matches(option, problem.options, n=1)
            advice = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(
                f"Problem {name!r} has no option {option!r}; its options are {known}.{advice}"
            )
    task = copy.copy(problem.build(**options))
    object.__setattr__(task, _ORIGIN, (name, dict(options)))
    return with_parameters(task, parameters) if parameters else task


def origin(task: Any) -> tuple[str, dict[str, Any]] | None:
    """The problem's name and the keyword arguments with which ``build`` makes this task again.

    None for a task that did not come from ``build``, or was changed by other means since.
    """
    found = getattr(task, _ORIGIN, None)
    return None if found is None else (found[0], dict(found[1]))


def with_parameters(task: Any, overrides: Overrides) -> Any:
    """The same task over changed parameters; where it came from is remembered with the changes.

    Args:
        task: A `FeatureTask`, or one with a method ``over`` that takes the changed space, as
            `RandomWalkTask` and `PosteriorTask` have.
        overrides: {name: {"lower", "upper", "fixed", "log_scale"}}, as `ParameterSpace.replace`.

    Raises:
        ConfigurationError: Another kind of task.
        ParameterError: A change that leaves no usable parameter.
    """
    from ax_jax_runners.tasks import FeatureTask

    if not isinstance(task, FeatureTask) and not callable(getattr(task, "over", None)):
        raise ConfigurationError(
            f"The parameters of a {type(task).__name__} cannot be overridden; "
            "change the space where the task is made."
        )
    space = task.space.replace(overrides)
    if not isinstance(task, FeatureTask):
        changed = task.over(space)
    else:
        changed = type(task)(
            replace(task.evaluator, space=space),
            outputs=task.output_functions,
            replicates=task.replicates,
        )
    known = origin(task)
    if known is not None:
        name, options = known
        merged = {key: dict(value) for key, value in options.get("parameters", {}).items()}
        for key, value in overrides.items():
            merged[key] = {**merged.get(key, {}), **value}
        object.__setattr__(changed, _ORIGIN, (name, {**options, "parameters": merged}))
    return changed
