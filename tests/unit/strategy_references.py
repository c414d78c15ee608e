"""What the momentum pool should do, in plain loops: every trade of the arbitrageurs is made."""

from __future__ import annotations

import mpmath
import numpy as np


def decay_of(memory_days: float, chunk_minutes: float) -> float:
    """Lambda of a memory in days: the root in (0, 1) of 6 lambda = m^3 (1 - lambda)^3."""
    with mpmath.workdps(50):
        m = mpmath.mpf(memory_days) * 1440 / (2 * mpmath.mpf(chunk_minutes))
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(200):
            middle = (low + high) / 2
            if 6 * middle > m**3 * (1 - middle) ** 3:
                high = middle
            else:
                low = middle
        return float(low)


def no_arbitrage(reserves: np.ndarray, weights: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Reserves after trades at a constant weighted product, until no trade brings a profit.

    Nothing is gained where every R_i p_i / w_i is the same number L; the product then fixes L.
    """
    shares = weights / weights.sum()
    invariant = np.sum(shares * np.log(reserves))
    level = np.exp(invariant - np.sum(shares * np.log(shares / prices)))
    return shares * level / prices


def pool_by_arbitrage(
    prices: np.ndarray,
    *,
    memory_days: np.ndarray | float,
    k_per_day: np.ndarray | float,
    chunk_rows: int,
    steps: int,
    maximum_change: float,
    minimum_weight: float,
    minutes_per_row: int = 1440,
    initial_weights: np.ndarray | None = None,
    initial_pool_value: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (T, n) and value (T,) of a pool, row after row."""
    rows, n = prices.shape
    memory = np.broadcast_to(np.asarray(memory_days, float), (n,))
    k = np.broadcast_to(np.asarray(k_per_day, float), (n,)) * memory
    lam = np.array([decay_of(days, chunk_rows * minutes_per_row) for days in memory])
    start = np.full(n, 1 / n) if initial_weights is None else np.array(initial_weights, float)
    step = np.zeros(n)
    mean, running = prices[0].copy(), np.zeros(n)
    weights, value = np.empty((rows, n)), np.empty(rows)
    reserves = initial_pool_value * start / prices[0]
    for t in range(rows):
        chunk, within = divmod(t, chunk_rows)
        if within == 0 and chunk > 0:
            start = start + step * steps
            mean = lam * mean + (1 - lam) * prices[t]
            running = lam * running + (prices[t] - mean) / (1 - lam)
            gradient = (1 - lam) ** 3 / lam * running / mean
            pull = k * (gradient - np.sum(k * gradient) / np.sum(k))
            target = guarded(start + pull, minimum_weight)
            step = (target - start) / steps
            largest = np.max(np.abs(step))
            if largest > maximum_change:
                step = step * (maximum_change / largest)
        weights[t] = start + step * min(within, steps)
        if t > 0:
            # First the market moves, then the pool quotes new weights.
            reserves = no_arbitrage(reserves, weights[t - 1], prices[t])
            reserves = no_arbitrage(reserves, weights[t], prices[t])
        value[t] = np.sum(reserves * prices[t])
    return weights, value


def guarded(weights: np.ndarray, least: float) -> np.ndarray:
    """Weights with the sum 1 and none below ``least``: the low ones fixed, the others scaled."""
    n = len(weights)
    weights = weights / weights.sum()
    low = weights < least
    weights = np.clip(weights, least, 1 - (n - 1) * least)
    while True:
        weights[low] = least
        weights[~low] *= (1 - low.sum() * least) / weights[~low].sum()
        below = weights < least - 1e-15
        if not below.any():
            return weights
        low |= below
