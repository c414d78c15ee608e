"""The momentum pool: a weighted pool of assets whose weights follow the trend of their prices.

A temporal-function market maker (Willetts and Harrington, "Closed-form solutions for generic
N-token AMM arbitrage", 2024, and the QuantAMM papers) without fees, under perfect arbitrage. Of the
prices p_t at the starts of the chunks, with decay lambda = 1 - u and all vectors by asset:

    e_t = lambda e_(t-1) + u p_t,               e_0 = p_0     moving average
    a_t = lambda a_(t-1) + (p_t - e_t) / u,     a_0 = 0       running difference
    g_t = u^3 / lambda * a_t / e_t                            proportional gradient
    k = k_per_day * memory_days,  m_t = k (g_t - sum(k g_t) / sum(k))

The weights move by m_t, none below the smallest weight and by no more than the largest change a
row, in equal steps from the decision to the end of the interpolation period: the row of a decision
still has the weights of the one before. Arbitrage trades the reserves R at constant prod(R^w) until
every asset's share of the value is its weight, whenever prices or weights move, so that exactly

    ln V_(t+1) / V_t = w_t . ln(p_(t+1) / p_t) - KL(w_(t+1) || w_t)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ax_jax_runners.strategies.pool_input import PoolArrays, read_input

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PoolPath:
    """What a pool did, a row for every row of the prices.

    Attributes:
        weights: Share of the value in every asset, (T, n).
        value: Value of the pool, in the unit of the prices, (T,).
    """

    weights: Any
    value: Any


def momentum_pool(
    prices: ArrayLike,
    *,
    memory_days: ArrayLike,
    k_per_day: ArrayLike,
    chunk_period: int,
    weight_interpolation_period: int,
    maximum_change: float,
    minimum_weight: float,
    minutes_per_row: int = 1440,
    initial_weights: ArrayLike | None = None,
    initial_pool_value: float = 1.0,
) -> PoolPath:
    """Simulate a momentum pool on a history of prices.

    With NumPy or Python numbers everything is computed in float64, whatever JAX's default is, and
    the path is NumPy. Inside jit, vmap or grad it is traceable and differentiable, in the dtype
    that JAX has there: turn 64-bit numbers on around it for float64.

    Args:
        prices: Positive prices, (T, n), a row each ``minutes_per_row``, at least 2 assets.
        memory_days: How far back the gradient looks, in days; a number, or (n,).
        k_per_day: How strongly weights follow it, at least 0; a number, or (n,).
        chunk_period: Minutes between two decisions, a multiple of ``minutes_per_row``.
        weight_interpolation_period: Minutes in which the weights move after a decision, a multiple
            of ``minutes_per_row``, at most ``chunk_period``.
        maximum_change: Largest change of a weight in one row.
        minimum_weight: Smallest weight, above 0 and at most 1/n; the largest one is
            1 - (n - 1) * minimum_weight.
        minutes_per_row: Minutes between two rows.
        initial_weights: In force until the second decision, (n,), with the sum 1; None: equal.
        initial_pool_value: Value at the first row.

    Returns:
        Weights and value at every row. Weights of a row depend on the prices of earlier rows only.

    Raises:
        ConfigurationError: An argument that cannot be used; the message names it. Of traced
            arguments only the shape is checked.
    """
    given = read_input(
        prices,
        memory_days=memory_days,
        k_per_day=k_per_day,
        chunk_period=chunk_period,
        weight_interpolation_period=weight_interpolation_period,
        maximum_change=maximum_change,
        minimum_weight=minimum_weight,
        minutes_per_row=minutes_per_row,
        initial_weights=initial_weights,
        initial_pool_value=initial_pool_value,
    )
    shape = (given.chunk_rows, given.steps)
    if given.arrays.is_traced:
        return simulate(given.arrays, *shape)
    with jax.enable_x64(True):
        path = _compiled(*shape)(given.arrays)
        return PoolPath(np.asarray(path.weights), np.asarray(path.value))


@functools.lru_cache(maxsize=32)
def _compiled(chunk_rows: int, steps: int) -> Any:
    return jax.jit(functools.partial(simulate, chunk_rows=chunk_rows, steps=steps))


def simulate(given: PoolArrays, chunk_rows: int, steps: int) -> PoolPath:
    """Simulate a pool of checked arguments; traceable.

    Args:
        given: The arguments.
        chunk_rows: Rows of one chunk.
        steps: Rows in which the weights move after a decision.
    """
    rows = given.log_returns.shape[0] + 1
    starts = _chunk_weights(given, steps)
    # All but the last chunk's end: (chunks, rows of a chunk, n).
    ramp = np.minimum(np.arange(chunk_rows), steps)[None, :, None]
    moved = (starts[1:] - starts[:-1])[:, None, :] * (ramp / steps)
    weights = (starts[:-1, None, :] + moved).reshape(-1, starts.shape[1])[:rows]
    return PoolPath(weights, _value(weights, given))


def _chunk_weights(given: PoolArrays, steps: int) -> Array:
    """Weights at the start of every chunk and at the end of the last, (C + 1, n)."""
    total = jnp.sum(given.k)
    share = given.k / jnp.where(total > 0, total, 1.0)

    def decide(weights: Array, pull: Array) -> tuple[Array, Array]:
        weights = _moved(weights, pull - share * jnp.sum(pull), given, steps)
        return weights, weights

    pulls = given.k * _gradients(given)
    first = jnp.zeros_like(pulls, shape=pulls.shape[1:]) + given.initial_weights
    _, later = lax.scan(decide, first, pulls)
    return jnp.concatenate([first[None], first[None], later])


def _gradients(given: PoolArrays) -> Array:
    """Proportional gradients at all chunks but the first, (C - 1, n)."""
    lam, prices = given.decay, jnp.asarray(given.prices)

    # With p - e = lambda d and u a = lambda b the recursions are free of the cancellation in p - e
    # and of the division by lambda.
    def remember(state: tuple[Array, Array], change: Array) -> Any:
        d = lam * state[0] + change
        b = lam * state[1] + d
        return (d, b), (d, b)

    changes = prices[1:] - prices[:-1]
    zeros = jnp.zeros_like(changes, shape=changes.shape[1:]) * lam
    _, (d, b) = lax.scan(remember, (zeros, zeros), changes)
    return jnp.square(given.complement) * b / (prices[1:] - lam * d)


def _moved(weights: Array, pull: Array, given: PoolArrays, steps: int) -> Array:
    """Weights after one decision: kept from the smallest weight and from too large a change."""
    target = _guarded(weights + pull, given.minimum_weight)
    change = target - weights
    largest = jnp.max(jnp.abs(change))
    allowed = given.maximum_change * steps
    too_large = largest > allowed
    return weights + change * jnp.where(
        too_large, allowed / jnp.where(too_large, largest, 1.0), 1.0
    )


def _guarded(weights: Array, least: Any) -> Array:
    """The weights with the sum 1 and none below the smallest; the others share what is left."""
    n = weights.shape[0]
    weights = weights / jnp.sum(weights)
    low = weights < least
    weights = jnp.clip(weights, least, 1.0 - (n - 1) * least)
    # To share out can bring another one below, but not where there are three or fewer.
    for _ in range(max(1, n - 2)):
        low = low | (weights < least)
        others = jnp.sum(jnp.where(low, 0.0, weights))
        left = 1.0 - jnp.sum(low) * least
        scale = left / jnp.where(others > 0, others, 1.0)
        weights = jnp.where(low, least, weights * scale)
    return weights


def _value(weights: Array, given: PoolArrays) -> Array:
    before, after = weights[:-1], weights[1:]
    # log1p keeps the digits of the small changes inside an interpolation period.
    rows = before * given.log_returns - after * jnp.log1p((after - before) / before)
    # On a CPU a product with ones is four times as fast as a sum over so short an axis, and a scan
    # of scalars five times as fast as jnp.cumsum.
    growth = jnp.matmul(rows, jnp.ones_like(rows, shape=rows.shape[1:]), precision="highest")

    def add(total: Array, step: Array) -> tuple[Array, Array]:
        return total + step, total + step

    start = jnp.zeros_like(growth, shape=())
    _, later = lax.scan(add, start, growth)
    return given.initial_pool_value * jnp.exp(jnp.concatenate([start[None], later]))
