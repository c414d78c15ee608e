"""Conversions of memory, lambda, k and exponents, against mpmath and out of their domains.

Faults of the original: 5 to 11 (numbers).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ax_jax_runners.errors import MissingParameter, ParameterError
from ax_jax_runners.strategies import (
    calc_alt_lamb,
    calc_lamb,
    calc_lamb_from_index,
    get_log_amplitude,
    get_raw_value,
    inverse_squareplus,
    inverse_squareplus_np,
    jax_logit_lamb_to_lamb,
    jax_memory_days_to_lamb,
    lamb_to_memory,
    lamb_to_memory_days,
    lamb_to_memory_days_clipped,
    logistic_func,
    memory_days_to_lamb,
    memory_days_to_logit_lamb,
    squareplus,
)

CASES = [(days, chunk) for days in (1e-3, 0.5, 10.0, 365.0, 1e4) for chunk in (1, 60, 1440, 10080)]


def exact_decay(days: float, chunk: float) -> mpmath.mpf:
    """The root in (0, 1) of 6 lambda = m^3 (1 - lambda)^3, by bisection."""
    m = mpmath.mpf(1440) * mpmath.mpf(days) / (2 * chunk)
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if 6 * middle > (m * (1 - middle)) ** 3 else (middle, high)
    return low


@pytest.mark.parametrize(("days", "chunk"), CASES)
def test_memory_becomes_lambda_and_its_logit(days: float, chunk: int) -> None:
    with mpmath.workdps(50):
        decay = exact_decay(days, chunk)
        logit = float(mpmath.log(decay / (1 - decay)))
        for convert in (memory_days_to_lamb, jax_memory_days_to_lamb):
            assert abs(convert(days, chunk) / decay - 1) < 1e-12
    assert 0 < memory_days_to_lamb(days, chunk) < 1
    assert memory_days_to_logit_lamb(days, chunk) == pytest.approx(logit, rel=1e-13, abs=1e-12)
    single = jax_memory_days_to_lamb(jnp.float32(days), chunk)
    assert single.dtype == jnp.float32
    assert float(single) == pytest.approx(float(decay), rel=1e-5)
    slope = jax.grad(jax_memory_days_to_lamb)(jnp.float32(days), chunk)
    assert np.isfinite(slope)
    assert slope >= 0


@pytest.mark.parametrize("lamb", [1e-9, 0.1, 0.5, 0.98, 1 - 1e-9])
def test_lambda_becomes_memory(lamb: float) -> None:
    with mpmath.workdps(50):
        m = mpmath.cbrt(6 * mpmath.mpf(lamb)) / (1 - mpmath.mpf(lamb))
        assert lamb_to_memory_days(lamb, 60) == pytest.approx(float(m * 120 / 1440), rel=1e-13)
        assert lamb_to_memory(lamb) == pytest.approx(float(4 * m), rel=1e-13)
    in_days = lamb_to_memory_days(lamb, 60) * 2 * 1440 / 60
    assert lamb_to_memory(lamb) == pytest.approx(in_days, rel=1e-13)


def test_no_memory_is_lambda_zero_and_has_no_logit() -> None:
    assert memory_days_to_lamb(0.0) == 0.0
    assert memory_days_to_lamb([0, 10.0]).tolist() == [0.0, memory_days_to_lamb(10.0)]
    assert lamb_to_memory_days(0.0, 60) == lamb_to_memory(0) == 0.0
    assert jax.grad(jax_memory_days_to_lamb)(0.0) == 0.0
    with pytest.raises(ParameterError, match="0.0 is outside its domain"):
        memory_days_to_logit_lamb(0.0)


@pytest.mark.parametrize("convert", [memory_days_to_lamb, jax_memory_days_to_lamb])
@pytest.mark.parametrize("given", [-1.0, np.inf, [1.0, -2.0], jnp.array([-1.0])])
def test_memories_that_there_are_not_are_refused(convert: Any, given: Any) -> None:
    with pytest.raises(ValueError, match="give values inside"):
        convert(given)


def test_nan_stays_nan_and_arrays_their_kind() -> None:
    assert np.isnan(memory_days_to_lamb(np.nan))
    assert np.isnan(jax_memory_days_to_lamb(jnp.nan))
    assert isinstance(memory_days_to_lamb((3, 4)), np.ndarray)
    assert isinstance(memory_days_to_lamb(jnp.array([3.0])), jax.Array)
    assert np.isnan(jax.jit(jax_memory_days_to_lamb)(-1.0))
    for chunk in (0, -60, "60"):
        with pytest.raises(ParameterError, match="chunk_minutes|finite number"):
            memory_days_to_lamb(1.0, chunk)


def test_the_logistic_function_does_not_overflow() -> None:
    with mpmath.workdps(50):
        exact = float(1 / (1 + mpmath.exp(700)))
    for function in (logistic_func, jax_logit_lamb_to_lamb):
        assert function([-700.0, 0.0, 710.0, 1e6]).tolist() == pytest.approx(
            [exact, 0.5, 1.0, 1.0], rel=1e-13
        )
        assert jax.grad(lambda x, f=function: f(x))(1000.0) == 0.0


def test_memory_is_cut_to_the_longest() -> None:
    given = np.array([0.0, 0.5, 0.9999999, 1.0])
    assert lamb_to_memory_days_clipped(given, 60, 30).tolist() == [
        0.0,
        lamb_to_memory_days(0.5, 60),
        30.0,
        30.0,
    ]
    assert lamb_to_memory_days_clipped(jnp.float32(1.0), 60, 30.0) == 30.0
    assert jax.grad(lambda x: lamb_to_memory_days_clipped(x, 60, 30.0))(1.0) == 0.0
    with pytest.raises(ParameterError, match="1.159 is outside"):
        lamb_to_memory_days_clipped(1.159, 60, 30.0)
    with pytest.raises(ParameterError, match="number of days above 0"):
        lamb_to_memory_days_clipped(0.5, 60, -1.0)
    with pytest.raises(ParameterError, match="outside its domain"):
        lamb_to_memory_days(1.0, 60)


def test_squareplus_keeps_its_digits_and_its_inverse_too() -> None:
    with mpmath.workdps(60):
        for x in (-1e160, -1e8, -1e5, -1.5, 0.0, 2, 1e5, 1e160):
            exact = (mpmath.mpf(x) + mpmath.sqrt(mpmath.mpf(x) ** 2 + 4)) / 2
            if x == -1e160:
                exact = 1 / mpmath.mpf(1e160)
            assert squareplus(x) == pytest.approx(float(exact), rel=1e-15, abs=0)
        for y in (1e-160, 1 - 1e-6, 1 + 1e-6, 3, 1e155, 1e300):
            exact = mpmath.mpf(y) - 1 / mpmath.mpf(y)
            for inverse in (inverse_squareplus, inverse_squareplus_np):
                assert inverse(y) == pytest.approx(float(exact), rel=1e-15, abs=0)
    assert squareplus(3) == (3 + 13**0.5) / 2
    assert squareplus(np.float32(3)).dtype == np.float32
    assert inverse_squareplus(jnp.float32(3)).dtype == jnp.float32
    assert isinstance(inverse_squareplus_np(jnp.array([3.0])), np.ndarray)
    for inverse in (inverse_squareplus, inverse_squareplus_np):
        for y in (0.0, -2.0, [1.0, -1.0]):
            with pytest.raises(ParameterError, match="outside its domain"):
                inverse(y)


def test_raw_values_are_logarithms_to_base_two() -> None:
    assert get_raw_value(8) == 3.0
    assert get_raw_value([0.25, 1.0]).tolist() == [-2.0, 0.0]
    assert get_log_amplitude(40.0, 10.0) == pytest.approx(2.0)
    assert get_log_amplitude([1.0, 4.0], 2.0).tolist() == [-1.0, 1.0]
    for refused in (lambda: get_raw_value(-1.0), lambda: get_log_amplitude(-1.0, -1.0)):
        with pytest.raises(ParameterError, match="outside its domain"):
            refused()


def test_lambda_is_read_from_parameters() -> None:
    params = {"logit_lamb": [0.0, 2.0], "logit_delta_lamb": [1.0, -2.0]}
    sigmoid = [1 / (1 + np.exp(-x)) for x in (0.0, 2.0, 1.0)]
    assert calc_lamb(params).tolist() == pytest.approx(sigmoid[:2])
    assert calc_lamb_from_index(params, 1) == pytest.approx(sigmoid[1])
    assert calc_alt_lamb(params).tolist() == pytest.approx([sigmoid[2], 0.5])
    assert calc_alt_lamb({"logit_lamb": jnp.zeros(2), "logit_delta_lamb": 1.0}).shape == (2,)
    assert params == {"logit_lamb": [0.0, 2.0], "logit_delta_lamb": [1.0, -2.0]}
    with pytest.raises(KeyError, match="no 'logit_lamb'; they have log_k"):
        calc_lamb({"log_k": 1.0})
    for lacking in ({"logit_lamb": 1.0}, {"logit_lamb": 1.0, "logit_delta_lamb": None}):
        with pytest.raises(MissingParameter, match="'logit_delta_lamb'"):
            calc_alt_lamb(lacking)
    with pytest.raises(MissingParameter):
        calc_lamb_from_index({"logit_lamb": None}, 0)
