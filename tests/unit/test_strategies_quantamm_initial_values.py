"""Raw parameters from initial values: shapes, schema, noise, subsidiary pools, completion.

Faults of the original: 13 (arrays as scalars), 14 (ranks), 15 (schema), 16 (arrays, noise),
17 (ends of an interval), 23 (chunks of subsidiary pools), 24 (broadcasting).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import MissingParameter, ParameterError
from ax_jax_runners.strategies import (
    fill_in_missing_values_from_init,
    fill_in_missing_values_from_init_singleton,
    init_params,
    init_params_singleton,
    make_composite_run_params,
    memory_days_to_logit_lamb,
    process_initial_values,
)

VALUES = {"initial_memory_length": 10.0, "initial_k_per_day": 20.0}
FULL = {
    **VALUES,
    "initial_memory_length_delta": 5.0,
    "initial_weights_logits": 1.0,
    "initial_log_amplitude": 0.5,
    "initial_raw_width": -1.0,
    "initial_raw_exponents": 2.0,
    "initial_pre_exp_scaling": 0.25,
}
NAMES = {
    "log_k",
    "logit_lamb",
    "logit_delta_lamb",
    "initial_weights_logits",
    "log_amplitude",
    "raw_width",
    "raw_exponents",
    "logit_pre_exp_scaling",
}


def arrays(params: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(v) for name, v in params.items() if name != "subsidary_params"}


def test_every_parameter_has_the_same_rank() -> None:
    with jax.enable_x64(True):
        single = init_params_singleton(FULL, 3, 1)
        several = init_params(FULL, 3, 1, n_parameter_sets=2)
        short, long = (memory_days_to_logit_lamb(days, 60) for days in (10.0, 15.0))
    assert single["subsidary_params"] == several["subsidary_params"] == []
    expected = {
        "log_k": np.log2(20.0),
        "logit_lamb": short,
        "logit_delta_lamb": long - short,
        "initial_weights_logits": 1.0,
        "log_amplitude": 0.5,
        "raw_width": -1.0,
        "raw_exponents": 2.0,
        "logit_pre_exp_scaling": np.log(0.25 / 0.75),
    }
    assert set(arrays(single)) == set(arrays(several)) == NAMES
    for name, value in expected.items():
        np.testing.assert_allclose(single[name], np.full(4, value), rtol=1e-14)
        np.testing.assert_array_equal(several[name][0], single[name])
        assert several[name].shape == (2, 4)


def test_what_is_optional_is_so_for_one_set_and_for_several() -> None:
    neutral = {"initial_memory_length_delta": None, "initial_pre_exp_scaling": 0.5}
    for make in (init_params_singleton, init_params):
        bare, spelled = arrays(make(VALUES, 2)), arrays(make({**VALUES, **neutral}, 2))
        for name in NAMES - {"log_k", "logit_lamb"}:
            np.testing.assert_array_equal(bare[name], np.zeros_like(bare[name]))
            np.testing.assert_array_equal(bare[name], spelled[name])
        for name in VALUES:
            with pytest.raises(MissingParameter, match=f"no '{name}', which has no default"):
                make({k: v for k, v in VALUES.items() if k != name}, 2)


def test_k_is_logarithmic_or_plain() -> None:
    plain = init_params_singleton({**VALUES, "initial_k_per_day": -3.0}, 2, log_for_k=False)
    assert "log_k" not in plain
    assert plain["k"].tolist() == [-3.0, -3.0]
    with pytest.raises(ParameterError, match="'log_k'.*-3.0 is outside"):
        init_params_singleton({**VALUES, "initial_k_per_day": -3.0}, 2)


@pytest.mark.parametrize("kind", [list, tuple, np.array, jnp.array])
@pytest.mark.parametrize("name", FULL)
def test_a_value_for_each_asset_may_be_any_sequence(kind: Any, name: str) -> None:
    given = [0.2, 0.5, 0.75]
    plain = init_params({**FULL, name: given}, 3, n_parameter_sets=2)
    for params in (
        init_params({**FULL, name: kind(given)}, 3, n_parameter_sets=2),
        init_params({**FULL, name: np.array([given, given])}, 3, n_parameter_sets=2),
    ):
        for key, value in arrays(params).items():
            assert value.shape == (2, 3)
            np.testing.assert_allclose(value, plain[key], rtol=1e-6)
    single = init_params_singleton({**FULL, name: kind(given)}, 3)
    assert all(value.shape == (3,) for value in arrays(single).values())
    assert any(len(set(value.tolist())) == 3 for value in arrays(single).values())


def test_a_shape_that_does_not_fit_is_refused() -> None:
    for given in ([1.0, 2.0], np.ones((3, 2)), [[1.0]] * 4):
        with pytest.raises(ParameterError, match="'initial_weights_logits' has the shape"):
            init_params({**VALUES, "initial_weights_logits": given}, 3, n_parameter_sets=2)


def test_noise_is_drawn_from_a_seed_and_scaled_by_parameter() -> None:
    first, again, other = (
        arrays(init_params(FULL, 3, n_parameter_sets=4, seed=seed)) for seed in (1, 1, 2)
    )
    exact = arrays(init_params(FULL, 3))
    for name, value in first.items():
        np.testing.assert_array_equal(value[:1], exact[name])
        np.testing.assert_array_equal(value, again[name])
        assert len(np.unique(value[1:] - exact[name])) == 9
        assert not np.any(value[1:] == other[name][1:])
    scale = {**dict.fromkeys(NAMES, 0.0), "log_k": 0.1}
    scaled = arrays(init_params(FULL, 3, n_parameter_sets=4, seed=1, scale=scale))
    np.testing.assert_allclose(
        scaled["log_k"] - exact["log_k"], 0.1 * (first["log_k"] - exact["log_k"]), atol=1e-6
    )
    assert all(np.ptp(v, axis=0).max() == 0 for name, v in scaled.items() if name != "log_k")
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    init_params(FULL, 3, n_parameter_sets=4)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]
    with pytest.raises(ParameterError, match="'uniform'; the only kind is 'gaussian'"):
        init_params(FULL, 3, n_parameter_sets=4, noise="uniform")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_pre_exp_scaling", 0.0),
        ("initial_pre_exp_scaling", 1.0),
        ("initial_memory_length", 0.0),
        ("initial_memory_length", np.nan),
        ("initial_memory_length_delta", -10.0),
    ],
)
def test_values_without_a_raw_number_are_refused(name: str, value: float) -> None:
    for make in (init_params_singleton, init_params):
        with pytest.raises(ParameterError, match="outside its domain|above 0 and finite|finite"):
            make({**FULL, name: value}, 2)


POOLS = [
    {"tokens": ["BTC", "ETH"], "initial_memory_length": 5.0, "initial_k_per_day": 2.0},
    {
        "tokens": ["BTC", "ETH", "SOL"],
        "initial_memory_length": 7.0,
        "initial_k_per_day": 4.0,
        "chunk_period": 1440,
    },
]


def test_subsidiary_pools_have_lambda_of_their_own_chunks() -> None:
    composite = {"log_k": np.ones(2), "subsidary_params": ["old"]}
    before = deepcopy(composite)
    made = make_composite_run_params(composite, POOLS, VALUES, 2, chunk_period=30)
    first, second = made["subsidary_params"]
    assert first["logit_lamb"].shape == (2, 2)
    assert second["logit_lamb"].shape == (2, 3)
    assert first["logit_lamb"][0, 0] == pytest.approx(memory_days_to_logit_lamb(5.0, 30), rel=1e-6)
    assert second["logit_lamb"][0, 0] == pytest.approx(
        memory_days_to_logit_lamb(7.0, 1440), rel=1e-6
    )
    assert second["log_k"][0].tolist() == [2.0, 2.0, 2.0]
    noise = [pool["raw_width"][1, :2].tolist() for pool in (first, second)]
    assert noise[0] != noise[1]
    assert composite["subsidary_params"] == before["subsidary_params"]
    assert made["log_k"] is not composite["log_k"]
    with pytest.raises(MissingParameter, match="Subsidiary pool 0 has no 'tokens'"):
        make_composite_run_params({}, [{**VALUES}], VALUES, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (2, [[2.0, 2.0, 2.0]] * 2),
        ([2.0], [[2.0, 2.0, 2.0]] * 2),
        ((1, 2, 3), [[1.0, 2.0, 3.0]] * 2),
        (np.array([[1.0, 2.0, 3.0]]), [[1.0, 2.0, 3.0]] * 2),
        (jnp.array([1.0, 2.0, 3.0]), [[1.0, 2.0, 3.0]] * 2),
        ([[1, 2, 3], [4, 5, 6]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    ],
)
def test_initial_values_spread_over_sets_and_assets(given: Any, expected: Any) -> None:
    found = process_initial_values({"a": given}, "a", 3, 2)
    assert found.tolist() == expected
    assert found.flags.writeable
    assert not np.shares_memory(found, given)


def test_initial_values_of_other_shapes_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"give a number, 6 numbers .* of the shape \(4, 6\)"):
        process_initial_values({"a": np.ones((2, 3))}, "a", 6, 4)
    for one in ([7.0], (7.0,), np.array([7.0]), jnp.array([7.0]), np.array(7.0)):
        found = process_initial_values({"a": one}, "a", 3, 2, force_scalar=True)
        assert found.tolist() == [7.0, 7.0]
    assert process_initial_values({"a": [7, 8]}, "a", 3, 2, True).tolist() == [7.0, 8.0]
    for given in ([1.0, 2.0, 3.0], "a", [[1.0], [2.0, 3.0]]):
        with pytest.raises(ValueError, match="of the shape"):
            process_initial_values({"a": given}, "a", 3, 2, force_scalar=True)
    with pytest.raises(ValueError, match="no 'b'"):
        process_initial_values({"a": 1.0}, "b", 3, 2)


def test_only_what_is_missing_is_filled_in_and_in_a_copy() -> None:
    params = {"logit_lamb": jnp.zeros(2), "raw_width": None, "note": "kept"}
    before = dict(params)
    filled = fill_in_missing_values_from_init_singleton(params, FULL, 2)
    assert params == before
    assert set(filled) == NAMES | {"subsidary_params", "note"}
    assert filled["logit_lamb"] is params["logit_lamb"]
    assert filled["raw_width"].tolist() == [-1.0, -1.0]
    linear = fill_in_missing_values_from_init_singleton({"k": jnp.ones(2)}, FULL, 2)
    assert "log_k" not in linear
    several = fill_in_missing_values_from_init(
        {"logit_lamb": jnp.zeros((2, 2))}, FULL, 2, n_parameter_sets=2
    )
    np.testing.assert_array_equal(
        several["raw_width"], init_params(FULL, 2, n_parameter_sets=2)["raw_width"]
    )
    with pytest.raises(ParameterError, match="has 2 sets where n_parameter_sets is 1"):
        fill_in_missing_values_from_init({"logit_lamb": jnp.zeros((2, 2))}, FULL, 2)
