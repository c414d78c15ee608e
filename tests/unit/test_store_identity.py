"""An id says what decides a result: the same for the same, another for anything else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.store.identity import Setting, canonical, evaluation_id, resolve, run_id

SCHEMA = {
    "rule": Setting(str, "momentum"),
    "fees": Setting(float, 0.0),
    "period": Setting(int, 1440),
    "initial": Setting(float, (1.0, 2.0)),
    "optimiser": {"rate": Setting(float, 0.1), "adam": Setting(bool, True)},
    "workers": Setting(int, 1, decides=False),
    "folder": Setting(str, ".", decides=False),
}

scalars = (
    st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.none()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
specifications = st.dictionaries(st.text(max_size=4), values, max_size=5)


def identity(specification: Mapping[str, Any], **options: Any) -> str:
    return run_id(specification, **{"code": "1", **options})


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return tuple(map(reordered, value)) if isinstance(value, list) else value


@given(specifications)
def test_the_order_of_keys_plays_no_part(specification: dict[str, Any]) -> None:
    assert identity(specification) == identity(reordered(specification))


@given(specifications)
def test_a_specification_read_back_from_json_is_the_same(specification: dict[str, Any]) -> None:
    text = json.dumps(specification, indent=2)
    assert identity(json.loads(text)) == identity(specification)


@given(specifications, specifications)
def test_what_differs_has_another_text(one: dict[str, Any], other: dict[str, Any]) -> None:
    # Python's own reading of the text; repr tells 1 from 1.0 and True, as the text must.
    def typed(value: Any) -> Any:
        if isinstance(value, dict):
            return "map", frozenset((key, typed(item)) for key, item in value.items())
        if isinstance(value, list):
            return "list", tuple(map(typed, value))
        return type(value), value + 0.0 if isinstance(value, float) else value

    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "rule": st.text(max_size=5),
            "fees": st.integers(0, 9) | st.floats(0, 1),
            "period": st.integers(1, 10_000),
            "optimiser": st.fixed_dictionaries({}, optional={"rate": st.floats(0, 1)}),
        },
    )
)
def test_defaults_spelled_out_change_nothing(given_keys: dict[str, Any]) -> None:
    spelled_out = resolve(given_keys, SCHEMA)
    before = json.dumps(given_keys)
    assert identity(spelled_out, schema=SCHEMA) == identity(given_keys, schema=SCHEMA)
    assert json.dumps(given_keys) == before


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("reg"))
def test_how_a_number_is_written_plays_no_part(number: float, form: str) -> None:
    written = {"r": repr(number), "e": f"{number:.17e}", "g": str(Decimal(number))}[form]
    for same in (float(written), np.float64(number), np.array(number), np.array([number])[0]):
        assert identity({"fees": same}, schema=SCHEMA) == identity({"fees": number}, schema=SCHEMA)


@given(st.integers(-(2**53), 2**53))
def test_a_declared_type_makes_1_and_1_point_0_one_number(number: int) -> None:
    for key in ("fees", "period"):
        ids = {identity({key: kind(number)}, schema=SCHEMA) for kind in (int, float, np.float64)}
        assert len(ids) == 1
    assert identity({"period": number}) != identity({"period": float(number)})


def test_execution_settings_take_no_part() -> None:
    here = identity({"workers": 1, "folder": "/scratch"}, schema=SCHEMA)
    assert here == identity({"workers": 64}, schema=SCHEMA) == identity({}, schema=SCHEMA)


def test_code_data_and_settings_do() -> None:
    base = identity({"fees": 0.0})
    others = [
        identity({"fees": 0.0}, code="2"),
        identity({"fees": 0.0}, data="prices"),
        identity({"fees": 0.1}),
        identity({"fee": 0.0}),
        evaluation_id(base, {}),
    ]
    assert len({base, *others}) == 6


def test_the_schema_is_part_of_every_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity({}), evaluation_id("run", {})
    monkeypatch.setattr("ax_jax_runners.store.identity.SCHEMA", 2)
    after = identity({}), evaluation_id("run", {})
    assert len({*before, *after}) == 4


def test_zero_has_no_sign() -> None:
    assert identity({"x": -0.0}) == identity({"x": 0.0})
    signed, plain = np.array([-0.0, 1.0]), np.array([0.0, 1.0])
    assert identity({"x": signed}) == identity({"x": plain})


def test_an_array_is_its_dtype_shape_and_bytes() -> None:
    array = np.arange(6.0).reshape(2, 3)
    same = [array.copy(order="F"), array.astype(">f8"), array[:, ::-1][:, ::-1]]
    assert {identity({"x": each}) for each in same} == {identity({"x": array})}
    others = [array.T, array.ravel(), array.astype(np.float32), array + 1e-15, array.tolist()]
    assert len({identity({"x": each}) for each in [array, *others]}) == 6
    assert identity({"x": jnp.arange(3)}) == identity({"x": np.arange(3, dtype=np.int32)})


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": {"b": float("nan")}}, "'a.b' is nan"),
        ({"a": [1.0, float("inf")]}, "'a.1' is inf"),
        ({"a": np.array([np.nan])}, "'a' is an array with NaN"),
        ({"a": {1: 2}}, "'a' has the key 1"),
        ({"a": {1, 2}}, "'a' is a set"),
        ({"a": b"bytes"}, "'a' is a bytes"),
        ({"a": np.array(["x"])}, "'a' is an array of <U1"),
        ({"a": 1j}, "'a' is a complex"),
    ],
)
def test_what_has_no_canonical_form_is_refused_where_it_stands(value: Any, place: str) -> None:
    with pytest.raises(ConfigurationError, match=place):
        identity(value)


@pytest.mark.parametrize(
    ("given_keys", "complaint"),
    [
        ({"feees": 0.1}, "'feees' is not known; the keys are rule, fees"),
        ({"optimiser": {"adam": 1}}, r"'optimiser.adam' is 1, not a bool"),
        ({"period": 1.5}, "'period' is 1.5, not a int"),
        ({"fees": "0.1"}, "'fees' is '0.1', not a float"),
        ({"fees": True}, "'fees' is True"),
        ({"optimiser": 3}, "give a mapping"),
    ],
)
def test_keys_and_values_that_are_not_declared_are_refused(
    given_keys: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        identity(given_keys, schema=SCHEMA)
    with pytest.raises(ConfigurationError, match="'size' is missing"):
        identity({}, schema={"size": Setting(int)})


def test_an_evaluation_is_its_run_parameters_key_and_fidelity() -> None:
    run = identity({})
    ids = [
        evaluation_id(run, {"x": 1.0, "n": 2}),
        evaluation_id(run, {"x": 1.0, "n": 3}),
        evaluation_id(run, {"x": 1.0, "n": 2}, 0),
        evaluation_id(run, {"x": 1.0, "n": 2}, (0, 3, 0)),
        evaluation_id(run, {"x": 1.0, "n": 2}, None, 0.5),
        evaluation_id(identity({}, code="2"), {"x": 1.0, "n": 2}),
    ]
    assert len(set(ids)) == 6
    assert evaluation_id(run, {"n": np.int64(2), "x": np.float64(1)}) == ids[0]


def test_an_id_is_the_same_in_every_process() -> None:
    specification = {"a": [1, 2.5, None], "b": {"ä": "ü"}, "c": [[0.1]]}
    code = (
        "import sys, json; from ax_jax_runners.store.identity import run_id; "
        "print(run_id(json.loads(sys.argv[1]), code='1'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(specification)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == identity(specification)
