"""Tasks from functions of one arm: results, bits, what is stored of them, and bad functions."""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners import problems
from ax_jax_runners.errors import ConfigurationError, EvaluationError, ParameterError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.learning_curves import exact_loss
from ax_jax_runners.tasks import StepwiseTask, Task, task_identity
from ax_jax_runners.tasks.freezing import freeze, join, static_shape, take, thaw
from ax_jax_runners.tasks.keys import arm_keys

SPACE = ParameterSpace(
    [Parameter("rate", lower=0.01, upper=0.5), Parameter("length", lower=2, upper=9, integer=True)]
)


def begin(parameters, key):
    return {
        "x": jnp.ones(3) * parameters["rate"],
        "low": jnp.bfloat16(1.0),
        "length": parameters["length"],
        "t": 0,
        "key": key,
    }


def advance(state):
    noise = jax.random.normal(jax.random.fold_in(state["key"], state["t"]), (3,))
    x = jnp.sin(state["x"] + 0.1 * noise) * jnp.exp(-state["x"])
    return {**state, "x": x, "low": state["low"] * jnp.bfloat16(0.5), "t": state["t"] + 1}


def report(state):
    return {
        "step": state["t"],
        "done": state["t"] >= state["length"],
        "outputs": {"mean": (state["x"].mean(), state["x"].std()), "low": state["low"]},
        "arrays": {"x": state["x"]},
    }


def task_of(**changes):
    given = {"outputs": ("mean", "low"), "begin": begin, "advance": advance, "report": report}
    return StepwiseTask(SPACE, **{**given, **changes})


TASK = task_of()
ARMS = [{"rate": 0.02 * (i + 1), "length": 2 + i % 8} for i in range(20)]
KEYS = arm_keys(3, [(i, 0) for i in range(20)])


def rows(state, row):
    """The bytes of one arm's part of every leaf."""
    return {name: leaf[row].tobytes() for name, leaf in freeze(state).items()}


def finished(task, arms, keys):
    state = task.begin(arms, keys)
    for _ in range(10):
        state = task.advance(state)
    return state


def test_arms_go_their_own_number_of_slices_and_then_stay():
    state = TASK.begin(ARMS, KEYS)
    assert [(p.step, p.done) for p in TASK.progress(state)] == [(0, False)] * 20
    for slices in range(1, 11):
        state = TASK.advance(state)
        for arm, found in zip(ARMS, TASK.progress(state), strict=True):
            assert found.step == min(slices, arm["length"])
            assert found.done == (slices >= arm["length"])
    assert isinstance(TASK, Task)


def test_results_are_those_of_the_functions_called_one_arm_at_a_time():
    found = TASK.progress(finished(TASK, ARMS, KEYS))
    with jax.enable_x64(True):
        for arm, key, progress in zip(ARMS, KEYS, found, strict=True):
            state = begin({name: jnp.asarray(value) for name, value in arm.items()}, key)
            for _ in range(arm["length"]):
                state = advance(state)
            mean, sem = progress.outputs["mean"]
            assert mean == pytest.approx(float(state["x"].mean()), rel=1e-12)
            assert sem == pytest.approx(float(state["x"].std()), rel=1e-12)
            assert progress.outputs["low"] == (0.5 ** arm["length"], None)
            np.testing.assert_allclose(progress.arrays["x"], state["x"], rtol=1e-12)


def test_an_arm_has_the_same_bits_in_any_company_place_and_batch_size():
    together = finished(TASK, ARMS, KEYS)
    for chosen in ([5], [19, 5], [*range(19, -1, -1)], [5] * 9):
        other = finished(TASK, [ARMS[i] for i in chosen], KEYS[np.array(chosen)])
        for row, i in enumerate(chosen):
            assert rows(other, row) == rows(together, i)


def test_arms_frozen_and_joined_with_strangers_end_with_the_same_bits():
    whole = finished(TASK, ARMS, KEYS)
    early = TASK.advance(TASK.begin(ARMS[:6], KEYS[:6]))
    part = take(early, [4, 1], arms=6)
    thawed = thaw(freeze(part), TASK.begin([ARMS[4], ARMS[1]], KEYS[np.array([4, 1])]))
    late = TASK.advance(TASK.advance(TASK.begin(ARMS[6:9], KEYS[6:9])))
    assert static_shape(thawed) == static_shape(late)
    state = join([late, thawed])
    for _ in range(10):
        state = TASK.advance(state)
    for row, i in enumerate([6, 7, 8, 4, 1]):
        assert rows(state, row) == rows(whole, i)


def test_keys_and_narrow_floats_are_kept_in_the_state():
    state = TASK.advance(TASK.begin(ARMS[:2], KEYS[:2]))
    assert jnp.issubdtype(state.arms["key"].dtype, jax.dtypes.prng_key)
    assert state.arms["low"].dtype == jnp.bfloat16
    assert state.arms["x"].dtype == np.float64
    narrow = task_of(dtype="float32")
    assert narrow.advance(narrow.begin(ARMS[:2], KEYS[:2])).arms["x"].dtype == np.float32


def test_what_is_not_finite_is_reported_as_it_is():
    def starts_late(state):
        mean = jnp.where(state["t"] < 2, jnp.nan, 1.0)
        return {"step": state["t"], "done": False, "outputs": {"mean": mean}}

    task = task_of(outputs=["mean"], report=starts_late)
    state = task.advance(task.begin(ARMS[:1], KEYS[:1]))
    assert np.isnan(task.progress(state)[0].outputs["mean"][0])
    assert task.progress(task.advance(state))[0].outputs["mean"] == (1.0, None)


@dataclass(frozen=True)
class Scaled:
    factor: float

    def begin(self, parameters, key):
        return {"x": parameters["rate"] * self.factor, "t": 0}

    def advance(self, state):
        return {"x": state["x"] * self.factor, "t": state["t"] + 1}

    def report(self, state):
        return {"step": state["t"], "done": state["t"] >= 3, "outputs": {"x": state["x"]}}

    def task(self):
        return task_of(outputs=["x"], begin=self.begin, advance=self.advance, report=self.report)


def test_tasks_are_equal_by_value_and_travel_by_pickle():
    assert Scaled(2.0).task() == Scaled(2.0).task()
    assert hash(Scaled(2.0).task()) == hash(Scaled(2.0).task())
    assert Scaled(2.0).task() != Scaled(3.0).task()
    assert task_of(chunk=4) != task_of() == TASK
    assert task_of(advance=functools.partial(advance)) == task_of(
        advance=functools.partial(advance)
    )
    used = Scaled(2.0).task()
    used.advance(used.begin(ARMS[:1], KEYS[:1]))
    copied = pickle.loads(pickle.dumps(used))  # noqa: S301
    assert copied == used
    assert rows(finished(copied, ARMS[:1], KEYS[:1]), 0) == rows(
        finished(used, ARMS[:1], KEYS[:1]), 0
    )


def test_the_identity_follows_what_is_computed():
    identity = task_identity(Scaled(2.0).task())
    assert identity == task_identity(Scaled(2.0).task())
    assert identity.reference == f"{__name__}:Scaled.advance"
    assert identity.portable
    assert identity.digest != task_identity(Scaled(3.0).task()).digest
    digests = {task_identity(task_of(**changes)).digest for changes in ({}, {"chunk": 4})}
    digests.add(task_identity(task_of(dtype="float32")).digest)
    assert len(digests) == 3
    broken = task_of(advance=lambda state: state["no such key"])
    assert task_identity(broken).digest not in digests


def test_the_digest_sees_a_change_of_each_function():
    def slower(state):
        return {**advance(state), "t": state["t"] + 1, "x": state["x"]}

    def larger(parameters, key):
        return {**begin(parameters, key), "low": jnp.bfloat16(2.0)}

    def longer(state):
        return {**report(state), "done": state["t"] > state["length"]}

    changes = ({}, {"advance": slower}, {"begin": larger}, {"report": longer})
    assert len({task_identity(task_of(**change)).digest for change in changes}) == 4


BAD_FUNCTIONS = {
    "begin raises": ({"begin": lambda p, k: p["width"]}, ["begin", "KeyError", "width"]),
    "begin gives a text": ({"begin": lambda p, k: {"x": "one"}}, ["'one'", "['x']"]),
    "advance raises": ({"advance": lambda s: 1 / 0}, ["advance", "ZeroDivisionError"]),
    "advance branches": (
        {"advance": lambda s: s if s["t"] > 1 else {**s}},
        ["advance", "TracerBoolConversionError", "jax.numpy"],
    ),
    "advance drops a leaf": ({"advance": lambda s: {"t": s["t"]}}, ["structure", "begin gave"]),
    "advance changes a shape": (
        {"advance": lambda s: {**s, "x": s["x"][:2]}},
        ["['x']", "(2,)", "(3,)", "same shape"],
    ),
    "advance changes a dtype": (
        {"advance": lambda s: {**s, "x": s["x"].astype("float32")}},
        ["['x']", "float32", "float64"],
    ),
    "report gives a number": ({"report": lambda s: s["t"]}, ["report", "'outputs'"]),
    "report lacks an output": (
        {"report": lambda s: {**report(s), "outputs": {"mean": 1.0}}},
        ["'mean'", "'low'"],
    ),
    "report has a key too many": (
        {"report": lambda s: {**report(s), "extra": 1.0}},
        ["'extra'", "'arrays'"],
    ),
    "report gives a vector": (
        {"report": lambda s: {**report(s), "outputs": {"mean": s["x"], "low": 1.0}}},
        ["output 'mean'", "(3,)", "one real number"],
    ),
    "report gives a fraction for the step": (
        {"report": lambda s: {**report(s), "step": 0.5}},
        ["step", "whole number"],
    ),
    "report gives a number for done": (
        {"report": lambda s: {**report(s), "done": s["t"]}},
        ["done", "one boolean"],
    ),
    "report gives a complex output": (
        {"report": lambda s: {**report(s), "outputs": {"mean": 1j, "low": 1.0}}},
        ["output 'mean'", "one real number"],
    ),
}


@pytest.mark.parametrize(("changes", "words"), BAD_FUNCTIONS.values(), ids=BAD_FUNCTIONS)
def test_a_function_that_cannot_be_used_is_named_when_arms_begin(changes, words):
    with pytest.raises(EvaluationError) as caught:
        task_of(**changes).begin(ARMS[:1], KEYS[:1])
    for word in words:
        assert word in str(caught.value)


BAD_ARGUMENTS = {
    "no outputs": ({"outputs": []}, "outputs"),
    "a text for the outputs": ({"outputs": "mean"}, "list of names"),
    "an output twice": ({"outputs": ["a", "a"]}, "twice"),
    "no function": ({"advance": 3}, "advance is a int"),
    "no chunk": ({"chunk": 0}, "chunk is 0"),
    "half precision": ({"dtype": "float16"}, "'float64' or 'float32'"),
}


@pytest.mark.parametrize(("changes", "words"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_an_argument_that_cannot_be_used_is_refused_at_once(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        task_of(**changes)


def test_a_space_is_needed_and_needs_a_free_parameter():
    functions = {"outputs": ["x"], "begin": begin, "advance": advance, "report": report}
    with pytest.raises(ConfigurationError, match="ParameterSpace"):
        StepwiseTask({"x": 1}, **functions)
    with pytest.raises(ParameterError, match="free"):
        StepwiseTask(ParameterSpace([Parameter("x", fixed=1.0)]), **functions)


def test_a_failing_callback_says_which_task_it_was():
    def explode(t):
        raise OSError("the detector is off")

    def advanced(state):
        shape = jax.ShapeDtypeStruct((), state["t"].dtype)
        return {
            **state,
            "t": jax.pure_callback(explode, shape, state["t"], vmap_method="sequential"),
        }

    task = task_of(advance=advanced)
    state = task.begin(ARMS[:1], KEYS[:1])
    with pytest.raises(EvaluationError, match="the detector is off"):
        task.advance(state)


def test_a_learning_curve_is_its_formula_with_noise_of_its_own():
    task = problems.build("learning-curve", steps=100, steps_per_slice=7)
    arms = [{"asymptote": 0.25, "offset": 1.5, "time_constant": 20.0} for _ in range(200)]
    state = task.begin(arms, arm_keys(0, [(i, 0) for i in range(200)]))
    steps = []
    while not task.progress(state)[0].done:
        state = task.advance(state)
        found = task.progress(state)
        losses = np.array([progress.outputs["loss"][0] for progress in found])
        steps.append(found[0].step)
        exact = 0.25 + 1.5 * np.exp(-steps[-1] / 20.0)
        assert losses.mean() == pytest.approx(exact, abs=4 * 0.02 / np.sqrt(200))
        assert losses.std() == pytest.approx(0.02, rel=0.25)
        assert found[0].outputs["loss"][1] == 0.02
    assert steps == [*range(7, 100, 7), 100]
    assert float(exact_loss(arms[0], 100)) == pytest.approx(0.25 + 1.5 * np.exp(-5.0))


def test_the_noise_of_a_step_does_not_depend_on_the_slices():
    arms, keys = [{"asymptote": 0.0, "offset": 1.0, "time_constant": 9.0}], KEYS[:1]
    last = []
    for slice_ in (5, 20):
        task = problems.build("learning-curve", steps=40, steps_per_slice=slice_)
        last.append(task.progress(finished(task, arms, keys))[0].outputs["loss"])
    assert last[0] == pytest.approx(last[1], rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"steps": 0}, {"steps_per_slice": 2.5}, {"noise_sd": -1}])
def test_options_of_the_learning_curve_are_checked(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        problems.build("learning-curve", **options)
