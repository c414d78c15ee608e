"""Fingerprints of runs, their names, JSON, and dictionaries of arrays.

Faults of the original: 25 (what a fingerprint is of), 26 (what JSON can hold), 28 (dictionaries of
arrays), and defaults that share what they were given.
"""

from __future__ import annotations

import datetime
import json
from copy import deepcopy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError, ParameterError, ResultNotStorable
from ax_jax_runners.strategies import (
    NumpyEncoder,
    check_run_fingerprint,
    default_set,
    default_set_or_get,
    dict_of_jnp_to_list,
    dict_of_jnp_to_np,
    dict_of_np_to_jnp,
    get_run_location,
    recursive_default_set,
)

RUN = {
    "tokens": ["BTC", "ETH"],
    "fees": 0.0,
    "chunk_period": 60,
    "optimisation_settings": {"n_iterations": 100, "optuna_settings": {"n_trials": 20}},
}


@pytest.mark.parametrize(
    "change",
    [
        lambda run: dict(reversed(run.items())),
        lambda run: {**run, "chunk_period": 60.0, "fees": -0.0},
        lambda run: {**run, "chunk_period": np.int64(60), "fees": jnp.float32(0.0)},
        lambda run: {**run, "tokens": ("BTC", "ETH")},
        lambda run: {**run, "tokens": np.array(["BTC", "ETH"])},
        lambda run: {**run, "verbose": True, "results_dir": "elsewhere"},
        lambda run: {
            **run,
            "optimisation_settings": {
                "n_iterations": 100,
                "optuna_settings": {"n_trials": 20, "n_jobs": 4, "storage": {"url": "sqlite://"}},
            },
        },
        lambda run: json.loads(json.dumps(run)),
    ],
)
def test_the_same_run_has_the_same_name(change: Any) -> None:
    changed = change(RUN)
    before = deepcopy(changed)
    assert get_run_location(changed) == get_run_location(RUN)
    assert str(changed) == str(before)


@pytest.mark.parametrize(
    "other",
    [
        {"chunk_period": 61},
        {"fees": 1e-300},
        {"fees": False},
        {"fees": "0.0"},
        {"fees": None},
        {"tokens": ["ETH", "BTC"]},
        {"more": 1},
        {"optimisation_settings": {"n_iterations": 101, "optuna_settings": {"n_trials": 20}}},
        {"chunk_period": 2**60 + 1},
    ],
)
def test_another_run_has_another_name(other: dict[str, Any]) -> None:
    assert get_run_location({**RUN, **other}) != get_run_location(RUN)
    assert get_run_location({"a": 2**60}) != get_run_location({"a": 2**60 + 1})


def test_another_schema_gives_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_run_location(RUN)
    monkeypatch.setattr("ax_jax_runners.strategies.quantamm.fingerprints._SCHEMA", 2)
    assert get_run_location(RUN) != before


def test_defaults_may_be_spelled_out_or_not() -> None:
    defaults = {"gas": 0.5, "optimisation_settings": {"seed": 0, "optuna_settings": {"n": 1}}}
    spelled = deepcopy(RUN)
    recursive_default_set(spelled, defaults)
    assert get_run_location(RUN, defaults=defaults) == get_run_location(spelled, defaults=defaults)
    assert get_run_location(RUN, defaults=defaults) != get_run_location(RUN)
    name = get_run_location(RUN)
    assert name.startswith("run_")
    assert len(name) == 4 + 64


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"a": {"b": np.nan}}, "Setting 'a.b' is nan"),
        ({"a": [1.0, np.inf]}, r"Setting 'a\[1\]' is inf"),
        ({"a": {1: 2}}, "a has the key 1, a int; keys are texts"),
        ({"a": object()}, "Setting 'a' is <object"),
    ],
)
def test_what_has_no_name_is_refused(run: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        get_run_location(run)


def test_weights_have_moved_before_the_next_decision() -> None:
    check_run_fingerprint({"weight_interpolation_period": 60, "chunk_period": 60})
    with pytest.raises(AssertionError, match="is 61, longer than the chunk_period 60"):
        check_run_fingerprint({"weight_interpolation_period": 61, "chunk_period": 60})
    for run in ({"chunk_period": 60}, {"weight_interpolation_period": -1, "chunk_period": 60}):
        with pytest.raises(ConfigurationError, match="number of minutes above 0"):
            check_run_fingerprint(run)


def test_defaults_fill_what_is_missing_or_none() -> None:
    target: dict[str, Any] = {"a": 0, "b": None, "n": {"x": False}, "m": None}
    defaults = {"a": 1, "b": [2], "c": 3, "n": {"x": 4, "y": [5]}, "m": {"z": 6}}
    before = deepcopy(defaults)
    assert recursive_default_set(target, defaults) is None
    assert target == {"a": 0, "b": [2], "c": 3, "n": {"x": False, "y": [5]}, "m": {"z": 6}}
    target["b"].append(9)
    target["n"]["y"].append(9)
    target["m"]["z"] = 9
    assert defaults == before
    with pytest.raises(ConfigurationError, match="'n' is 1; give a dictionary"):
        recursive_default_set({"n": 1}, defaults)


def test_a_default_is_set_or_only_given() -> None:
    settings: dict[str, Any] = {"a": 0}
    assert default_set_or_get(settings, "a", 5) == 0
    assert default_set_or_get(settings, "b", 5, augment=False) == 5
    assert "b" not in settings
    assert default_set_or_get(settings, "b", [5]) is settings["b"]
    shared = [1]
    assert default_set(settings, "c", shared) is None
    assert settings["c"] == shared
    assert settings["c"] is not shared


def test_json_holds_numpy_and_jax_values() -> None:
    day = datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC)
    given = {
        "truth": np.bool_(True),
        "whole": np.int32(3),
        "real": np.float32(0.5),
        "jax": jnp.array([[1, 2]]),
        "scalar": jnp.float32(2.5),
        "nan": [float("nan"), np.float64("inf"), np.array([1.0, np.nan])],
        "when": day,
        "moment": np.datetime64("2024-01-02T03:04", "ns"),
        "nested": ({"x": np.zeros(0)}, None, "text"),
    }
    text = json.dumps(given, cls=NumpyEncoder)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "truth": True,
        "whole": 3,
        "real": 0.5,
        "jax": [[1, 2]],
        "scalar": 2.5,
        "nan": [None, None, [1.0, None]],
        "when": "2024-01-02T03:04:00+00:00",
        "moment": "2024-01-02T03:04:00.000000000",
        "nested": [{"x": []}, None, "text"],
    }
    for value in (object(), 1j, np.complex64(1), {1, 2}):
        with pytest.raises(ResultNotStorable, match="has no place in JSON"):
            json.dumps({"a": value}, cls=NumpyEncoder)
    assert NumpyEncoder().default(np.int64(4)) == 4


def test_dictionaries_of_arrays_are_converted_into_new_ones() -> None:
    nested = [{"log_k": [1.0]}]
    given = {"a": [1.0, 2.0], "n": 3, "s": "text", "none": None, "subsidary_params": nested}
    before = deepcopy(given)
    as_jax = dict_of_np_to_jnp({**given, "m": [{"sharpe": 1.0}]})
    assert isinstance(as_jax["a"], jax.Array)
    assert isinstance(as_jax["n"], jax.Array)
    assert (as_jax["s"], as_jax["none"]) == ("text", None)
    assert as_jax["m"] == [{"sharpe": 1.0}]
    assert as_jax["subsidary_params"] is nested
    as_numpy = dict_of_jnp_to_np(as_jax)
    assert type(as_numpy["a"]) is np.ndarray
    assert isinstance(as_jax["a"], jax.Array)
    assert dict_of_jnp_to_list(as_jax) == {**before, "m": [{"sharpe": 1.0}]}
    assert given == before
    with pytest.raises(ParameterError, match="'a' holds lists of different lengths"):
        dict_of_np_to_jnp({"a": [[1.0], [1.0, 2.0]]})
