"""Gradient training as a task: what it finds, what it never chooses, and its interruptions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Log2, Parameter, ParameterSpace
from ax_jax_runners.strategies import GradientTraining
from ax_jax_runners.tasks import StepwiseTask
from ax_jax_runners.tasks.freezing import freeze, thaw
from ax_jax_runners.tasks.keys import arm_keys

NAMES = ("train_sharpe", "validation_sharpe", "test_sharpe")
SPACE = ParameterSpace([Parameter("x", lower=0.01, upper=100.0, bijector=Log2())])


@dataclasses.dataclass(frozen=True)
class Hill:
    """Train is highest, 1, at x = 2; validation falls with x and is 0 at ``border``."""

    border: float = 100.0
    broken_above: float = math.inf

    def __call__(self, values: Mapping[str, Any]) -> dict[str, jax.Array]:
        x = values["x"]
        train = 1.0 - jnp.square(jnp.log2(x) - 1.0)
        train = jnp.where(x > self.broken_above, jnp.nan, train)
        return {
            "train_sharpe": train,
            "validation_sharpe": self.border - x,
            "test_sharpe": jnp.asarray(-7.0),
        }


def task_of(hill: Hill, **options: Any) -> StepwiseTask:
    given = {"sets": 3, "steps": 60, "steps_per_slice": 20, "patience": None, **options}
    training = GradientTraining(hill, SPACE, NAMES, **given)
    return StepwiseTask(
        training.space,
        outputs=training.outputs,
        begin=training.begin,
        advance=training.advance,
        report=training.report,
        chunk=2,
    )


def finished(task: StepwiseTask, *arms: Mapping[str, float]) -> list[Any]:
    state = task.begin(arms, arm_keys(0, [(i, 0) for i in range(len(arms))]))
    for _ in range(50):
        state = task.advance(state)
        reports = task.progress(state)
        if all(report.done for report in reports):
            return reports
    raise AssertionError("a training without an end")


def means(report: Any) -> dict[str, float]:
    return {name: mean for name, (mean, _) in report.outputs.items()}


def test_the_gradient_leads_to_the_top():
    (report,) = finished(task_of(Hill()), {"x": 0.2, "learning_rate": 0.2})
    found = means(report)
    assert found["train_sharpe"] == pytest.approx(1.0, abs=1e-3)
    assert found["best_x"] == pytest.approx(2.0, rel=0.03)
    assert found["evaluations"] == 3 * 60
    assert report.step == 60
    assert report.arrays["curve"].shape == (3, 3, 2)
    assert np.isfinite(report.arrays["curve"]).all()


def test_the_checkpoint_chosen_keeps_the_constraint():
    task = task_of(Hill(border=1.5), jitter=0.0, sets=1)
    (report,) = finished(task, {"x": 0.2, "learning_rate": 0.1})
    found = means(report)
    # The gradient went on to the top at 2, which validation does not like.
    assert report.arrays["theta"][0, 0] > 1.8
    assert 1.3 < found["best_x"] <= 1.5
    assert found["validation_sharpe"] == pytest.approx(1.5 - found["best_x"])


def test_where_nothing_keeps_the_constraint_the_nearest_is_told():
    task = task_of(Hill(border=-1.0), jitter=0.0, sets=1)
    (report,) = finished(task, {"x": 0.2, "learning_rate": 0.1})
    assert means(report)["best_x"] == pytest.approx(0.2)
    assert means(report)["validation_sharpe"] == pytest.approx(-1.2)


def test_what_is_no_number_never_wins_and_moves_nothing():
    task = task_of(Hill(broken_above=1.0), jitter=0.0, sets=1)
    (report,) = finished(task, {"x": 0.2, "learning_rate": 0.1})
    found = means(report)
    assert all(np.isfinite(value) for value in found.values())
    assert 0.8 < found["best_x"] <= 1.0
    assert np.isfinite(report.arrays["theta"]).all()


def test_an_arm_that_was_never_a_number_reports_none():
    (report,) = finished(task_of(Hill(broken_above=0.0)), {"x": 0.2, "learning_rate": 0.1})
    assert math.isnan(means(report)["train_sharpe"])


def test_a_validation_that_does_not_improve_ends_an_arm():
    task = task_of(Hill(), patience=2, steps=100, steps_per_slice=10, jitter=0.0, sets=1)
    # From 0.2 the validation falls on the way up; from 8 it rises for long.
    early, late = finished(
        task, {"x": 0.2, "learning_rate": 0.05}, {"x": 8.0, "learning_rate": 0.01}
    )
    assert early.step == 30
    assert late.step == 100
    assert np.isnan(early.arrays["curve"][3:]).all()


def test_a_last_slice_may_be_shorter():
    (report,) = finished(task_of(Hill(), steps=25), {"x": 0.2, "learning_rate": 0.1})
    assert report.step == 25
    assert means(report)["evaluations"] == 75


def test_an_arm_is_the_same_alone_in_company_and_after_an_interruption():
    task = task_of(Hill(border=1.5))
    arms = [{"x": 0.3, "learning_rate": 0.1}, {"x": 9.0, "learning_rate": 0.3}]
    keys = arm_keys(5, [(0, 0), (1, 0)])
    state = task.begin(arms, keys)
    kept = freeze(task.advance(state))
    state = task.advance(task.advance(task.advance(state)))
    state_again = thaw(kept, task.begin(arms, keys))
    state_again = task.advance(task.advance(state_again))
    alone = task.begin(arms[1:], keys[1:])
    alone = task.advance(task.advance(task.advance(alone)))
    assert task.progress(state)[1].outputs == task.progress(alone)[0].outputs
    for one, other in zip(task.progress(state), task.progress(state_again), strict=True):
        assert one.outputs == other.outputs
        np.testing.assert_array_equal(one.arrays["curve"], other.arrays["curve"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sets": 0}, "sets is 0"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"patience": 0}, "patience is 0"),
        ({"jitter": -1.0}, "jitter is -1.0"),
        ({"objective": "train_sharp"}, "'train_sharp' is not among the measures"),
    ],
)
def test_trainings_that_cannot_be_made(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        GradientTraining(Hill(), SPACE, NAMES, **options)


@pytest.mark.slow
def test_a_pool_is_trained_and_its_best_checkpoint_is_that_pool():
    options = {"days": 200, "maximum_change": 0.1}
    task = problems.build(
        "momentum-pool-training", steps=12, steps_per_slice=4, sets=3, together=1, **options
    )
    (report,) = finished(task, {"memory_days": 60.0, "k_per_day": 0.02, "learning_rate": 0.3})
    found = means(report)
    pool = problems.build("momentum-pool", **options)
    best = {name: found[f"best_{name}"] for name in pool.space.names}
    arms = [best, {"memory_days": 60.0, "k_per_day": 0.02}]
    again, begun = pool.progress(pool.advance(pool.begin(arms, arm_keys(0, [(0, 0), (1, 0)]))))
    for name in pool.outputs:
        assert found[name] == pytest.approx(again.outputs[name][0], rel=1e-9, abs=1e-12)
    # The first set begins at the arm itself.
    assert found["train_sharpe"] > begun.outputs["train_sharpe"][0]
    assert report.arrays["curve"].shape == (3, 3, 2)
