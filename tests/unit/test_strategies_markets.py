"""Histories of prices: what is drawn, what is packaged, and what a file may not hold."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.strategies import Market, read_market, stock_market, synthetic_market


def test_a_synthetic_market_is_its_seed():
    one = synthetic_market(assets=4, days=200, seed=7)
    assert one == synthetic_market(assets=4, days=200, seed=7)
    assert one != synthetic_market(assets=4, days=200, seed=8)
    assert one.prices.shape == (200, 4)
    assert one.assets == ("asset_1", "asset_2", "asset_3", "asset_4")
    assert not one.prices.flags.writeable
    np.testing.assert_array_equal(one.prices[0], 100.0)


def test_further_days_continue_the_same_history():
    short, long = (synthetic_market(days=days, seed=3).prices for days in (100, 400))
    np.testing.assert_allclose(long[:100], short, rtol=1e-12)


def test_shocks_have_the_volatility_and_correlation_asked_for():
    market = synthetic_market(
        assets=3, days=20_000, drift=0.0, growth=0.0, volatility=0.6, correlation=0.4
    )
    steps = np.diff(np.log(market.prices), axis=0)
    # Standard errors of 20,000 draws: 0.5 % and 0.006.
    np.testing.assert_allclose(steps.std(axis=0) * np.sqrt(365), 0.6, rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(steps.T)[np.triu_indices(3, 1)], 0.4, atol=0.03)


def test_drifts_last_as_long_as_regimes():
    market = synthetic_market(days=20_000, volatility=1e-9, growth=0.5, drift=1.0, regime_days=50)
    trend = np.diff(np.log(market.prices), axis=0) * 365
    assert set(np.unique(trend.round(6))) == {-0.5, 1.5}
    changes = (np.abs(np.diff(trend, axis=0)) > 1.0).mean()
    # Half of the draws give the same drift again.
    assert changes == pytest.approx(0.5 / 50, rel=0.15)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"assets": 1}, "assets is 1"),
        ({"days": 2.5}, "days is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"volatility": 0.0}, "volatility is 0.0"),
        ({"drift": float("nan")}, "drift is nan"),
        ({"correlation": 1.0}, "correlation is 1.0"),
        ({"regime_days": 0.5}, "regime_days is 0.5"),
    ],
)
def test_markets_that_cannot_be_drawn(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        synthetic_market(**options)


@pytest.mark.parametrize(
    ("prices", "sentence"),
    [
        ([[1.0, 2.0]], "of at least two rows"),
        ([[1.0], [2.0]], r"2 assets has prices of the shape \(2, 1\)"),
        ([[1.0, 2.0], [0.0, 2.0]], "price of a at row 1 is 0.0"),
        ([[1.0, np.inf], [1.0, 2.0]], "price of b at row 0 is inf"),
    ],
)
def test_a_market_has_positive_prices_only(prices, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        Market(np.array(prices), ("a", "b"))


# ---------------------------------------------------------------------- packaged stocks


def test_packaged_stocks_are_read_in_the_order_asked_for():
    market = stock_market(["JPM", "AAPL"])
    assert market.assets == ("JPM", "AAPL")
    assert market.prices.shape == (8313, 2)
    assert market.days_per_year == 252.0
    assert stock_market().prices.shape == (8313, 20)
    with pytest.raises(ConfigurationError, match="no prices of 'APPL'; the assets are AAPL"):
        stock_market(["APPL"])


def test_without_skfolio_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **options):
        if name.startswith("skfolio"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match=r"pip install ax-jax-runners\[prices\]"):
        stock_market()


# ---------------------------------------------------------------------- files


def frame(rows: int = 6) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=rows, freq="D")
    numbers = np.arange(1.0, rows + 1)
    return pd.DataFrame({"date": days, "one": numbers, "two": 10.0 * numbers})


def written(table: pd.DataFrame, folder: Path, ending: str = "csv") -> Path:
    path = folder / f"prices.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_is_read_with_its_times(tmp_path, ending):
    market = read_market(written(frame(), tmp_path, ending), assets=["two", "one"])
    assert market.assets == ("two", "one")
    np.testing.assert_array_equal(market.prices, frame()[["two", "one"]].to_numpy())


def test_a_file_without_times_is_taken_as_it_is(tmp_path):
    market = read_market(written(frame()[["one", "two"]], tmp_path), minutes_per_row=60)
    assert market.assets == ("one", "two")
    assert market.minutes_per_row == 60


def test_a_market_that_closes_may_have_gaps(tmp_path):
    table = frame(6).drop(index=[2, 3])
    with pytest.raises(DataFileError, match=r"data row 3 .* 4320 minutes after the one before"):
        read_market(written(table, tmp_path))
    market = read_market(written(table, tmp_path), days_per_year=252.0)
    assert len(market.prices) == 4


def test_what_is_wrong_with_a_file_is_said_in_a_sentence(tmp_path):
    def refused(table: pd.DataFrame, sentence: str, **options) -> None:
        with pytest.raises(DataFileError, match=sentence):
            read_market(written(table, tmp_path), **options)

    whole = frame()
    refused(whole, "no column 'three'; the columns are 'date', 'one', 'two'", assets=["three"])
    refused(whole, "no column 'when'", time="when")
    refused(whole[["date", "one"]], "holds 6 rows of 1 assets; give at least two of each")
    refused(whole.iloc[:1], "holds 1 rows")
    refused(whole.iloc[::-1], r"data row 2 \(2024-01-05\) is not later .* sort the rows")
    refused(whole.iloc[[0, 1, 1, 2]], r"data row 3 .* is not later")
    refused(whole.assign(one=[1, 2, -3, 4, 5, 6]), "price of 'one' at data row 3 is -3")
    refused(whole.assign(two=[1, 2, 3, 0, 5, 6]), "price of 'two' at data row 4 is 0")
    refused(whole.assign(two=[1, np.nan, 3, 4, 5, 6]), "price of 'two' at data row 2 is missing")
    refused(whole.assign(two=list("12x456")), "price of 'two' at data row 3 is 'x'")
    refused(whole.assign(two=[1, 2, 3, 4, 5, np.inf]), "price of 'two' at data row 6 is inf")
    refused(whole.assign(date=list("abcdef")), "column 'date' holds no times")
    refused(whole.assign(date=range(6)), "numbers say neither unit nor origin", time="date")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataFileError, match="there is no such file"):
        read_market(tmp_path / "missing.csv")
    with pytest.raises(DataFileError, match=r"ends in '.txt'; give a .csv or .parquet file"):
        read_market(tmp_path / "prices.txt")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_market(tmp_path / "empty.csv")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_market(tmp_path / "text.parquet")
