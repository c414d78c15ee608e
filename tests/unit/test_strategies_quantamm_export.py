"""Parameters as they are deployed: one cut of the memory, exact decimals, the shape of the sets.

Faults of the original: 12 (one cut), 41 (fixed point), 42 (k without lambda, shapes, lists).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ax_jax_runners.errors import MissingParameter, ParameterError
from ax_jax_runners.strategies import (
    convert_parameter_values,
    lamb_to_memory_days,
    memory_days_to_lamb,
    memory_days_to_logit_lamb,
)

RUN = {"chunk_period": 60}


def test_every_parameter_becomes_what_it_stands_for() -> None:
    params = {
        "logit_lamb": [memory_days_to_logit_lamb(days, 60) for days in (10.0, 20.0)],
        "log_k": [1.0, -1.0],
        "raw_exponents": [0.0, -1.5],
        "raw_width": [2.0, -2.0],
        "log_amplitude": [0.0, 3.0],
        "logit_pre_exp_scaling": [0.0, 1.0],
        "initial_weights_logits": [1.0, 1.0],
        "subsidary_params": [],
    }
    found = convert_parameter_values(params, RUN)
    values = found["values"]
    assert values["lamb"] == pytest.approx([memory_days_to_lamb(d, 60) for d in (10.0, 20.0)])
    assert values["k"] == pytest.approx([20.0, 10.0], rel=1e-13)
    assert values["exponents"] == pytest.approx([1.0, 0.5], rel=1e-15)
    assert values["width"] == [4.0, 0.25]
    assert values["amplitude"] == pytest.approx([10.0, 160.0], rel=1e-13)
    assert values["pre_exp_scaling"] == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    assert set(values) == {"lamb", "k", "exponents", "width", "amplitude", "pre_exp_scaling"}
    assert found["strings"]["width"] == ["4000000000000000000", "250000000000000000"]
    for name, listed in values.items():
        for number, text in zip(listed, found["strings"][name], strict=True):
            assert abs(Fraction(number) * 10**18 - int(text)) <= Fraction(1, 2)


@pytest.mark.parametrize("logit", [20.0, 40.0, 800.0])
def test_lambda_and_k_belong_to_the_same_cut_memory(logit: float) -> None:
    params = {"logit_lamb": [logit, 0.0], "log_k": [0.0, 0.0], "log_amplitude": [1.0, 1.0]}
    for found in (
        convert_parameter_values(params, RUN, max_memory_days=30),
        convert_parameter_values(params, {**RUN, "max_memory_days": 30}),
    ):
        values = found["values"]
        assert values["k"][0] == 30.0
        assert values["amplitude"][0] == 60.0
        assert lamb_to_memory_days(values["lamb"][0], 60) == pytest.approx(30.0, rel=1e-10)
        assert values["lamb"][1] == 0.5
        assert values["k"][1] == pytest.approx(float(mpmath.cbrt(3) / 0.5 * 120 / 1440))
    assert convert_parameter_values(params, RUN)["values"]["k"][0] == 365.0


def test_fixed_point_is_exact_and_has_a_sign() -> None:
    found = convert_parameter_values(
        {"logit_lamb": memory_days_to_logit_lamb(1.0, 60), "k": [-0.5, 0.0, -0.0, 2.0**70]}, RUN
    )
    days = found["values"]["k"][3] / 2.0**70
    assert days == pytest.approx(1.0)
    assert found["strings"]["k"][1:3] == ["0", "0"]
    assert found["strings"]["k"][0] == str(-round(Fraction(0.5 * days) * 10**18))
    assert found["strings"]["k"][3] == str(int(found["values"]["k"][3]) * 10**18)
    assert len(found["strings"]["lamb"]) == 1
    for width in (np.nan, 2000.0):
        with pytest.raises(ParameterError, match="has no fixed point"):
            convert_parameter_values({"raw_width": [width]}, RUN)


@pytest.mark.parametrize("kind", [list, np.array, jnp.array])
def test_sets_stay_apart(kind: Any) -> None:
    found = convert_parameter_values({"raw_width": kind([[1.0, 2.0, 3.0], [0.0, 0.0, -1.0]])}, RUN)
    assert found["values"]["width"] == [[2.0, 4.0, 8.0], [1.0, 1.0, 0.5]]
    assert found["strings"]["width"][1] == ["1" + "0" * 18, "1" + "0" * 18, "5" + "0" * 17]


def test_k_without_a_memory_is_refused_and_none_is_nothing() -> None:
    for name in ("log_k", "k", "log_amplitude"):
        with pytest.raises(MissingParameter, match=f"'{name}' counts in units of the memory"):
            convert_parameter_values({name: [1.0], "logit_lamb": None}, RUN)
    names = "logit_lamb log_k k raw_exponents raw_width log_amplitude raw_pre_exp_scaling"
    nothing: dict[str, Any] = dict.fromkeys([*names.split(), "logit_pre_exp_scaling"])
    assert convert_parameter_values(nothing, RUN) == {"values": {}, "strings": {}}
    logit = convert_parameter_values({**nothing, "logit_pre_exp_scaling": [0.0]}, RUN)
    assert logit["values"] == {"pre_exp_scaling": [0.5]}
    with pytest.raises(KeyError, match="'chunk_period'"):
        convert_parameter_values({"logit_lamb": [1.0]}, {})
    with pytest.raises(ParameterError, match="max_memory_days is 0"):
        convert_parameter_values({"logit_lamb": [1.0]}, RUN, 0)
    raw = convert_parameter_values({"raw_pre_exp_scaling": 3.0, "logit_pre_exp_scaling": 0.0}, RUN)
    assert raw["values"]["pre_exp_scaling"] == [8.0]
