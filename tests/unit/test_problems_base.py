"""The register of built-in problems, and how a task remembers where it came from."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.tasks import FeatureTask, task_identity


def own_task() -> FeatureTask:
    space = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])
    return FeatureTask(
        FeatureEvaluator(lambda values: values["x"], space), outputs={"y": lambda x: x}
    )


@pytest.mark.parametrize("name", problems.names())
def test_every_problem_is_described(name: str) -> None:
    problem = problems.get(name)
    assert problem.name == name
    assert problem.summary
    assert "\n" not in problem.summary
    assert all(problem.options.values())


def test_an_unknown_problem_is_refused_with_the_ones_most_like_it() -> None:
    with pytest.raises(ConfigurationError, match="'ringslot'; did you mean 'ring-slot'"):
        problems.get("ringslot")
    with pytest.raises(ConfigurationError, match="choose one of 'ring-slot', 'touchstone'"):
        problems.build("qqq")


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'variant', 'data'.*mean 'variant'"):
        problems.build("ring-slot", varient="six")


def test_a_built_task_is_made_again_from_its_origin() -> None:
    task = problems.build("ring-slot", variant="six", parameters={"f0": {"lower": 84.0}})
    found = problems.origin(task)
    assert found is not None
    name, options = found
    assert name == "ring-slot"
    again = problems.build(name, **options)
    assert again == task
    assert task_identity(again).digest == task_identity(task).digest


def test_the_origin_survives_a_copy_but_is_not_shared() -> None:
    task = problems.build("ring-slot")
    assert problems.origin(copy.deepcopy(task)) == ("ring-slot", {})
    found = problems.origin(task)
    assert found is not None
    found[1]["variant"] = "changed by the caller"
    assert problems.origin(task) == ("ring-slot", {})


def test_overrides_add_up_and_are_remembered() -> None:
    task = problems.build("ring-slot", parameters={"f0": {"lower": 84.0}, "g": {"fixed": 0.0}})
    task = problems.with_parameters(task, {"f0": {"upper": 90.0}})
    assert task.space.names == ("f0", "b", "l1")
    assert (task.space.lower[0], task.space.upper[0]) == (84.0, 90.0)
    assert problems.origin(task) == (
        "ring-slot",
        {"parameters": {"f0": {"lower": 84.0, "upper": 90.0}, "g": {"fixed": 0.0}}},
    )


def test_an_override_of_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ParameterError, match="unknown parameter 'f1'"):
        problems.build("ring-slot", parameters={"f1": {"lower": 84.0}})


def test_a_users_own_task_has_no_origin_and_can_be_overridden() -> None:
    task = problems.with_parameters(own_task(), {"x": {"upper": 0.5}})
    assert problems.origin(task) is None
    assert problems.measured(task) == ()
    assert task.space.upper[0] == 0.5


def test_parameters_of_another_kind_of_task_cannot_be_overridden() -> None:
    with pytest.raises(ConfigurationError, match="of a object cannot be overridden"):
        problems.with_parameters(object(), {"x": {"upper": 0.5}})


def test_the_names_cost_no_import_of_jax() -> None:
    code = (
        "import sys; from ax_jax_runners import problems; problems.names(); "
        "sys.exit(any(name in sys.modules for name in ('jax', 'torch', 'ax', 'skrf')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
