"""Trading strategies: the momentum pool, its measures of performance, markets and windows."""

from __future__ import annotations

from ax_jax_runners.strategies.backtest import PoolBacktest, WindowMeasure
from ax_jax_runners.strategies.market_files import read_market
from ax_jax_runners.strategies.markets import Market, stock_market, synthetic_market
from ax_jax_runners.strategies.momentum import PoolPath, momentum_pool
from ax_jax_runners.strategies.performance import MEASURES, Track, measure
from ax_jax_runners.strategies.training import GradientTraining
from ax_jax_runners.strategies.windows import Windows

__all__ = [
    "MEASURES",
    "GradientTraining",
    "Market",
    "PoolBacktest",
    "PoolPath",
    "Track",
    "WindowMeasure",
    "Windows",
    "measure",
    "momentum_pool",
    "read_market",
    "stock_market",
    "synthetic_market",
]
