"""Histories of prices: a seeded synthetic market, packaged stocks, and files of one's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, DataFileError

if TYPE_CHECKING:
    import pandas as pd

#: Trading days of a stock exchange.
STOCK_DAYS_PER_YEAR = 252.0


@dataclass(frozen=True, eq=False)
class Market:
    """Prices of n assets; equal when the numbers are, wherever they come from.

    Attributes:
        prices: Positive, (T, n), float64, read-only.
        assets: Names, n of them.
        minutes_per_row: Minutes between two rows. Between two rows of a stock exchange lies one
            trading day, weekends are not counted.
        days_per_year: Days of prices in a year.
    """

    prices: np.ndarray
    assets: tuple[str, ...]
    minutes_per_row: int = 1440
    days_per_year: float = 365.0

    def __post_init__(self) -> None:
        """Check the prices and keep a copy.

        Raises:
            ConfigurationError: Shapes that do not fit, or a price that is not positive and finite.
        """
        prices = np.array(self.prices, dtype=np.float64)
        if prices.ndim != 2 or len(prices) < 2 or prices.shape[1] != len(self.assets):
            raise ConfigurationError(
                f"A market of {len(self.assets)} assets has prices of the shape {prices.shape}; "
                "give (rows, assets), of at least two rows."
            )
        if not (prices.min() > 0 and prices.max() < np.inf):
            row, place = np.argwhere(~(np.isfinite(prices) & (prices > 0)))[0].tolist()
            raise ConfigurationError(
                f"The price of {self.assets[place]} at row {row} is {prices[row, place]}; every "
                "price must be finite and above 0."
            )
        prices.flags.writeable = False
        object.__setattr__(self, "prices", prices)

    def _content(self) -> tuple[Any, ...]:
        numbers = self.prices.shape, self.prices.tobytes()
        return (*numbers, self.assets, self.minutes_per_row, self.days_per_year)

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, Market) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())


def synthetic_market(
    *,
    assets: int = 3,
    days: int = 1099,
    seed: int = 0,
    growth: float = 0.25,
    drift: float = 1.0,
    volatility: float = 0.4,
    correlation: float = 0.5,
    regime_days: float = 120.0,
) -> Market:
    """Correlated geometric Brownian motion whose drifts change sign now and then.

    Every asset's yearly drift is ``growth + drift`` or ``growth - drift``; on any day a coin decides
    with probability 1 / regime_days that it is drawn anew. Trends so last long enough to be followed and
    too short to be waited for: there is a best memory between the ends, and a best strength.

    Args:
        assets: How many, at least 2.
        days: Rows, at least 2.
        seed: Of all random numbers; counted, so that more days continue the same history.
        growth: Mean drift of the logarithm, for a year of 365 days.
        drift: How far a regime is above or below it.
        volatility: Standard deviation of the logarithm after a year.
        correlation: Of the shocks of every two assets, from 0 up to 1, less than 1.
        regime_days: Mean number of days between two draws of a drift, at least 1.

    Raises:
        ConfigurationError: An argument that cannot be used.
    """
    for name, count, fewest in (("assets", assets, 2), ("days", days, 2), ("seed", seed, 0)):
        if isinstance(count, bool) or not isinstance(count, int) or count < fewest:
            raise ConfigurationError(f"{name} is {count!r}; give a whole number from {fewest}.")
    for name, value, good, advice in (
        ("growth", growth, True, "a number"),
        ("drift", drift, drift >= 0, "a number of at least 0"),
        ("volatility", volatility, volatility > 0, "a number above 0"),
        ("correlation", correlation, 0 <= correlation < 1, "a number from 0, less than 1"),
        ("regime_days", regime_days, regime_days >= 1, "a number of at least 1"),
    ):
        if not good or not math.isfinite(value):
            raise ConfigurationError(f"{name} is {value!r}; give {advice}.")
    # One stream for every kind, a row for every day: further days do not change earlier ones.
    coins, signs, shared, own = (
        np.random.Generator(np.random.Philox(key=[seed, kind])) for kind in range(4)
    )
    rising = np.where(signs.random((days, assets)) < 0.5, 1.0, -1.0)
    renewed = coins.random((days, assets)) < 1.0 / regime_days
    renewed[0] = True
    since = np.maximum.accumulate(np.where(renewed, np.arange(days)[:, None], 0), axis=0)
    trend = growth + drift * np.take_along_axis(rising, since, axis=0)
    common = math.sqrt(correlation) * shared.standard_normal((days, 1))
    shocks = common + math.sqrt(1.0 - correlation) * own.standard_normal((days, assets))
    steps = trend / 365.0 + volatility / math.sqrt(365.0) * shocks
    steps[0] = 0.0
    names = tuple(f"asset_{i}" for i in range(1, assets + 1))
    return Market(100.0 * np.exp(np.cumsum(steps, axis=0)), names)


def stock_market(assets: Sequence[str] | None = None) -> Market:
    """Daily adjusted prices of stocks of the S&P 500 from 1990 to 2022, packaged with skfolio.

    Args:
        assets: Tickers in the order wanted; None: all 20.

    Raises:
        ConfigurationError: skfolio is not installed, or does not have that ticker.
    """
    try:
        from skfolio.datasets import load_sp500_dataset
    except ImportError as error:
        raise ConfigurationError(
            "The packaged stock prices are read by skfolio, which is not installed: "
            "pip install ax-jax-runners[prices]"
        ) from error
    frame = load_sp500_dataset()
    chosen = tuple(map(str, frame.columns)) if assets is None else tuple(assets)
    for name in chosen:
        if name not in frame.columns:
            raise ConfigurationError(
                f"There are no prices of {name!r}; the assets are {', '.join(frame.columns)}."
            )
    return Market(frame[list(chosen)].to_numpy(), chosen, days_per_year=STOCK_DAYS_PER_YEAR)


def read_market(
    path: str | Path,
    *,
    assets: Sequence[str] | None = None,
    time: str | None = None,
    minutes_per_row: int = 1440,
    days_per_year: float = 365.0,
) -> Market:
    """Read prices from a CSV or parquet file with one column an asset and one row a time.

    Args:
        path: A file that ends in .csv, .csv.gz or .parquet.
        assets: Columns in the order wanted; None: all but ``time``.
        time: Column of the times, which must increase by ``minutes_per_row``; None: the first one
            if it holds no numbers, and otherwise the rows are taken as they are. Where a year has
            fewer than 365 days the times need only increase.
        minutes_per_row: Minutes between two rows.
        days_per_year: Days of prices in a year.

    Raises:
        DataFileError: A file that cannot be read, a missing column, a price that is missing or not
            above 0, times that do not increase, or a gap.
    """
    path = Path(path)
    frame = _frame(path)
    if time is None and len(frame.columns) and not _is_numeric(frame.iloc[:, 0]):
        time = str(frame.columns[0])
    wanted = [str(name) for name in frame.columns if name != time] if assets is None else assets
    for name in (*wanted, *(() if time is None else (time,))):
        if name not in frame.columns:
            known = ", ".join(map(repr, frame.columns))
            raise DataFileError(f"{path}: there is no column {name!r}; the columns are {known}.")
    if len(wanted) < 2 or len(frame) < 2:
        raise DataFileError(
            f"{path}: holds {len(frame)} rows of {len(wanted)} assets; give at least two of each."
        )
    if time is not None:
        _check_times(path, frame[time], minutes_per_row, gaps=days_per_year < 365.0)
    columns = [_checked(path, str(name), frame[name]) for name in wanted]
    return Market(np.stack(columns, axis=1), tuple(wanted), minutes_per_row, days_per_year)


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.name.endswith((".csv", ".csv.gz")):
        read = pd.read_csv
    elif path.suffix == ".parquet":
        read = pd.read_parquet
    else:
        raise DataFileError(f"{path}: ends in {path.suffix!r}; give a .csv or .parquet file.")
    try:
        return read(path)
    except FileNotFoundError:
        raise DataFileError(
            f"{path}: there is no such file (looked for {path.absolute()}); check the path."
        ) from None
    except Exception as error:  # pandas and pyarrow raise whatever the content led them to
        reason = " ".join(str(error).split())
        raise DataFileError(f"{path}: cannot be read ({reason}); check the file.") from error


def _is_numeric(column: pd.Series) -> bool:
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(column)


def _checked(path: Path, name: str, column: pd.Series) -> np.ndarray:
    """Return a column of prices; what is no number becomes NaN and is found like a gap."""
    import pandas as pd

    prices = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(prices) & (prices > 0)
    if not good.all():
        row = int(np.argmin(good))
        found = column.iloc[row]
        what = "missing" if pd.isna(found) else f"{found!r}"
        raise DataFileError(
            f"{path}: the price of {name!r} at data row {row + 1} is {what}; every price must be a "
            "number above 0: fill the gap or leave the rows out."
        )
    return prices


def _check_times(path: Path, column: pd.Series, minutes_per_row: int, *, gaps: bool) -> None:
    import pandas as pd

    try:
        times = pd.to_datetime(column, utc=True).to_numpy(dtype="datetime64[ns]").astype(np.int64)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataFileError(
            f"{path}: the column {column.name!r} holds no times ({reason}); name another one."
        ) from error
    steps = np.diff(times)
    wrong = steps <= 0
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise DataFileError(
            f"{path}: data row {row + 1} ({column.iloc[row]}) is not later than the one before it; "
            "sort the rows by time and leave out repeated ones."
        )
    wrong = steps != minutes_per_row * 60 * 10**9
    if wrong.any() and not gaps:
        row = int(np.argmax(wrong)) + 1
        minutes = steps[row - 1] / 60e9
        raise DataFileError(
            f"{path}: data row {row + 1} ({column.iloc[row]}) comes {minutes:g} minutes after the "
            f"one before it, where rows are {minutes_per_row} minutes apart; fill the gap, say "
            "minutes_per_row, or days_per_year for a market that closes."
        )
