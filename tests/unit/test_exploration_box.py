"""The search box: coordinates of physical values and back, traced and not."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration import Constraint, Region, SearchBox

SPACE = ParameterSpace(
    [
        Parameter("length", lower=-0.7, upper=0.1),
        Parameter("rate", lower=1e-3, upper=10.0, log_scale=True),
        Parameter("fixed", fixed=3.0),
        Parameter("count", lower=2, upper=6, integer=True),
        Parameter("kind", choices=["a", "b", "c"]),
        Parameter("turns", lower=1, upper=100, integer=True, log_scale=True),
    ]
)


def traced(box: SearchBox, unit: np.ndarray, seed: np.ndarray, dtype: str) -> np.ndarray:
    with jax.enable_x64(dtype == "float64"):
        rows, seeds = jnp.asarray(unit, dtype), jnp.asarray(seed, dtype)
        return np.asarray(jax.jit(jax.vmap(box.theta_row, in_axes=(0, None)))(rows, seeds))


def test_coordinates_go_from_0_to_1_on_the_scale_of_the_search() -> None:
    box = SearchBox(SPACE)
    assert box.names == ("length", "rate", "count", "kind", "turns")
    assert box.dimension == 5
    middle = box.to_theta(np.full(5, 0.5))
    np.testing.assert_allclose(middle[:2], [-0.3, 0.1])
    assert middle[2:4].tolist() == [4.0, 1.0]
    np.testing.assert_allclose(box.to_theta(np.zeros(5)), SPACE.lower, rtol=1e-14)
    np.testing.assert_allclose(box.to_theta(np.ones(5)), SPACE.upper, rtol=1e-14)
    assert box.to_unit(SPACE.lower)[:2].tolist() == [0.0, 0.0]
    assert box.to_unit(SPACE.upper)[:2].tolist() == [1.0, 1.0]


def test_values_of_whole_numbers_and_choices_have_cells_of_equal_width() -> None:
    box = SearchBox(SPACE, ("count", "kind"))
    grid = (np.arange(15_000) + 0.5) / 15_000
    theta = box.to_theta(np.stack([grid, grid], axis=1), SPACE.lower)
    assert np.bincount(theta[:, 2].astype(int))[2:].tolist() == [3000] * 5
    assert np.bincount(theta[:, 3].astype(int)).tolist() == [5000] * 3
    # Back: the middle of its cell.
    np.testing.assert_allclose(box.to_unit(np.array([0.0, 1.0, 2.0, 2.0, 1.0])), [0.1, 2.5 / 3.0])


def test_there_and_back_is_the_same() -> None:
    box = SearchBox(SPACE)
    unit = np.random.default_rng(0).random((1000, 5))
    theta = box.to_theta(unit)
    again = box.to_unit(theta)
    np.testing.assert_allclose(again[:, :2], unit[:, :2], atol=1e-12)
    np.testing.assert_array_equal(box.to_theta(again), theta)


def test_explored_parameters_keep_their_order_and_the_others_their_values() -> None:
    box = SearchBox(SPACE, ("rate", "length"))
    seed = np.array([0.05, 2.0 / 3.0, 5.0, 2.0, 7.0])
    theta = box.to_theta([[0.0, 1.0], [1.0, 0.0]], seed)
    expected = np.array([[0.1, 1e-3, *seed[2:]], [-0.7, 10.0, *seed[2:]]])
    np.testing.assert_allclose(theta, expected, rtol=1e-14)
    np.testing.assert_array_equal(theta[:, 2:], expected[:, 2:])
    np.testing.assert_allclose(box.to_unit(theta), [[0.0, 1.0], [1.0, 0.0]], atol=1e-14)
    assert SearchBox(SPACE, "rate").names == ("rate",)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("explored", [None, ("rate", "length", "turns")])
def test_the_traced_twin_agrees(dtype: str, explored: tuple[str, ...] | None) -> None:
    box = SearchBox(SPACE, explored)
    seed = SPACE.icdf(np.full(5, 0.4))
    unit = np.random.default_rng(1).random((4000, box.dimension))
    unit[:2] = [[0.0] * box.dimension, [1.0] * box.dimension]
    found = traced(box, unit, seed, dtype)
    assert found.dtype == dtype
    expected = box.to_theta(unit, seed)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    close = np.isclose(found, expected, rtol=tolerance, atol=tolerance)
    # A whole number may be the next one where a cell ends.
    assert close.mean() > 0.999
    assert close[:2].all()
    kind = np.dtype(dtype).type
    assert (found >= SPACE.lower.astype(kind)).all()
    assert (found <= SPACE.upper.astype(kind)).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rounding_never_leads_out_of_the_box(dtype: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        lower = rng.normal()
        upper = lower + rng.lognormal()
        space = ParameterSpace([Parameter("x", lower=lower, upper=upper)])
        near = np.array([[0.0], [1.0], [np.nextafter(1.0, 0.0)], [1.0 - 1e-7]])
        found = traced(SearchBox(space), near, space.lower, dtype)
        kind = np.dtype(dtype).type
        assert (found >= kind(lower)).all()
        assert (found <= kind(upper)).all()
        assert (SearchBox(space).to_theta(near) <= upper).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("length", "width"), "holds 'width'"),
        (("fixed",), "holds 'fixed'"),
        ((), "holds nothing"),
        (("rate", "rate"), "holds a name twice"),
        (7, "params_to_explore is 7"),
    ],
)
def test_names_that_cannot_be_explored_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SearchBox(SPACE, given)


# ---------------------------------------------------------------------- the region in the box


def region(**options: Any) -> Region:
    space = ParameterSpace(
        [Parameter("x", lower=0.0, upper=2.0), Parameter("y", lower=0.0, upper=2.0)],
        constraints=["x + y <= 3"],
    )
    evaluator = FeatureEvaluator(
        lambda v: {"product": v["x"] * v["y"], "root": jnp.sqrt(v["x"] - 0.1)}, space
    )
    constraints = (Constraint("product", upper=2.0), Constraint("root", upper=1.2))
    return Region(evaluator, constraints, **options)


def test_violations_are_graded_and_infinite_where_nothing_can_be() -> None:
    theta = [[1.0, 1.0], [1.2, 1.75], [0.05, 1.0], [1.8, 1.3], [math.nan, 1.0]]
    found = region().violations(theta)
    root = math.sqrt(0.9) - 1.2
    np.testing.assert_allclose(found, [root, 0.1, np.inf, np.inf, np.inf], rtol=1e-12)
    assert region().inside(theta).tolist() == [True, False, False, False, False]
    assert region().holds(theta).tolist() == [True, True, True, False, False]


def test_unit_violations_take_the_rest_from_the_seed() -> None:
    graded = region(params_to_explore=("y",)).unit_violations([1.0, 0.0])
    np.testing.assert_allclose(
        graded(np.array([[0.5], [1.0]])), region().violations([[1.0, 1.0], [1.0, 2.0]])
    )


def test_a_violated_constraint_is_explained() -> None:
    explained = region().explain([1.8, 1.3])
    assert "1.0 * x + 1.0 * y <= 3.0 does not hold (missed by 0.1)" in explained
    assert "'product' at most 2 (found 2.34)" in explained
    assert "'root' at most 1.2 (found 1.30384)" in explained
    assert region().explain([1.0, 1.0]) == "every constraint holds"
    assert "'root' at most 1.2 (found nan)" in region().explain([0.05, 1.0])
    # By what was found, where it was found by somebody else.
    given = {"product": np.float64(3.0), "root": np.float64(0.0)}
    assert region().explain([1.0, 1.0], given) == "'product' at most 2 (found 3)"
