"""The arguments of a pool, checked where their values are known and brought into one form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import MemoryDecay

_SUM_TOLERANCE = 1e-9


class PoolArrays(NamedTuple):
    """The numbers of a pool of n assets over T rows; NumPy float64, or traced.

    Attributes:
        prices: Prices at the starts of the chunks, (C, n).
        log_returns: ln of every row's price over the one before, (T - 1, n).
        decay: lambda of every asset, (n,).
        complement: 1 - lambda with all its digits, (n,).
        k: Strength of every asset, (n,).
        maximum_change: Of a weight in one row, ().
        minimum_weight: ().
        initial_weights: (n,).
        initial_pool_value: ().
    """

    prices: Any
    log_returns: Any
    decay: Any
    complement: Any
    k: Any
    maximum_change: Any
    minimum_weight: Any
    initial_weights: Any
    initial_pool_value: Any

    @property
    def is_traced(self) -> bool:
        """Whether any of them is known to JAX alone."""
        return any(map(_is_traced, self))


@dataclass(frozen=True)
class PoolInput:
    """A pool's arguments.

    Attributes:
        chunk_rows: Rows of one chunk.
        steps: Rows in which the weights move after a decision, at most ``chunk_rows``.
        arrays: Everything that may be traced.
    """

    chunk_rows: int
    steps: int
    arrays: PoolArrays


def read_input(
    prices: Any,
    *,
    memory_days: Any,
    k_per_day: Any,
    chunk_period: Any,
    weight_interpolation_period: Any,
    maximum_change: Any,
    minimum_weight: Any,
    minutes_per_row: Any,
    initial_weights: Any,
    initial_pool_value: Any,
) -> PoolInput:
    """Check the arguments of `momentum_pool`; see there.

    Raises:
        ConfigurationError: One that cannot be used.
    """
    chunk_rows, steps = _rows(chunk_period, weight_interpolation_period, minutes_per_row)
    history = _prices(prices)
    n = history.shape[1]
    memory = _each_asset("memory_days", memory_days, n)
    _demand(memory, lambda m: m > 0, "memory_days", "give days above 0")
    strength = _each_asset("k_per_day", k_per_day, n)
    _demand(strength, lambda k: k >= 0, "k_per_day", "give numbers of at least 0")
    least = _number("minimum_weight", minimum_weight)
    _demand(
        least,
        lambda w: (w > 0) & (w * n <= 1 + _SUM_TOLERANCE),
        "minimum_weight",
        f"give a number above 0 and at most 1/{n}",
    )
    change = _number("maximum_change", maximum_change)
    _demand(change, lambda c: c > 0, "maximum_change", "give a number above 0")
    value = _number("initial_pool_value", initial_pool_value)
    _demand(value, lambda v: v > 0, "initial_pool_value", "give a number above 0")
    weights = _initial_weights(initial_weights, least, n)
    law = MemoryDecay(float(chunk_period))
    library: Any = jnp if _is_traced(history) else np
    arrays = PoolArrays(
        prices=history[::chunk_rows],
        log_returns=library.diff(library.log(history), axis=0),
        decay=law.to_decay(memory),
        complement=law.to_complement(memory),
        k=strength * memory,
        maximum_change=change,
        minimum_weight=least,
        initial_weights=weights,
        initial_pool_value=value,
    )
    return PoolInput(chunk_rows, steps, arrays)


def _is_traced(value: Any) -> bool:
    return isinstance(value, Tracer)


def _rows(chunk: Any, interpolation: Any, per_row: Any) -> tuple[int, int]:
    minutes = {
        "minutes_per_row": per_row,
        "chunk_period": chunk,
        "weight_interpolation_period": interpolation,
    }
    for name, value in minutes.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ConfigurationError(f"{name} is {value!r}; give a whole number of minutes.")
        if value % per_row:
            raise ConfigurationError(
                f"{name} is {value} minutes and a row of the prices is {per_row}; give a multiple."
            )
    if interpolation > chunk:
        raise ConfigurationError(
            f"weight_interpolation_period is {interpolation} minutes, longer than chunk_period, "
            f"which is {chunk}; shorten it."
        )
    return int(chunk // per_row), int(interpolation // per_row)


def _prices(prices: Any) -> Any:
    history = prices if _is_traced(prices) else _host("prices", prices)
    if history.ndim != 2 or history.shape[0] < 1 or history.shape[1] < 2:
        raise ConfigurationError(
            f"prices have the shape {history.shape}; give (rows, assets), of at least 2 assets."
        )
    if not _is_traced(history):
        # A minimum and a maximum see NaN too, and are quicker than a test of every price.
        if not (history.min() > 0 and history.max() < np.inf):
            bad = ~(np.isfinite(history) & (history > 0))
            row, asset = np.argwhere(bad)[0].tolist()
            raise ConfigurationError(
                f"prices: row {row} of asset {asset} is {history[row, asset]}; every price must be "
                "finite and above 0."
            )
    return history


def _each_asset(name: str, value: Any, n: int) -> Any:
    given = value if _is_traced(value) else _host(name, value)
    if given.shape not in ((), (1,), (n,)):
        raise ConfigurationError(
            f"{name} has the shape {given.shape} for {n} assets; give a number, or one for each."
        )
    return (jnp if _is_traced(given) else np).broadcast_to(given, (n,))


def _number(name: str, value: Any) -> Any:
    given = value if _is_traced(value) else _host(name, value)
    if given.shape != ():
        raise ConfigurationError(f"{name} has the shape {given.shape}; give one number.")
    return given


def _initial_weights(weights: Any, least: Any, n: int) -> Any:
    if weights is None:
        return np.full(n, 1.0 / n)
    given = weights if _is_traced(weights) else _host("initial_weights", weights)
    if given.shape != (n,):
        raise ConfigurationError(
            f"initial_weights have the shape {given.shape} for {n} assets; give one for each."
        )
    if _is_traced(given) or _is_traced(least):
        return given
    if not math.isclose(float(given.sum()), 1.0, abs_tol=_SUM_TOLERANCE):
        raise ConfigurationError(
            f"initial_weights have the sum {float(given.sum())}; divide them by it."
        )
    if not (given >= least - _SUM_TOLERANCE).all():
        raise ConfigurationError(
            f"initial_weights have the smallest {float(given.min())}, below minimum_weight, which "
            f"is {float(least)}; raise it."
        )
    return given


def _host(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name} is {value!r}; give numbers.") from None


def _demand(value: Any, holds: Any, name: str, advice: str) -> None:
    if _is_traced(value):
        return
    good = np.isfinite(value) & holds(value)
    if not good.all():
        wrong = float(np.asarray(value)[~good].flat[0])
        raise ConfigurationError(f"{name} is {wrong}; {advice}.")
