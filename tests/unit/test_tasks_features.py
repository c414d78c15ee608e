from __future__ import annotations

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import (
    ConfigurationError,
    EvaluationError,
    FeaturesNotConfigured,
    ParameterError,
)
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.tasks import FeatureTask, Task
from ax_jax_runners.tasks.keys import arm_keys, replicate_keys

SPACE = ParameterSpace([Parameter("a", lower=-2.0, upper=2.0), Parameter("b", lower=-1, upper=1)])
GRID = np.linspace(0.0, 1.0, 5)


def curve(p):
    return {"y": p["a"] * GRID, "deep": {"root": jnp.sqrt(p["b"])}}


def noisy(p, key):
    return p["a"] + p["b"] * jax.random.normal(key)


def largest(features):
    return features["y"].max()


def root(features):
    return features["deep"]["root"]


def whole(features):
    return features


CURVE = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"top": largest, "root": root})


def run(task, *arms):
    keys = arm_keys(0, [(i, 0) for i in range(len(arms))])
    return task.progress(task.advance(task.begin(arms, keys)))


def test_outputs_and_arrays_of_every_arm():
    first, second = run(CURVE, {"a": 1.5, "b": 0.25}, {"a": -1.0, "b": 1.0})
    assert (first.outputs, second.outputs) == (
        {"top": (1.5, 0.0), "root": (0.5, 0.0)},
        {"top": (0.0, 0.0), "root": (1.0, 0.0)},
    )
    assert (first.step, first.done, first.failure) == (1, True, None)
    np.testing.assert_array_equal(second.arrays["y"], -GRID)
    assert set(first.arrays) == {"y", "deep.root"}


def test_the_task_follows_the_protocol_and_waits_for_its_slice():
    assert isinstance(CURVE, Task)
    state = CURVE.begin([{"a": 0.0, "b": 0.0}] * 3, arm_keys(0, [(0, i) for i in range(3)]))
    assert [p.done for p in CURVE.progress(state)] == [False] * 3
    done = CURVE.advance(state)
    assert {len(leaf) for leaf in jax.tree.leaves(done)} == {3}
    assert CURVE.advance(done) is done


def test_equal_parts_make_equal_tasks():
    twin = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"top": largest, "root": root})
    assert twin == CURVE
    assert hash(twin) == hash(CURVE)
    assert twin != FeatureTask(twin.evaluator, outputs={"top": largest})
    run(twin, {"a": 1.0, "b": 1.0})
    assert pickle.loads(pickle.dumps(twin)) == copy.deepcopy(twin) == CURVE  # noqa: S301
    assert CURVE.outputs == ("top", "root")
    assert CURVE.output_functions == {"top": largest, "root": root}


def test_only_the_kept_features_are_seen_and_returned():
    task = FeatureTask(FeatureEvaluator(curve, SPACE, features=("y",)), outputs={"top": largest})
    (report,) = run(task, {"a": 1.0, "b": -1.0})
    assert report.outputs == {"top": (1.0, 0.0)}
    assert set(report.arrays) == {"y"}
    task = FeatureTask(FeatureEvaluator(curve, SPACE, features=("no",)), outputs={"top": largest})
    with pytest.raises(FeaturesNotConfigured, match="'no'"):
        run(task, {"a": 1.0, "b": 1.0})


@pytest.mark.fault(4)
def test_an_arm_that_is_not_finite_says_where():
    good, bad = run(CURVE, {"a": 1.0, "b": 0.5}, {"a": 1.0, "b": -0.5})
    assert good.failure is None
    assert bad.failure == "Feature 'deep.root' is nan; Output 'root' is nan."
    assert (bad.outputs, bad.done) == ({}, True)


def test_a_parameter_beyond_single_precision_is_named():
    task = FeatureTask(
        FeatureEvaluator(lambda p: p["a"], SPACE, dtype="float32"), outputs={"x": whole}
    )
    good, bad = run(task, {"a": 1.0, "b": 0.5}, {"a": 1e300, "b": 0.5})
    assert good.outputs == {"x": (1.0, 0.0)}
    assert bad.failure is not None
    assert bad.failure.startswith("Parameter 'a' is 1e+300, which is not finite in float32")


@pytest.mark.fault(4)
def test_entries_that_are_not_finite_are_counted():
    task = FeatureTask(
        FeatureEvaluator(lambda p: {"y": p["a"] / (GRID - 0.5)}, SPACE),
        outputs={"zero": lambda f: 0.0 * f["y"][0]},
    )
    (report,) = run(task, {"a": 1.0, "b": 0.0})
    assert report.failure == "Feature 'y' has 1 of 5 entries not finite (first inf)."


def test_replicates_give_the_mean_and_its_standard_error():
    task = FeatureTask(
        FeatureEvaluator(noisy, SPACE, stochastic=True), outputs={"x": whole}, replicates=7
    )
    keys = arm_keys(3, [(5, 0), (6, 2)])
    arms = [{"a": 1.0, "b": 0.5}, {"a": -1.0, "b": 0.25}]
    reports = task.progress(task.advance(task.begin(arms, keys)))
    for arm, key, report in zip(arms, keys, reports, strict=True):
        with jax.enable_x64(True):
            each = jnp.arange(7, dtype=jnp.uint32)
            draws = jax.vmap(lambda r, key=key: jax.random.normal(jax.random.fold_in(key, r)))(each)
        values = arm["a"] + arm["b"] * np.asarray(draws)
        mean, sem = report.outputs["x"]
        np.testing.assert_allclose(report.arrays["features"], values, rtol=1e-12)
        np.testing.assert_allclose(mean, values.mean(), rtol=1e-12)
        np.testing.assert_allclose(sem, np.std(values, ddof=1) / np.sqrt(7), rtol=1e-12)


def test_one_replicate_of_a_stochastic_simulator_has_no_known_error():
    task = FeatureTask(FeatureEvaluator(noisy, SPACE, stochastic=True), outputs={"x": whole})
    (report,) = run(task, {"a": 1.0, "b": 0.5})
    assert report.outputs["x"][1] is None
    assert report.arrays["features"].shape == ()


def test_a_bad_replicate_fails_its_arm():
    def sometimes(p, key):
        return jnp.log(jax.random.normal(key))

    task = FeatureTask(
        FeatureEvaluator(sometimes, SPACE, stochastic=True), outputs={"x": whole}, replicates=50
    )
    (report,) = run(task, {"a": 1.0, "b": 0.5})
    assert report.failure is not None
    assert "of 50 replicates" in report.failure
    assert report.outputs == {}


def test_single_precision_stays_single():
    def line(p):
        return {"y": p["a"] * jnp.linspace(0.0, 1.0, 5)}

    task = FeatureTask(FeatureEvaluator(line, SPACE, dtype="float32"), outputs={"top": largest})
    (report,) = run(task, {"a": 0.1, "b": 0.5})
    assert report.arrays["y"].dtype == np.float32
    assert report.outputs["top"][0] == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda f: None, ["'top'", "None"]),
        (lambda f: "high", ["'top'", "str ('high')"]),
        (lambda f: f["y"], ["'top'", "shape (5,)"]),
        (lambda f: 1j * f["y"][0], ["'top'", "complex"]),
        (lambda f: {"y": 1.0}, ["'top'", "dict"]),
        (lambda f: f["missing"], ["'top'", "KeyError", "missing"]),
        (lambda f: 1 // 0, ["'top'", "ZeroDivisionError"]),
    ],
)
def test_an_output_that_is_no_real_scalar_is_named(function, words):
    task = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"fine": largest, "top": function})
    with pytest.raises(EvaluationError) as caught:
        run(task, {"a": 1.0, "b": 1.0})
    message = str(caught.value)
    assert all(word in message for word in words)
    assert message.startswith("Output 'top'")


@pytest.mark.parametrize("value", [2, True, np.float32(2), np.array(2)])
def test_plain_numbers_are_outputs(value):
    task = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"top": lambda f: value})
    assert run(task, {"a": 1.0, "b": 1.0})[0].outputs == {"top": (float(value), 0.0)}


def test_a_simulator_that_raises_is_named():
    def broken(p):
        raise ValueError("out of ideas")

    task = FeatureTask(FeatureEvaluator(broken, SPACE), outputs={"top": largest})
    with pytest.raises(EvaluationError, match=r"broken raised ValueError: out of ideas"):
        run(task, {"a": 1.0, "b": 1.0})


def test_arms_that_do_not_fit_the_space_are_refused():
    with pytest.raises(ParameterError, match="missing b"):
        CURVE.begin([{"a": 1.0}], arm_keys(0, [(0, 0)]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"outputs": {}}, "outputs"),
        ({"outputs": {"top": 3}}, "'top' is a int"),
        ({"outputs": {3: largest}}, "3"),
        ({"outputs": [largest]}, "mapping"),
        ({"outputs": {"top": largest}, "replicates": 2}, "deterministic"),
        ({"outputs": {"top": largest}, "replicates": 0}, "at least 1"),
        ({"outputs": {"top": largest}, "replicates": 1.5}, "whole number"),
        ({"outputs": {"top": largest}, "evaluator": curve}, "FeatureEvaluator"),
    ],
)
def test_parts_that_do_not_fit_are_refused_at_construction(arguments, words):
    evaluator = arguments.pop("evaluator", FeatureEvaluator(curve, SPACE))
    with pytest.raises(ConfigurationError, match=words):
        FeatureTask(evaluator, **arguments)


def test_an_evaluator_without_a_function_is_refused():
    with pytest.raises(FeaturesNotConfigured):
        FeatureTask(FeatureEvaluator(None, SPACE), outputs={"top": largest})


def test_keys_depend_on_their_counters_only():
    def data(keys):
        return np.asarray(jax.random.key_data(keys)).tolist()

    counters = [(i, i % 3) for i in range(40)]
    together = data(arm_keys(9, counters))
    assert together == [data(arm_keys(9, [pair]))[0] for pair in counters]
    root_key = jax.random.key(9)
    expected = [jax.random.fold_in(jax.random.fold_in(root_key, i), j) for i, j in counters[:4]]
    assert together[:4] == [data(key) for key in expected]
    with jax.enable_x64(True):
        assert data(arm_keys(9, counters)) == together
    folded = data(replicate_keys(arm_keys(9, counters[:2]), 3))
    assert folded == [data(jax.random.fold_in(key, r)) for key in expected[:2] for r in range(3)]
    assert arm_keys(9, []).shape == (0,)
    assert len({tuple(k) for k in data(arm_keys(2**32 - 1, counters)) + together}) == 80
