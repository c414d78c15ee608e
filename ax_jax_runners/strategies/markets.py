"""Histories of prices: a seeded synthetic market, and packaged stocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError

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

    Every asset's yearly drift is ``growth + drift`` or ``growth - drift``; on any day a coin
    decides with probability 1 / regime_days that it is drawn anew. Trends so last long enough to be
    followed and end too soon to be waited for: the best memory lies between the ends of its range,
    and so does the best strength.

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
