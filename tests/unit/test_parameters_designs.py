"""Designs: grids, Sobol sequences and Latin hypercubes of plain points."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import (
    Linear,
    Log2,
    Logarithmic,
    latin_hypercube_design,
    plot_heat_map,
    product_design,
    sobol_design,
)

SPACE = ParameterSpace(
    [
        Parameter("memory_days", lower=1, upper=256, bijector=Log2()),
        Parameter("share", lower=-1, upper=1),
        Parameter("count", lower=1, upper=3, integer=True),
        Parameter("kind", choices=["a", "b"]),
        Parameter("fixed", fixed=2.5),
    ]
)


def test_a_product_has_every_combination_the_last_name_fastest() -> None:
    design = product_design({"a": Linear(0, 1, 3), "b": Logarithmic(1, 100, 3), "c": ["x", 2]})
    assert design.label == "grid"
    assert len(design) == 18
    assert [tuple(point.values()) for point in design[:4]] == [
        (0.0, 1.0, "x"),
        (0.0, 1.0, 2),
        (0.0, pytest.approx(10.0), "x"),
        (0.0, pytest.approx(10.0), 2),
    ]
    assert [point["a"] for point in design] == [0.0] * 6 + [0.5] * 6 + [1.0] * 6
    assert len(product_design({"a": Linear(0, 1)})) == 10
    assert product_design({"a": Linear(3, 4, 1)}).points == ({"a": 3.0},)


def test_points_are_plain_values_of_their_own() -> None:
    design = product_design(
        {
            "a": np.linspace(0, 1, 3),
            "b": np.arange(2, dtype=np.int32),
            "c": [np.float32(0.5), np.True_],
            "d": Logarithmic(1e-3, 1e3, 7),
        }
    )
    kinds = {name: {type(point[name]) for point in design} for name in design[0]}
    assert kinds == {"a": {float}, "b": {int}, "c": {float, bool}, "d": {float}}
    assert json.loads(json.dumps(list(design))) == list(design)
    assert (design[0]["d"], design[-1]["d"]) == (1e-3, 1e3)
    design[0]["a"] = 7.0
    assert design[1]["a"] == 0.0


def test_a_point_comes_once() -> None:
    design = product_design({"a": [1.0, 2, 1, 0.0, -0.0], "b": [1, 1]})
    assert [point["a"] for point in design] == [1.0, 2, 0.0]
    assert len(product_design({"a": [True, 1]})) == 2


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ([], "no values"),
        ("abc", "give Linear"),
        (3.0, "give Linear"),
        ({"a": 1}, "give Linear"),
        ([math.nan], "finite"),
        ([[1.0, 2.0]], "number, a bool or a string"),
        (Linear(0, math.inf, 3), "finite"),
        (Linear(0, 1, 0), "points"),
        (Linear(0, 1, 2.5), "points"),  # type: ignore[arg-type]
        (Logarithmic(0, 1, 3), "above 0"),
        (Logarithmic(-1, -2, 3), "above 0"),
    ],
)
def test_an_axis_that_cannot_be_used_is_named(axis: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        product_design({"a": axis})


def cells(values: list[float], lower: float, upper: float, count: int) -> list[int]:
    places = (np.asarray(values) - lower) / (upper - lower) * count
    return np.bincount(np.clip(places.astype(int), 0, count - 1), minlength=count).tolist()


def test_a_sobol_design_fills_the_box_on_the_scale_of_the_search() -> None:
    space = ParameterSpace(SPACE.parameters[:2])
    design = sobol_design(space, 64, seed=1)
    assert design.label == "sobol"
    assert cells([math.log2(p["memory_days"]) for p in design], 0, 8, 64) == [1] * 64  # type: ignore[arg-type]
    assert cells([p["share"] for p in design], -1, 1, 64) == [1] * 64  # type: ignore[misc]
    # In two dimensions too: one point in each of 8 x 8 cells is what sets it apart from chance.
    places = {
        (int(math.log2(p["memory_days"])), int((p["share"] + 1) * 4))  # type: ignore[arg-type, operator]
        for p in design
    }
    assert len(places) == 64
    assert sobol_design(space, 64, seed=1) == design
    assert sobol_design(space, 64, seed=2) != design
    assert list(sobol_design(space, 5, seed=1)) == list(sobol_design(space, 8, seed=1))[:5]


def test_a_latin_hypercube_has_one_value_in_each_slice() -> None:
    space = ParameterSpace(SPACE.parameters[:2])
    design = latin_hypercube_design(space, 37, seed=1)
    assert design.label == "latin_hypercube"
    assert cells([math.log2(p["memory_days"]) for p in design], 0, 8, 37) == [1] * 37  # type: ignore[arg-type]
    assert cells([p["share"] for p in design], -1, 1, 37) == [1] * 37  # type: ignore[misc]


@pytest.mark.parametrize("make", [sobol_design, latin_hypercube_design])
def test_points_have_all_parameters_as_plain_values(make: Any) -> None:
    design = make(SPACE, 30, seed=0)
    for point in design:
        assert list(point) == ["memory_days", "share", "count", "kind", "fixed"]
        assert [type(value) for value in point.values()] == [float, float, int, str, float]
        assert SPACE.unpack(SPACE.pack(point)) == point
    assert {point["count"] for point in design} == {1, 2, 3}
    assert {point["kind"] for point in design} == {"a", "b"}
    assert len(design.within(SPACE)) == len(design) == 30


def test_a_small_space_gives_each_point_once() -> None:
    space = ParameterSpace(SPACE.parameters[2:])
    found = [(p["count"], p["kind"]) for p in sobol_design(space, 10, seed=0)]
    assert sorted(found) == [(n, kind) for n in (1, 2, 3) for kind in "ab"]


def test_constraints_are_kept() -> None:
    space = ParameterSpace(
        [Parameter("a", lower=0, upper=1), Parameter("b", lower=0, upper=1)],
        constraints=["a + b <= 0.5"],
    )
    design = sobol_design(space, 50, seed=0)
    assert len(design) == 50
    assert all(p["a"] + p["b"] <= 0.5 for p in design)  # type: ignore[operator]
    grid = product_design({"a": Linear(0, 2, 5), "b": Linear(0, 1, 3)})
    assert [tuple(p.values()) for p in grid.within(space)] == [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0)]
    narrow = ParameterSpace(space.parameters, constraints=["1000000 * a + b <= 0"])
    with pytest.raises(ParameterError, match="loosen the constraints"):
        latin_hypercube_design(narrow, 4, seed=0)


@pytest.mark.parametrize("make", [sobol_design, latin_hypercube_design])
def test_what_gives_no_design_is_refused(make: Any) -> None:
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ParameterError, match="points is"):
            make(SPACE, wrong, seed=0)
    with pytest.raises(ParameterError, match="free parameter"):
        make(ParameterSpace([Parameter("a", fixed=1.0)]), 4, seed=0)


# ------------------------------------------------------------------ heat maps


def test_a_heat_map_has_a_cell_for_every_point() -> None:
    design = product_design({"memory": Logarithmic(1, 100, 5), "share": Linear(-1, 1, 3)})
    values = [p["memory"] * p["share"] for p in design]  # type: ignore[operator]
    figure = plot_heat_map(design, values, value="Sharpe", units={"memory": "days"})
    (cells,) = figure.data
    assert np.asarray(cells.z).shape == (3, 5)
    np.testing.assert_allclose(cells.z[0], -np.geomspace(1, 100, 5))
    np.testing.assert_allclose(cells.z[2], np.geomspace(1, 100, 5))
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.title.text == "memory (days)"
    np.testing.assert_allclose(cells.x[[0, -1]], [10**-0.25, 10**2.25])
    assert figure.layout.yaxis.type == "linear"
    np.testing.assert_allclose(cells.y, [-1.5, -0.5, 0.5, 1.5])
    assert cells.colorbar.title.text == "Sharpe"


def test_what_has_no_value_stays_blank() -> None:
    design = product_design({"a": [0, 1, 2], "kind": ["x", "y"], "same": [5.0]})
    figure = plot_heat_map(list(design)[:-1], [1.0, None, math.nan, 2.0, math.inf])
    found = np.asarray(figure.data[0].z)
    np.testing.assert_array_equal(found, [[1.0, np.nan, np.nan], [np.nan, 2.0, np.nan]])
    assert figure.layout.yaxis.ticktext == ("x", "y")
    assert "4 blank" in figure.layout.title.subtitle.text


def test_what_is_no_grid_of_two_axes_is_refused() -> None:
    cube = product_design({"a": [0, 1], "b": [0, 1], "c": [0, 1]})
    with pytest.raises(ParameterError, match=r"3 names vary over the points \(a, b, c\)"):
        plot_heat_map(cube, np.zeros(8))
    with pytest.raises(ParameterError, match="0 names vary"):
        plot_heat_map([], [])
    with pytest.raises(ParameterError, match="8 points have 7 values"):
        plot_heat_map(cube, np.zeros(7))
    twice = [*product_design({"a": [0, 1], "b": [0, 1]})] * 2
    with pytest.raises(ParameterError, match="2 points have the same a and b"):
        plot_heat_map(twice, np.zeros(8))
