"""Measures of performance against cases computed by hand, and the windows they are taken in."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.strategies import (
    MEASURES,
    Market,
    PoolPath,
    Track,
    Windows,
    measure,
    momentum_pool,
)


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def track(value, prices=None, weights=(0.5, 0.5), **options) -> Track:
    value = np.array(value, float)
    held = np.ones((len(value), 2)) if prices is None else np.array(prices, float)
    return Track(value, held, np.array(weights), **options)


#: Up 10 %, down 20 %, up 50 %, down 10 %.
ROUGH = [100.0, 110.0, 88.0, 132.0, 118.8]


def test_every_measure_of_a_case_computed_by_hand():
    prices = [[10.0, 4.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [12.0, 3.0]]
    found = measure(track(ROUGH, prices, (0.25, 0.75), days_per_year=2.0))
    returns = np.array([0.1, -0.2, 0.5, -0.1])
    logs = np.log(1 + returns)
    assert found["return"] == pytest.approx(0.188)
    assert found["annualised_return"] == pytest.approx(1.188**0.5 - 1)
    assert found["sharpe"] == pytest.approx(math.sqrt(2) * returns.mean() / returns.std(ddof=1))
    assert found["daily_log_sharpe"] == pytest.approx(math.sqrt(2) * logs.mean() / logs.std(ddof=1))
    # Held from the first row: a quarter grows by 20 %, three quarters lose 25 %.
    assert found["return_over_hodl"] == pytest.approx(1.188 / (0.25 * 1.2 + 0.75 * 0.75) - 1)
    assert found["return_over_uniform_hodl"] == pytest.approx(1.188 / (0.6 + 0.375) - 1)
    assert found["drawdown"] == pytest.approx(0.2)
    assert found["calmar"] == pytest.approx((1.188**0.5 - 1) / 0.2)
    # Years of two rows: the largest losses are 20 % and 10 %.
    assert found["sterling"] == pytest.approx((1.188**0.5 - 1) / (0.15 + 0.1))
    assert found["ulcer"] == pytest.approx(math.sqrt((0.2**2 + 0.1**2) / 5))
    assert set(found) == set(MEASURES)


def test_returns_over_held_assets_are_not_plain_returns():
    prices = np.exp(np.cumsum(np.random.default_rng(1).normal(size=(60, 3)) * 0.05, axis=0))
    path = momentum_pool(
        prices,
        memory_days=5.0,
        k_per_day=2.0,
        chunk_period=1440,
        weight_interpolation_period=1440,
        maximum_change=0.05,
        minimum_weight=0.03,
        initial_weights=[0.2, 0.3, 0.5],
    )
    found = measure(Track(path.value, prices, path.weights[0]))
    plain, held, uniform = (
        float(found[name]) for name in ("return", "return_over_hodl", "return_over_uniform_hodl")
    )
    grown = prices[-1] / prices[0]
    assert held == pytest.approx((1 + plain) / (np.array([0.2, 0.3, 0.5]) @ grown) - 1)
    assert uniform == pytest.approx((1 + plain) / grown.mean() - 1)
    assert min(abs(plain - held), abs(plain - uniform), abs(held - uniform)) > 1e-3


def test_a_pool_that_holds_its_assets_returns_nothing_over_them():
    prices = np.array([[1.0, 2.0], [3.0, 1.0], [2.0, 5.0]])
    value = prices @ np.array([0.4, 0.3])  # 0.4 and 0.6 of the value at the first row
    found = measure(Track(value, prices, np.array([0.4, 0.6])), ("return", "return_over_hodl"))
    assert found["return_over_hodl"] == pytest.approx(0.0, abs=1e-15)
    assert found["return"] > 1.0


def test_daily_measures_do_not_depend_on_the_rows_of_a_day():
    days = np.exp(np.cumsum(np.random.default_rng(2).normal(size=20) * 0.03))
    hours = np.repeat(days, 24)[: 19 * 24 + 1] * np.where(np.arange(457) % 24, 1.01, 1.0)
    by_day = measure(track(days))
    by_hour = measure(track(hours, minutes_per_row=60))
    for name in ("return", "annualised_return", "daily_log_sharpe"):
        assert by_hour[name] == pytest.approx(float(by_day[name]), rel=1e-12)
    assert by_hour["sharpe"] != pytest.approx(float(by_day["sharpe"]), rel=0.01)


def test_a_sharpe_ratio_grows_with_the_root_of_the_year():
    stocks = measure(track(ROUGH, days_per_year=252.0), ("sharpe",))["sharpe"]
    coins = measure(track(ROUGH, days_per_year=365.0), ("sharpe",))["sharpe"]
    assert coins / stocks == pytest.approx(math.sqrt(365 / 252))


def test_without_risk_there_is_no_ratio():
    flat = measure(track([1.0, 1.0, 1.0]))
    assert all(float(value) == 0.0 for value in flat.values())
    rising = measure(track([1.0, 2.0, 4.0]))
    assert rising["sharpe"] == rising["calmar"] == math.inf
    assert np.isfinite(rising["sterling"])


def test_slopes_are_numbers_also_without_risk():
    @jax.jit
    def slopes(value):
        held = jnp.ones((value.shape[0], 2))
        return jax.jacrev(lambda v: measure(Track(v, held, jnp.array([0.5, 0.5]))))(value)

    for value in (ROUGH, [1.0] * 5, [1.0, 2.0, 4.0, 8.0, 16.0]):
        for name, slope in slopes(jnp.array(value)).items():
            assert np.isfinite(slope).all(), (name, value)


def test_an_unknown_measure_is_named():
    with pytest.raises(ConfigurationError, match="no measure 'sharp'; choose from return"):
        measure(track(ROUGH), ("sharp",))


@pytest.mark.parametrize(
    ("value", "prices", "sentence"),
    [
        ([1.0, 2.0], np.ones((2, 2)), "at least 3"),
        ([1.0, 2.0, 3.0], np.ones((4, 2)), r"track of 3 rows has prices of the shape \(4, 2\)"),
        ([1.0, 2.0, 3.0], np.ones((3, 3)), r"weights of the shape \(2,\)"),
    ],
)
def test_tracks_that_do_not_fit(value, prices, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        track(value, prices)


def test_hours_that_are_no_three_days_have_no_daily_measure():
    with pytest.raises(ConfigurationError, match="fewer than three days"):
        measure(track(ROUGH, minutes_per_row=60), ("daily_log_sharpe",))


# ---------------------------------------------------------------------- windows


@pytest.mark.parametrize("rows", [20, 101, 1099])
@pytest.mark.parametrize("warm_up", [0, 5])
def test_windows_share_no_row_and_leave_none(rows, warm_up):
    windows = Windows.split(rows, train=0.5, validation=0.25, warm_up=warm_up)
    covered = [row for _, ends in windows.items() for row in range(*ends)]
    assert covered == list(range(warm_up, rows))
    assert [name for name, _ in windows.items()] == ["train", "validation", "test"]


def test_a_window_knows_nothing_of_the_rows_after_it():
    windows = Windows((0, 5), (5, 9), (9, 12))
    prices = np.exp(np.random.default_rng(0).normal(size=(12, 2)))
    value = np.linspace(1.0, 2.0, 12) ** 2
    weights = np.full((12, 2), 0.5)

    def measured(change: float) -> dict[str, float]:
        later = np.arange(12) >= 9
        market = Market(np.where(later[:, None], prices * change, prices), ("a", "b"))
        path = PoolPath(weights, np.where(later, value * change**2, value))
        tracks = windows.tracks(path, market)
        return {f"{w}_{n}": float(m) for w, t in tracks.items() for n, m in measure(t).items()}

    before, after = measured(1.0), measured(3.0)
    for name in before:
        assert (before[name] == after[name]) or name.startswith("test")
    assert before["test_return"] == pytest.approx(after["test_return"])  # its own rows only


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        (((0, 5), (4, 9), (9, 12)), "validation window begins at row 4, before row 5"),
        (((0, 5), (5, 9), (9, 11)), "test window has the rows 9 to 11; give at least 3"),
        (((5, 9), (0, 4), (9, 12)), "validation window begins at row 0"),
    ],
)
def test_windows_that_overlap_or_are_too_short(ends, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        Windows(*ends)


@pytest.mark.parametrize("parts", [(0.6, 0.4), (0.0, 0.5), (float("nan"), 0.1), (0.9, 0.2)])
def test_parts_must_leave_a_test_window(parts):
    with pytest.raises(ConfigurationError, match="leave something for the test window"):
        Windows.split(100, train=parts[0], validation=parts[1])


def test_a_path_of_another_length_is_refused():
    market = Market(np.ones((12, 2)), ("a", "b"))
    path = PoolPath(np.full((11, 2), 0.5), np.ones(11))
    with pytest.raises(ConfigurationError, match="The path has 11 rows, the market 12"):
        Windows((0, 5), (5, 8), (8, 11)).tracks(path, market)
