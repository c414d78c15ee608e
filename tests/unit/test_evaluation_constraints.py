"""Constraints and the graded violation: formulae, every kind of value, and refusals."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ax_jax_runners.evaluation as evaluation
import ax_jax_runners.exploration as exploration
from ax_jax_runners.errors import ConfigurationError, EvaluationError
from ax_jax_runners.exploration import Constraint, Misfit, Violation


@pytest.mark.parametrize(
    ("target", "value", "expected"),
    [
        # |f - mean| / sd - cutoff
        ({"mean": 10.0, "sd": 2.0, "cutoff": 3.0}, 10.0, -3.0),
        ({"mean": 10.0, "sd": 2.0, "cutoff": 3.0}, 4.0, 0.0),
        ({"mean": 10.0, "sd": 2.0, "cutoff": 3.0}, 18.0, 1.0),
        ({"mean": 10.0, "sd": 2.0}, 13.0, 0.5),
        # max(lower - f, f - upper) / s
        ({"lower": 1.0, "upper": 5.0}, 3.0, -0.5),
        ({"lower": 1.0, "upper": 5.0}, 7.0, 0.5),
        ({"lower": 1.0, "upper": 5.0}, -3.0, 1.0),
        ({"lower": 1.0, "upper": 5.0, "sd": 2.0}, 7.0, 1.0),
        ({"lower": 1.0}, 0.5, 0.5),
        ({"lower": 1.0}, 9.0, -8.0),
        ({"upper": 1.0}, 0.5, -0.5),
        ({"upper": 1.0, "sd": 0.5}, 2.0, 2.0),
        # Nothing that is not finite is inside.
        ({"lower": 1.0}, math.inf, math.inf),
        ({"upper": 1.0}, -math.inf, math.inf),
        ({"mean": 0.0, "sd": 1.0}, math.nan, math.inf),
        # Whole numbers, truth values, complex numbers by their absolute value.
        ({"lower": 2.0, "upper": 4.0}, 5, 0.5),
        ({"lower": 0.5}, True, -0.5),
        ({"lower": 0.5}, False, 0.5),
        ({"upper": 4.0}, 3.0 + 4.0j, 1.0),
        ({"upper": 4.0}, complex(math.nan, 0.0), math.inf),
        # Of arrays the worst element.
        ({"lower": 0.0, "upper": 1.0}, [0.5, 1.5, -0.2], 0.5),
        ({"upper": 1.0}, [[0.0, 0.5], [0.25, math.nan]], math.inf),
        ({"mean": 0.0, "sd": 1.0}, [], None),
    ],
)
def test_the_violation_of_one_feature(
    target: dict[str, float], value: Any, expected: float | None
) -> None:
    constraint = Constraint("f", **target)
    if expected is None:
        with pytest.raises(EvaluationError, match="'f' is an empty array"):
            constraint.violation(np.array(value))
        return
    for given in (value, np.asarray(value), jnp.asarray(value)):
        found = constraint.violation(given)
        assert found.shape == ()
        assert float(found) == pytest.approx(expected)
    compiled = jax.jit(constraint.violation)(jnp.asarray(value))
    assert float(compiled) == pytest.approx(expected)


def test_the_violation_has_the_precision_of_its_feature() -> None:
    constraint = Constraint("f", mean=0.1, sd=0.3)
    with jax.enable_x64(True):
        double = constraint.violation(np.float64(0.7))
        assert double.dtype == np.float64
        assert float(double) == pytest.approx(0.6 / 0.3 - 1.0, rel=1e-14)
        assert constraint.violation(np.float32(0.7)).dtype == np.float32
        assert constraint.violation(np.int32(3)).dtype == np.float64
    assert constraint.violation(np.float32(0.7)).dtype == np.float32


def test_the_worst_constraint_counts() -> None:
    violation = Violation(
        (
            Constraint("rate", mean=10.0, sd=1.0, cutoff=2.0),
            Constraint("trace", upper=1.0),
            Constraint("rate", lower=0.0),
            Constraint("cell.soma.peak", lower=20.0, sd=10.0),
        )
    )
    features = {
        "rate": 11.0,
        "trace": np.array([0.2, 0.7]),
        "cell": {"soma": {"peak": 35.0}, "dendrite": 3.0},
    }
    assert violation.labels == ("rate (1)", "trace", "rate (2)", "cell.soma.peak")
    each = {label: float(value) for label, value in violation.each(features).items()}
    assert each == pytest.approx(
        {"rate (1)": -1.0, "trace": -0.3, "rate (2)": -11.0, "cell.soma.peak": -1.5}
    )
    assert float(violation(features)) == pytest.approx(-0.3)
    features["rate"] = math.nan
    assert float(violation(features)) == math.inf
    features["rate"] = 13.0
    assert float(jax.jit(violation)(features)) == pytest.approx(1.0)


def test_an_array_without_names_is_called_features() -> None:
    violation = Violation((Constraint("features", upper=2.0),))
    assert float(violation(jnp.array([1.0, 2.5]))) == 0.5
    with pytest.raises(EvaluationError, match="call it 'features'"):
        Violation((Constraint("rate", upper=2.0),))(jnp.ones(2))


def test_a_name_with_dots_is_found_before_a_path() -> None:
    violation = Violation((Constraint("a.b", upper=0.0),))
    assert float(violation({"a.b": 1.0, "a": {"b": 2.0}})) == 1.0
    assert float(violation({"a": {"b": 2.0}})) == 2.0


@pytest.mark.parametrize("name", ["speed", "cell", "cell.axon", "rate.mean", "cell.soma.x"])
def test_a_feature_that_is_not_there_is_told(name: str) -> None:
    features = {"rate": 1.0, "cell": {"soma": 2.0}}
    with pytest.raises(EvaluationError, match=f"the feature '{name}'; .* 'rate', 'cell'"):
        Violation((Constraint(name, upper=0.0),))(features)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ({"mean": 10.0, "sd": 1.5, "cutoff": 2.0}, "'rate' within 10 +- 2 * 1.5"),
        ({"lower": 1.0}, "'rate' at least 1"),
        ({"upper": 2.5}, "'rate' at most 2.5"),
        ({"lower": 1.0, "upper": 2.5}, "'rate' between 1 and 2.5"),
    ],
)
def test_a_constraint_can_be_read(target: dict[str, float], sentence: str) -> None:
    assert Constraint("rate", **target).sentence == sentence


@pytest.mark.parametrize(
    ("feature", "target", "message"),
    [
        ("", {"upper": 1.0}, "feature is ''"),
        (3, {"upper": 1.0}, "feature is 3"),
        ("f", {}, "neither a mean nor a bound"),
        ("f", {"sd": 1.0}, "neither a mean nor a bound"),
        ("f", {"mean": 0.0, "sd": 1.0, "upper": 1.0}, "a mean and bounds"),
        ("f", {"mean": 0.0}, "a mean and no sd"),
        ("f", {"mean": 0.0, "sd": 0.0}, "sd is 0.0"),
        ("f", {"mean": 0.0, "sd": -1.0}, "sd is -1.0"),
        ("f", {"mean": 0.0, "sd": 1.0, "cutoff": 0.0}, "cutoff is 0.0"),
        ("f", {"upper": 1.0, "cutoff": 2.0}, "bounds and a cutoff"),
        ("f", {"lower": 2.0, "upper": 1.0}, "lower 2.0 is not below upper 1.0"),
        ("f", {"lower": 1.0, "upper": 1.0}, "not below"),
        ("f", {"upper": math.inf}, "upper is inf"),
        ("f", {"mean": math.nan, "sd": 1.0}, "mean is nan"),
        ("f", {"upper": "high"}, "upper is 'high'"),
        ("f", {"upper": True}, "upper is True"),
        ("f", {"upper": np.ones(2)}, "upper is array"),
    ],
)
def test_targets_that_are_none_are_refused(feature: Any, target: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Constraint(feature, **target)


@pytest.mark.parametrize(
    ("given", "found"), [((), "nothing"), (["f"], "a str"), (None, "a NoneType"), ({}, "nothing")]
)
def test_violations_of_something_else_are_refused(given: Any, found: str) -> None:
    with pytest.raises(ConfigurationError, match=f"constraints hold {found}"):
        Violation(given)


def test_equal_targets_are_equal_and_hash_alike() -> None:
    make: Any = Violation
    one, same = Constraint("f", upper=np.float32(2)), Constraint("f", upper=2)  # type: ignore[arg-type]
    assert one == same
    assert hash(Violation((one,))) == hash(make([same]))
    assert make(one) == Violation((same,))
    with pytest.raises(AttributeError):
        one.upper = 3.0  # type: ignore[misc]


def test_both_rooms_offer_the_same_names() -> None:
    assert evaluation.Constraint is exploration.Constraint
    assert evaluation.Violation is exploration.Violation


def test_the_misfit_adds_what_is_violated_and_is_least_where_all_holds():
    constraints = [Constraint("a", upper=1.0), Constraint("b", lower=0.0, sd=0.5)]
    misfit = Misfit(constraints)
    assert float(misfit({"a": 0.5, "b": 3.0})) == pytest.approx(-1.0)
    assert float(misfit({"a": 3.0, "b": -1.0})) == pytest.approx(np.log10(0.1 + 2.0 + 2.0))
    assert np.isinf(float(misfit({"a": np.nan, "b": 1.0})))
    assert misfit == Misfit(tuple(constraints))
    with pytest.raises(ConfigurationError, match="nothing"):
        Misfit([])
