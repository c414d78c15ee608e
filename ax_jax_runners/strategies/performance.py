"""Measures of a pool's performance over a window, each computed here and nowhere else.

They are JAX functions of the rows of a window: the optimiser, the report and a notebook get the
same number from the same function. Returns and drawdowns are fractions; a year is what the market
says it is (365 days of a market that never closes, 252 of a stock exchange).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ax_jax_runners.errors import ConfigurationError

#: What Deane Sterling Jones added to the average drawdown.
STERLING_ALLOWANCE = 0.1


@dataclass(frozen=True)
class Track:
    """A pool over the T rows of a window.

    Attributes:
        value: Its value, (T,), T at least 3.
        prices: Of its n assets, (T, n).
        weights: Its weights at the first row, (n,).
        minutes_per_row: Minutes between two rows.
        days_per_year: Days of prices in a year.
    """

    value: Any
    prices: Any
    weights: Any
    minutes_per_row: int = 1440
    days_per_year: float = 365.0

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ConfigurationError: Too few rows, or shapes that do not fit.
        """
        rows, prices, weights = jnp.shape(self.value), jnp.shape(self.prices), self.weights
        if len(rows) != 1 or rows[0] < 3:
            raise ConfigurationError(
                f"A track's value has the shape {rows}; give one number a row, at least 3."
            )
        if prices[:1] != rows or len(prices) != 2 or jnp.shape(weights) != prices[1:]:
            raise ConfigurationError(
                f"A track of {rows[0]} rows has prices of the shape {prices} and weights of the "
                f"shape {jnp.shape(weights)}; give (rows, assets) and (assets,)."
            )

    @property
    def rows_per_year(self) -> float:
        """Rows in a year."""
        return self.days_per_year * 1440.0 / self.minutes_per_row

    @property
    def years(self) -> float:
        """From the first row to the last."""
        return (jnp.shape(self.value)[0] - 1) / self.rows_per_year


def total_return(track: Track) -> Array:
    """Last value over first, less 1."""
    return track.value[-1] / track.value[0] - 1.0


def annualised_return(track: Track) -> Array:
    """The yearly return that compounds to the total one."""
    growth = jnp.log(track.value[-1] / track.value[0])
    return jnp.expm1(growth / track.years)


def sharpe(track: Track) -> Array:
    """Mean over standard deviation of the rows' returns, for a year, without a riskless rate.

    Sharpe, "The Sharpe ratio" (1994), with his sample standard deviation; the factor is the square
    root of the rows in a year.
    """
    return _sharpe(track.value[1:] / track.value[:-1] - 1.0, track.rows_per_year)


def daily_log_sharpe(track: Track) -> Array:
    """As `sharpe`, of the logarithmic returns from day to day, whatever the rows are.

    Rows longer than a day count as one day each. A last day that is not whole is left out.
    """
    stride = max(1, 1440 // track.minutes_per_row)
    days = track.value[::stride]
    if days.shape[0] < 3:
        raise ConfigurationError(
            f"A window of {jnp.shape(track.value)[0]} rows of {track.minutes_per_row} minutes has "
            "fewer than three days; give a longer one."
        )
    return _sharpe(jnp.diff(jnp.log(days)), track.rows_per_year / stride)


def return_over_hodl(track: Track) -> Array:
    """Last value over that of the assets held at the first row and never traded, less 1."""
    return _over_held(track, track.weights)


def return_over_uniform_hodl(track: Track) -> Array:
    """As `return_over_hodl`, for equal shares of the value in every asset at the first row."""
    n = jnp.shape(track.weights)[0]
    return _over_held(track, jnp.full_like(jnp.asarray(track.weights), 1.0 / n))


def maximum_drawdown(track: Track) -> Array:
    """Largest loss from an earlier peak, as a fraction of the peak, at least 0."""
    return jnp.max(drawdowns(track.value))


def calmar(track: Track) -> Array:
    """Annualised return over the largest drawdown (Young, "Calmar ratio", Futures 20, 1991)."""
    return _ratio(annualised_return(track), maximum_drawdown(track))


def sterling(track: Track) -> Array:
    """Annualised return over the mean of the years' largest drawdowns plus 10 %.

    After Kestner, "Getting a handle on true performance", Futures 25, 1996. A year has a peak of
    its own; the last one may be shorter, and rows that are too few for a year are one.
    """
    value = jnp.asarray(track.value)
    rows = max(2, round(track.rows_per_year))
    starts = range(0, max(1, value.shape[0] - 1), rows)
    years = [jnp.max(drawdowns(value[start : start + rows + 1])) for start in starts]
    return annualised_return(track) / (sum(years) / len(years) + STERLING_ALLOWANCE)


def ulcer_index(track: Track) -> Array:
    """Root mean square of the drawdowns (Martin and McCann, 1989), a fraction, at least 0."""
    square = jnp.mean(jnp.square(drawdowns(track.value)))
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def drawdowns(value: Any) -> Array:
    """Loss of every row from the peak up to it, as a fraction of the peak, (T,)."""
    value = jnp.asarray(value)
    return 1.0 - value / lax.cummax(value)


MEASURES: Mapping[str, Callable[[Track], Array]] = MappingProxyType(
    {
        "return": total_return,
        "annualised_return": annualised_return,
        "sharpe": sharpe,
        "daily_log_sharpe": daily_log_sharpe,
        "return_over_hodl": return_over_hodl,
        "return_over_uniform_hodl": return_over_uniform_hodl,
        "drawdown": maximum_drawdown,
        "calmar": calmar,
        "sterling": sterling,
        "ulcer": ulcer_index,
    }
)


def measure(track: Track, names: tuple[str, ...] = tuple(MEASURES)) -> dict[str, Array]:
    """Return measures of a track by name; traceable.

    Raises:
        ConfigurationError: A name that is none of `MEASURES`.
    """
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise ConfigurationError(
            f"There is no measure {unknown[0]!r}; choose from {', '.join(MEASURES)}."
        )
    return {name: MEASURES[name](track) for name in names}


def _sharpe(returns: Array, periods: float) -> Array:
    mean = jnp.mean(returns)
    variance = jnp.var(returns, ddof=1)
    positive = variance > 0
    deviation = jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
    return _ratio(mean, deviation) * jnp.sqrt(periods)


def _over_held(track: Track, shares: Any) -> Array:
    held = jnp.sum(shares * track.prices[-1] / track.prices[0])
    return (total_return(track) + 1.0) / held - 1.0


def _ratio(gain: Array, risk: Array) -> Array:
    """Gain over risk; without any risk infinite with the gain's sign, and 0 without a gain."""
    risky = risk > 0
    riskless = jnp.where(gain == 0, 0.0, jnp.copysign(jnp.inf, gain))
    return jnp.where(risky, gain / jnp.where(risky, risk, 1.0), riskless)
