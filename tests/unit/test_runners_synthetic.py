"""What SyntheticJaxRunner adds to its base: names, metadata, noise and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.runners.synthetic import SyntheticRunner

import ax_jax_runners
from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.problems.synthetic import PROBLEMS
from ax_jax_runners.runners import JaxRunner, SyntheticJaxRunner


def trials(name: str | None = "bench", problem: str = "branin", count: int = 3) -> list[Any]:
    space = problems.build(problem).space
    experiment = Experiment(name=name, search_space=space.to_ax())
    return [
        experiment.new_trial().add_arm(Arm(space.unpack(space.lower + 0.1 * i)))
        for i in range(1, count + 1)
    ]


def recorded(metadata: dict[int, dict[str, Any]]) -> list[Any]:
    return [arm for record in metadata.values() for arm in record["ax_jax"]["arms"].values()]


@pytest.mark.parametrize("name", ["bench", None])
@pytest.mark.parametrize("given", [None, "labelled", {"bench": [1, 2.5, None]}])
def test_the_metadata_of_axs_synthetic_runner_are_kept(name: str | None, given: Any) -> None:
    runner = SyntheticJaxRunner(dummy_metadata=given)
    several = trials(name)
    metadata = runner.run_multiple(several)
    for trial in several:
        record = dict(metadata[trial.index])
        assert runner.run(trial) == record
        assert len(record.pop("ax_jax")["arms"]) == 1
        assert record == SyntheticRunner(given).run(trial)
    assert metadata[1]["name"] == ("bench_1" if name else "1")
    assert runner.run_metadata_report_keys == SyntheticRunner().run_metadata_report_keys


def test_trials_do_not_share_the_metadata_that_was_given() -> None:
    given = {"tags": ["a"]}
    runner = SyntheticJaxRunner(dummy_metadata=given)
    metadata = runner.run_multiple(trials())
    metadata[0]["dummy_metadata"]["tags"].append("b")
    given["tags"].append("c")
    assert metadata[1]["dummy_metadata"] == runner.dummy_metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("branin", "gardner", "zdt1")))
        for name in PROBLEMS
    ],
)
def test_every_test_function_runs_as_it_does_under_a_jax_runner(problem: str) -> None:
    several = trials(problem=problem)
    found = recorded(SyntheticJaxRunner(problem, noise_sd=0.5, seed=3).run_multiple(several))
    task = problems.build(problem, noise_sd=0.5)
    assert found == recorded(JaxRunner(task, seed=3).run_multiple(several))
    assert all(arm["status"] == "completed" for arm in found)


def test_the_noise_is_reported_as_standard_error() -> None:
    exact = recorded(SyntheticJaxRunner().run_multiple(trials()))
    law = {"base": 0.1, "slope": 0.5}
    noisy = recorded(SyntheticJaxRunner(noise_sd=law).run_multiple(trials()))
    for before, after in zip(exact, noisy, strict=True):
        value, sem = before["outputs"]["value"]
        assert sem == 0
        assert after["outputs"]["value"][1] == pytest.approx(0.1 + 0.5 * abs(value), rel=1e-12)
        assert after["outputs"]["value"][0] != value
        assert after["outputs"]["simple_regret"] == before["outputs"]["simple_regret"]


def test_it_is_a_public_name_and_shows_its_arguments() -> None:
    assert ax_jax_runners.SyntheticJaxRunner is SyntheticJaxRunner
    text = repr(SyntheticJaxRunner("hartmann6", noise_sd=0.1, seed=4))
    assert text == (
        "SyntheticJaxRunner(problem='hartmann6', noise_sd=0.1, dummy_metadata=None, seed=4)"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"problem": "brannin"}, "'brannin'; did you mean 'branin'"),
        ({"problem": "ring-slot"}, "'ring-slot' has no known optimum"),
        ({"problem": 3}, "problem is a int"),
        ({"noise_sd": -1}, "noise_sd is -1"),
        ({"noise_sd": {"spread": 1}}, "'base': b, 'slope': s"),
        ({"dummy_metadata": {1, 2}}, "JSON cannot hold"),
        ({"dummy_metadata": math.nan}, "JSON cannot hold"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        SyntheticJaxRunner(**arguments)
