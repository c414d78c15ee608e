"""Exact decimal fixed point."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import fixed_point, fixed_point_simplex


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "500000000000000000"),
        (-0.5, "-500000000000000000"),
        (0, "0"),
        (-0.0, "0"),
        (-1e-30, "0"),
        (1e-18, "1"),
        (3, "3000000000000000000"),
        (0.1, "100000000000000006"),
        (1e22, "1" + 40 * "0"),
        (np.float32(0.1), "100000001490116119"),
        (np.int32(-2), "-2000000000000000000"),
        (Decimal("0.1"), "100000000000000000"),
        (np.array(0.25), "250000000000000000"),
    ],
)
def test_the_text_is_that_of_the_exact_value(value: Any, text: str) -> None:
    assert fixed_point(value) == text


def test_arrays_give_lists() -> None:
    assert fixed_point([0.5, -1]) == ["500000000000000000", "-1000000000000000000"]
    assert fixed_point(np.eye(2), decimals=1) == [["10", "0"], ["0", "10"]]
    assert fixed_point(jnp.asarray([0.5, 0.25]), decimals=2) == ["50", "25"]
    assert fixed_point([]) == []


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_even", [-2, -2, 0, 0, 2, 2]),
        ("half_up", [-3, -2, -1, 1, 2, 3]),
        ("half_down", [-2, -1, 0, 0, 1, 2]),
        ("floor", [-3, -2, -1, 0, 1, 2]),
        ("ceiling", [-2, -1, 0, 1, 2, 3]),
        ("down", [-2, -1, 0, 0, 1, 2]),
        ("up", [-3, -2, -1, 1, 2, 3]),
    ],
)
def test_ties_go_where_the_rounding_says(rounding: str, expected: list[int]) -> None:
    ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert fixed_point(ties, decimals=0, rounding=rounding) == [str(n) for n in expected]


def test_the_extremes_of_floats_are_exact() -> None:
    largest, smallest = np.finfo(np.float64).max, 5e-324
    assert fixed_point(float(largest), decimals=3) == str(int(largest)) + "000"
    assert fixed_point(smallest, decimals=323, rounding="up") == "1"
    assert fixed_point(smallest, decimals=1074) == str(5**1074)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, [0.5, math.nan], True, "1", None])
def test_what_is_no_finite_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError, match="give finite numbers"):
        fixed_point(wrong)


def test_options_are_checked() -> None:
    for wrong in (-1, 1.5, True):
        with pytest.raises(ParameterError, match="decimals"):
            fixed_point(0.5, decimals=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="choose among half_even"):
        fixed_point(0.5, rounding="nearest")


def test_weights_sum_to_one_exactly() -> None:
    thirds = fixed_point_simplex([1 / 3, 1 / 3, 1 / 3], decimals=4)
    assert thirds == ["3334", "3333", "3333"]
    assert fixed_point_simplex([0.2, 0.3, 0.5], decimals=0) == ["0", "0", "1"]
    assert fixed_point_simplex([0.0, 1.0]) == ["0", "1" + 18 * "0"]
    narrow = jnp.asarray([0.1, 0.2, 0.7], jnp.float32)
    assert sum(map(int, fixed_point_simplex(narrow))) == 10**18
    assert sum(int(text) for text in fixed_point([0.1, 0.2, 0.7])) != 10**18


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.4], "sum to 0.9"),
        ([1.5, -0.5], "at least 0"),
        ([0.5, math.nan], "finite"),
        ([], "at least one number"),
        (0.5, "at least one number"),
        ([[0.5, 0.5]], "at least one number"),
    ],
)
def test_what_are_no_weights_is_refused(weights: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        fixed_point_simplex(weights)
