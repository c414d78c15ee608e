"""Grids, batches and axes of parameters.

Faults of the original: 18 (a number in the place of a flag), 19 (the logarithm as the value),
20 (stacking of nested parameters), 21 (shared nested values, NumPy scalars), 22 (axes), 24 (the
range with zero).
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.strategies import (
    combine_param_combinations,
    create_product_of_arrays,
    create_product_of_linspaces,
    generate_params_combinations,
    generate_run_fingerprint_combinations,
    init_params_singleton,
    make_log_range_with_zero,
    make_vmap_in_axes_dict,
    split_param_combinations,
)

VALUES = {"initial_memory_length": 10.0, "initial_k_per_day": 20.0}


def test_the_last_key_of_a_grid_changes_fastest() -> None:
    grid = create_product_of_linspaces({"c": 1}, {"a": (0, 1), "b": (2, 4)}, {"a": 2, "b": 3})
    assert grid == [{"c": 1, "a": a, "b": b} for a in (0.0, 1.0) for b in (2.0, 3.0, 4.0)]
    assert len(create_product_of_linspaces({}, {"a": (0, 1)}, {})) == 10
    squares = create_product_of_linspaces({}, {"a": (0, 2)}, {"a": 3}, {"a": np.square})
    assert [point["a"] for point in squares] == [0.0, 1.0, 4.0]


def test_points_share_nothing_and_hold_plain_numbers() -> None:
    params = {"settings": {"tokens": ["BTC"]}}
    before = deepcopy(params)
    grids: list[list[dict[str, Any]]] = [
        create_product_of_linspaces(params, {"a": (0, 1)}, {"a": 2}),
        create_product_of_arrays(params, {"a": np.arange(2), "b": [["x"], ["y"]]}),
        generate_run_fingerprint_combinations(params),
    ]
    for grid in grids:
        json.dumps(grid)
        grid[0]["settings"]["tokens"].append("ETH")
        assert grid[1]["settings"] == before["settings"]
    assert params == before
    assert [(p["a"], p["b"]) for p in grids[1]] == [(a, [b]) for a in (0, 1) for b in "xy"]
    assert type(grids[1][0]["a"]) is int
    grids[1][0]["b"].append("z")
    assert grids[1][2]["b"] == ["x"]
    mapped = create_product_of_linspaces({}, {"a": (0, 1)}, {"a": 2}, {"a": np.exp})
    assert {type(point["a"]) for point in [*grids[0], *mapped]} == {float}


def test_grids_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(ParameterError, match="num_points_per_key has 'aa'"):
        create_product_of_linspaces({}, {"a": (0, 1)}, {"aa": 2})
    with pytest.raises(ParameterError, match="inverse_funcs has 'b'"):
        create_product_of_linspaces({}, {"a": (0, 1)}, {}, {"b": np.exp})
    with pytest.raises(ParameterError, match="returned the shape"):
        create_product_of_linspaces({}, {"a": (0, 1)}, {}, {"a": np.sum})
    with pytest.raises(ParameterError, match="not finite"):
        create_product_of_linspaces({}, {"a": (0, np.inf)}, {})
    with pytest.raises(ParameterError, match="'a' has no values"):
        create_product_of_arrays({}, {"a": []})


def test_arbitrage_frequencies_are_logarithmic_from_one_to_a_hundred() -> None:
    found = [p["arb_frequency"] for p in generate_run_fingerprint_combinations({"fees": 0.0})]
    assert found == pytest.approx([10 ** (2 * i / 9) for i in range(10)], rel=1e-12)
    own = generate_run_fingerprint_combinations(
        {}, num_points_per_key={"arb_frequency": 3}, inverse_funcs={"arb_frequency": np.exp}
    )
    assert [p["arb_frequency"] for p in own] == pytest.approx([1.0, 10.0, 100.0])
    fees = generate_run_fingerprint_combinations({}, {"fees": (0.0, 0.1)}, {"fees": 2})
    assert [p["fees"] for p in fees] == [0.0, 0.1]


def test_a_logarithmic_range_may_begin_at_zero() -> None:
    assert make_log_range_with_zero(0) == 0
    assert make_log_range_with_zero(1.0) == pytest.approx(np.e)
    assert make_log_range_with_zero([0.0, -1.0]).tolist() == pytest.approx([0.0, 1 / np.e])
    grid = create_product_of_linspaces({}, {"a": (0, 2)}, {"a": 3}, {"a": make_log_range_with_zero})
    assert [point["a"] for point in grid] == pytest.approx([0.0, np.e, np.e**2])


@pytest.mark.parametrize("sets", [0, 1, 4])
def test_the_number_of_sets_does_not_change_what_k_is(sets: int) -> None:
    params, values = generate_params_combinations(VALUES, 2, 0, 60, sets, (1, 4), (5, 10), 2, 3)
    assert [(v["initial_k_per_day"], v["initial_memory_length"]) for v in values] == [
        (k, days) for k in (1.0, 4.0) for days in (5.0, 7.5, 10.0)
    ]
    assert [p["log_k"].tolist() for p in params] == [[0.0, 0.0]] * 3 + [[2.0, 2.0]] * 3
    for each, value in zip(params, values, strict=True):
        alone = init_params_singleton(value, 2)
        np.testing.assert_array_equal(each["logit_lamb"], alone["logit_lamb"])
    linear, _ = generate_params_combinations(
        VALUES, 2, 0, 60, sets, (-1, 4), (5, 10), 2, 1, log_for_k=False
    )
    assert [p["k"].tolist() for p in linear] == [[-1.0, -1.0], [4.0, 4.0]]


def composite(number: float) -> dict[str, Any]:
    nested = [{"log_k": jnp.full(n, number), "subsidary_params": []} for n in (2, 3)]
    return {"subsidary_params": nested, "log_k": jnp.full(2, number), "rule_outputs_dict": {}}


def test_what_is_combined_is_split_into_the_same() -> None:
    for make in (composite, lambda n: init_params_singleton({**VALUES, "initial_raw_width": n}, 2)):
        singles = [make(float(n)) for n in range(5)]
        batches = combine_param_combinations(singles, 2)
        assert [len(batch["log_k"]) for batch in batches] == [2, 2, 1]
        again = split_param_combinations(batches)
        assert len(again) == 5
        for one, other in zip(singles, again, strict=True):
            assert jax.tree.structure(one) == jax.tree.structure(other)
            jax.tree.map(np.testing.assert_array_equal, one, other)
    combined = combine_param_combinations([composite(1.0), composite(2.0)], 2)[0]
    assert combined["subsidary_params"][1]["log_k"].tolist() == [[1.0] * 3, [2.0] * 3]


def test_sets_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ParameterError, match="structure"):
        combine_param_combinations([{"a": jnp.ones(2)}, {"b": jnp.ones(2)}], 2)
    with pytest.raises(ParameterError, match="at least 1"):
        combine_param_combinations([composite(1.0)], 0)
    with pytest.raises(ParameterError, match="leading axes"):
        split_param_combinations([{"a": jnp.ones(2), "b": jnp.ones(3)}])
    with pytest.raises(ParameterError, match="leading axes"):
        split_param_combinations([{"subsidary_params": []}])


def test_axes_have_the_structure_of_what_is_nested() -> None:
    params = combine_param_combinations([composite(1.0), composite(2.0)], 2)[0]
    params["weights"] = jnp.arange(3.0)
    before = jax.tree.structure(params)
    axes = make_vmap_in_axes_dict(params, 0, ["subsidary_params"], ["weights"], 2)
    nested = {"log_k": 0, "subsidary_params": []}
    assert axes == {
        "subsidary_params": [nested, nested],
        "log_k": 0,
        "rule_outputs_dict": 0,
        "weights": None,
    }
    assert axes["subsidary_params"][0] is not axes["subsidary_params"][1]
    assert jax.tree.structure(params) == before
    total = jax.vmap(
        lambda p: p["log_k"].sum() + p["subsidary_params"][1]["log_k"].sum() + p["weights"].sum(),
        in_axes=(axes,),
    )(params)
    assert total.tolist() == [8.0, 13.0]
    assert make_vmap_in_axes_dict({"a": 1, "b": 2}, 1, []) == {"a": 1, "b": 1}
    assert make_vmap_in_axes_dict(params, 0, [], ["subsidary_params"])["subsidary_params"] is None


def test_axes_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(ParameterError, match="'weihgts' is no key"):
        make_vmap_in_axes_dict({"a": 1}, 0, [], ["weihgts"])
    with pytest.raises(ParameterError, match="'subsidary_params' is no key"):
        make_vmap_in_axes_dict({"a": 1}, 0, ["subsidary_params"], [], 1)
    with pytest.raises(ParameterError, match="holds 2; give the number"):
        make_vmap_in_axes_dict(composite(1.0), 0, ["subsidary_params"], [], 3)
