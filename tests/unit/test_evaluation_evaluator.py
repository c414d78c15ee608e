"""Shapes, dtypes, bits, keys and refusals of the feature evaluator."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import (
    EvaluationError,
    FeaturesNotConfigured,
    InvalidFeatures,
    InvalidTheta,
    ParameterError,
)
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace

SPACE = ParameterSpace(
    [
        Parameter("r", lower=1.0, upper=50.0),
        Parameter("l", lower=0.1, upper=5.0),
        Parameter("c", lower=0.1, upper=5.0),
    ]
)


def resonator(values: dict[str, Any]) -> dict[str, jax.Array]:
    """Reflection of a series resonator: complex, real and integer features."""
    w = jnp.linspace(0.1, 3.0, 41)
    z = values["r"] + 1j * (w * values["l"] - 1 / (w * values["c"]))
    s = (z - 50) / (z + 50)
    return {"s": s, "db": 20 * jnp.log10(jnp.abs(s)), "worst": jnp.argmax(jnp.abs(s))}


def solve(values: dict[str, Any]) -> jax.Array:
    """A linear solve and a scan: neither is elementwise."""
    matrix = jnp.eye(5) * values["r"] + jnp.outer(jnp.arange(5.0), jnp.arange(5.0)) * values["l"]
    x = jnp.linalg.solve(matrix, jnp.ones(5) * values["c"])
    return jax.lax.scan(lambda a, b: (jnp.sin(a + b), a * b), x.sum(), x)[1]


def noisy(values: dict[str, Any], key: jax.Array) -> jax.Array:
    """One normal draw around r."""
    return values["r"] + jax.random.normal(key, (3,))


def bits(tree: Any) -> list[bytes]:
    return [np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def rows(count: int, seed: int = 0) -> np.ndarray:
    return SPACE.icdf(np.random.default_rng(seed).random((count, SPACE.dimension)))


@pytest.fixture(scope="module")
def evaluator() -> FeatureEvaluator:
    return FeatureEvaluator(resonator, SPACE)


@pytest.mark.parametrize("simulator", [resonator, solve])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_has_the_same_bits_alone_first_last_and_in_any_batch(
    simulator: Any, dtype: str
) -> None:
    evaluator = FeatureEvaluator(simulator, SPACE, dtype=dtype, capacity=64)
    theta = rows(150)
    together = evaluator.model_features(theta)
    order = np.random.default_rng(1).permutation(150)
    shuffled = evaluator.model_features(theta[order])
    for i in (0, 1, 31, 32, 63, 64, 149):
        expected = bits(jax.tree.map(lambda leaf, i=i: leaf[i], together))
        assert bits(evaluator.model_features(theta[i])) == expected
        moved = int(np.flatnonzero(order == i)[0])
        assert bits(jax.tree.map(lambda leaf, m=moved: leaf[m], shuffled)) == expected
    for start in (0, 5, 113):
        part = evaluator.model_features(theta[start : start + 37])
        expected = bits(jax.tree.map(lambda leaf, s=start: leaf[s : s + 37], together))
        assert bits(part) == expected


def test_agrees_with_plain_vmap(evaluator: FeatureEvaluator) -> None:
    theta = rows(100)
    with jax.enable_x64(True):
        expected = jax.jit(jax.vmap(lambda row: resonator(SPACE.traced(row))))(theta)
    for reproducible in (True, False):
        found = dataclasses.replace(evaluator, reproducible=reproducible).model_features(theta)
        np.testing.assert_allclose(found["s"], expected["s"], rtol=1e-12)
        np.testing.assert_allclose(found["db"], expected["db"], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(found["worst"], expected["worst"])


def test_one_executable_for_every_batch_size() -> None:
    traces = []

    def counted(values: dict[str, Any]) -> jax.Array:
        traces.append(1)
        return values["r"] * values["l"]

    evaluator = FeatureEvaluator(counted, SPACE, capacity=64)
    evaluator.model_features(rows(3))
    first = len(traces)
    for count in (1, 2, 31, 32, 33, 64, 65, 200):
        evaluator.model_features(rows(count))
    assert len(traces) == first


def test_shapes_and_dtypes(evaluator: FeatureEvaluator) -> None:
    one, many = evaluator.model_features(rows(1)[0]), evaluator.model_features(rows(7))
    empty = evaluator.model_features(np.zeros((0, 3)))
    for name, dtype, shape in [("s", "c16", (41,)), ("db", "f8", (41,)), ("worst", "i8", ())]:
        for found, lead in [(one, ()), (many, (7,)), (empty, (0,))]:
            assert found[name].dtype == np.dtype(dtype)
            assert found[name].shape == lead + shape
    single = dataclasses.replace(evaluator, dtype=np.float32)
    assert single.dtype == "float32"
    found = single.model_features(rows(7))
    assert (found["s"].dtype, found["db"].dtype) == (np.complex64, np.float32)
    assert single.icdf(np.full(3, 0.5)).dtype == np.float32
    assert single.log_prior(rows(2)).dtype == np.float32


@pytest.mark.parametrize("process_wide", [True, False])
def test_precision_is_the_evaluators_choice(process_wide: bool) -> None:
    seen = []

    def precision(values: dict[str, Any]) -> jax.Array:
        seen.append((values["r"].dtype, jnp.ones(1).dtype))
        return values["r"] / 3

    with jax.enable_x64(process_wide):
        for dtype in ("float64", "float32"):
            seen.clear()
            found = FeatureEvaluator(precision, SPACE, dtype=dtype).model_features(rows(2))
            assert found.dtype == dtype
            assert {str(d) for pair in seen for d in pair} == {dtype}


@pytest.mark.parametrize(
    "theta", [[20, 1, 1], (20.0, 1.0, 1.0), np.array([20, 1, 1], np.float32), jnp.array([20, 1, 1])]
)
def test_array_likes_are_accepted(evaluator: FeatureEvaluator, theta: Any) -> None:
    expected = evaluator.model_features(np.array([20.0, 1.0, 1.0]))
    assert bits(evaluator.model_features(theta)) == bits(expected)


@pytest.mark.parametrize(
    "theta", [1.0, [1.0, 2.0], np.zeros((1, 1, 3)), np.zeros((2, 4)), "r", None]
)
def test_other_shapes_are_refused(evaluator: FeatureEvaluator, theta: Any) -> None:
    with pytest.raises(InvalidTheta, match="3"):
        evaluator.model_features(theta)
    with pytest.raises(InvalidTheta, match="3"):
        evaluator.evaluate(theta)


def test_complex_theta_is_refused(evaluator: FeatureEvaluator) -> None:
    with pytest.raises(InvalidTheta, match="complex"):
        evaluator.model_features(np.ones(3, dtype=complex))


def test_a_vector_is_no_batch(evaluator: FeatureEvaluator) -> None:
    with pytest.raises(InvalidTheta, match="give a batch"):
        evaluator.evaluate([1.0, 1.0, 1.0])


@pytest.mark.parametrize("reproducible", [True, False])
def test_rows_that_are_not_finite_are_marked(reproducible: bool) -> None:
    def clamped(values: dict[str, Any]) -> dict[str, Any]:
        # What a careless conversion does: NaN becomes an excellent match.
        db = jnp.nan_to_num(20 * jnp.log10(values["l"]), nan=-100.0)
        return {"db": db, "out": {"x": 1 / (values["c"] - 1), "z": 1j * values["r"]}, "n": 3}

    evaluator = FeatureEvaluator(clamped, SPACE, reproducible=reproducible)
    theta = rows(6)
    theta[1, 1], theta[2, 0], theta[4, 2] = math.nan, math.inf, 1.0
    found = evaluator.evaluate(theta)
    assert found.valid.tolist() == [True, False, False, True, False, True]
    marked = [False, True, True, False, False, False]
    assert found.nonfinite["db"].tolist() == marked
    assert found.nonfinite["out.z"].tolist() == marked
    assert found.nonfinite["out.x"].tolist() == [False, True, True, False, True, False]
    assert not found.nonfinite["n"].any()
    assert np.isnan(found.features["db"][[1, 2]]).all()
    assert np.isnan(found.features["out"]["z"][[1, 2]].imag).all()
    assert np.isinf(found.features["out"]["x"][4])
    assert found.features["n"].tolist() == [3] * 6
    # Neighbours are as if alone.
    assert bits(evaluator.model_features(theta[3])["db"]) == bits(found.features["db"][3])
    assert np.isnan(evaluator.model_features([math.nan, 1, 1])["db"])
    assert not evaluator.evaluate(np.full((2, 3), math.nan)).valid.any()


def test_rows_outside_the_support_are_evaluated(evaluator: FeatureEvaluator) -> None:
    theta = [[60.0, 1.0, 1.0]]
    assert evaluator.log_prior(theta)[0] == -math.inf
    assert evaluator.cdf(theta)[0, 0] == 1.0
    assert evaluator.evaluate(theta).valid.all()


def test_kept_features_and_missing_ones(evaluator: FeatureEvaluator) -> None:
    kept = dataclasses.replace(evaluator, features=["db"])
    assert set(kept.model_features(rows(2))) == {"db"}
    assert kept.features == ("db",)
    for features in (["db", "phase"], "phase"):
        missing = dataclasses.replace(evaluator, features=features)
        with pytest.raises(FeaturesNotConfigured, match=r"'phase'.*'s', 'db', 'worst'") as caught:
            missing.model_features(rows(2))
        assert isinstance(caught.value, RuntimeError)
    with pytest.raises(FeaturesNotConfigured, match="one array without names"):
        FeatureEvaluator(solve, SPACE, features=["x"]).model_features(rows(1))
    nothing = FeatureEvaluator(None, SPACE)
    assert nothing.cdf(rows(2)).shape == (2, 3)
    for call in (nothing.model_features, nothing.evaluate):
        with pytest.raises(FeaturesNotConfigured, match="fn=None"):
            call(rows(2))


def _raises(values: dict[str, Any]) -> Any:
    raise KeyError("no such material")


BAD_RESULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "raises": (_raises, EvaluationError, "_raises raised KeyError: 'no such material'"),
    "branches": (lambda v: 1.0 if v["r"] > 3 else 2.0, EvaluationError, "no Python branches"),
    "unknown name": (lambda v: v["x"], EvaluationError, "KeyError"),
    "none": (lambda v: None, InvalidFeatures, "is None"),
    "string": (lambda v: "s11", InvalidFeatures, r"a string \('s11'\)"),
    "object": (lambda v: object(), InvalidFeatures, "is a object"),
    "list": (lambda v: [v["r"]], InvalidFeatures, "is a list"),
    "tuple": (lambda v: (v["r"],), InvalidFeatures, "is a tuple"),
    "none inside": (lambda v: {"s": None}, InvalidFeatures, "feature 's' is None"),
    "list inside": (lambda v: {"a": {"b": [1]}}, InvalidFeatures, r"feature 'a'\['b'\] is a list"),
    "text array": (lambda v: np.array(["a"]), InvalidFeatures, "dtype <U1"),
    "key": (lambda v: jax.random.key(0), InvalidFeatures, "dtype key"),
    "empty": (lambda v: {}, InvalidFeatures, "an empty dict"),
    "number names": (lambda v: {1: v["r"]}, InvalidFeatures, "the key 1"),
}


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_bad_simulators_are_named(case: str) -> None:
    simulator, error, sentence = BAD_RESULTS[case]
    with pytest.raises(error, match=sentence) as caught:
        FeatureEvaluator(simulator, SPACE).model_features(rows(2))
    assert "test_evaluation_evaluator" in str(caught.value)


def test_errors_at_run_time_are_named_and_do_not_stick() -> None:
    def check(x: Any) -> Any:
        if float(x) > 49.0:
            raise ValueError("too hot")
        return np.asarray(x)

    def measured(values: dict[str, Any]) -> jax.Array:
        shape = jax.ShapeDtypeStruct((), values["r"].dtype)
        return jax.pure_callback(check, shape, values["r"], vmap_method="sequential")

    evaluator = FeatureEvaluator(measured, SPACE)
    assert evaluator.model_features([3.0, 1, 1]) == 3.0
    with pytest.raises(EvaluationError, match="measured failed for a batch of 1 rows: .*too hot"):
        evaluator.model_features([49.5, 1, 1])
    assert evaluator.model_features([4.0, 1, 1]) == 4.0


@pytest.mark.parametrize("reproducible", [True, False])
def test_stochastic_rows_depend_on_their_key_alone(reproducible: bool) -> None:
    evaluator = FeatureEvaluator(noisy, SPACE, stochastic=True, reproducible=reproducible)
    theta = np.tile(rows(1), (9, 1))
    key = jax.random.key(3)
    found = evaluator.model_features(theta, key=key)
    assert len({row.tobytes() for row in found}) == 9
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(9))
    again = evaluator.evaluate(theta[[4]], keys[jnp.array([4])]).features
    np.testing.assert_allclose(again[0], found[4], rtol=0 if reproducible else 1e-12)
    assert not np.array_equal(found, evaluator.model_features(theta, key=jax.random.key(4)))
    other = jax.random.key(3, impl="rbg")
    assert evaluator.model_features(theta[0], key=other).shape == (3,)


def test_keys_are_checked(evaluator: FeatureEvaluator) -> None:
    stochastic = FeatureEvaluator(noisy, SPACE, stochastic=True)
    with pytest.raises(EvaluationError, match="is stochastic; pass a key"):
        stochastic.model_features(rows(2))
    with pytest.raises(EvaluationError, match="not stochastic"):
        evaluator.model_features(rows(2), key=jax.random.key(0))
    with pytest.raises(EvaluationError, match="made by jax.random.key"):
        stochastic.model_features(rows(2), key=7)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match=r"shape \(2,\)"):
        stochastic.evaluate(rows(2), jax.random.split(jax.random.key(0), 3))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"chunk": 0}, EvaluationError, "chunk is 0"),
        ({"capacity": 1.5}, EvaluationError, "capacity is 1.5"),
        ({"dtype": "float16"}, EvaluationError, "'float64' or 'float32'"),
        ({"dtype": "quadruple"}, EvaluationError, "'float64' or 'float32'"),
        ({"fn": "resonator"}, EvaluationError, "is a str; give a function"),
        ({"space": {"r": 1}}, ParameterError, "give a ParameterSpace"),
        ({"space": ParameterSpace([Parameter("r", fixed=1.0)])}, ValueError, "no free parameter"),
        ({"space": ParameterSpace([])}, ValueError, "no free parameter"),
    ],
)
def test_arguments_are_checked(arguments: dict, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        FeatureEvaluator(**{"fn": resonator, "space": SPACE, **arguments})


def test_equal_by_value_frozen_and_storable_after_use(evaluator: FeatureEvaluator) -> None:
    before = evaluator.model_features(rows(5))
    same = FeatureEvaluator(resonator, SPACE)
    assert evaluator == same
    assert hash(evaluator) == hash(same)
    assert evaluator != dataclasses.replace(evaluator, chunk=16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluator.chunk = 16  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(evaluator))  # noqa: S301
    assert copy == evaluator
    assert bits(copy.model_features(rows(5))) == bits(before)


def test_inside_other_programs_rows_are_traced(evaluator: FeatureEvaluator) -> None:
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda t: evaluator.row_features(t)["db"][0]))(rows(1)[0])
    assert np.isfinite(slope).all()
    with pytest.raises(EvaluationError, match="use row_features there"):
        jax.jit(evaluator.model_features)(rows(1)[0])


def test_results_of_earlier_calls_are_left_alone(evaluator: FeatureEvaluator) -> None:
    first = evaluator.model_features(rows(40))
    kept = bits(first)
    evaluator.model_features(rows(40, seed=5))
    assert bits(first) == kept


def cascade(values: dict[str, Any]) -> jax.Array:
    """A 2 by 2 complex system at each of 201 frequencies."""
    w = jnp.linspace(0.1, 3.0, 201)
    z, y = values["r"] + 1j * w * values["l"], 1j * w * values["c"]
    matrix = jnp.moveaxis(jnp.array([[z, jnp.ones_like(z)], [-jnp.ones_like(z), 1 / z + y]]), -1, 0)
    return jnp.linalg.solve(matrix, jnp.ones((201, 2, 1), dtype=complex))


@pytest.mark.timeout(120)
def test_many_small_linear_systems_end() -> None:
    # 512 rows at once would be 102,912 systems, on which jaxlib's solvers wait for each other.
    theta = rows(650)
    fast = FeatureEvaluator(cascade, SPACE, reproducible=False).model_features(theta)
    exact = FeatureEvaluator(cascade, SPACE).model_features(theta)
    np.testing.assert_allclose(fast, exact, rtol=1e-12)
