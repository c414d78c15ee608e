"""Speed of the momentum pool, forward and by its gradient.

Times are the least of several repeats, with this process on one core. A
history of daily prices is vmapped over pools, as a campaign's batch is; a year of minute prices is
simulated from NumPy prices to NumPy weights, compilation and nothing else left out.

    python tests/benchmarks/momentum.py [--repeats 5] [--json figures.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.strategies import momentum_pool, synthetic_market

LANES = 64
YEAR = 365 * 1440
#: Pools a second on one core, and milliseconds.
TARGETS = {"1,099 days x 3": 5000.0, "year, hourly": 30.0, "year, by the minute": 100.0}


def quickest(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least wall-clock and least processor seconds of one call."""
    jax.block_until_ready(call())
    wall, cpu = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return min(wall), min(cpu)


def daily(days: int, assets: int, *, gradient: bool) -> Callable[[], Any]:
    """Pools of different memory and strength on one market, vmapped."""
    prices = synthetic_market(assets=assets, days=days).prices

    def growth(memory: jax.Array, k: jax.Array) -> jax.Array:
        path = momentum_pool(
            prices,
            memory_days=memory,
            k_per_day=k,
            chunk_period=1440,
            weight_interpolation_period=1440,
            maximum_change=0.03,
            minimum_weight=0.1 / assets,
        )
        return jnp.log(path.value[-1]) if gradient else path.value

    function = jax.grad(growth, argnums=(0, 1)) if gradient else growth
    program = jax.jit(jax.vmap(function))
    memory, k = jnp.geomspace(2.0, 200.0, LANES), jnp.geomspace(0.01, 50.0, LANES)
    return lambda: program(memory, k)


def minutes(chunk: int) -> Callable[[], Any]:
    """One pool on a year of minute prices of three assets."""
    shocks = np.random.default_rng(0).normal(size=(YEAR, 3)) * 1e-3
    prices = 100.0 * np.exp(np.cumsum(shocks, axis=0))
    return lambda: momentum_pool(
        prices,
        memory_days=20.0,
        k_per_day=5.0,
        chunk_period=chunk,
        weight_interpolation_period=chunk,
        maximum_change=3e-4,
        minimum_weight=0.1 / 3,
        minutes_per_row=1,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # JAX counts the cores that it may use when its first program runs.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    with jax.enable_x64(True):
        for days, assets in ((1099, 3), (8313, 4), (8313, 20)):
            # Gradients of the largest case take minutes and tell nothing more.
            for gradient in (False, True) if assets < 20 else (False,):
                name = f"{days:,} days x {assets}{', gradient' if gradient else ''}"
                wall, cpu = quickest(daily(days, assets, gradient=gradient), given.repeats)
                rows.append((name, "pools/s", LANES / wall, LANES / cpu))
        for name, chunk in (("year, hourly", 60), ("year, by the minute", 1)):
            wall, cpu = quickest(minutes(chunk), given.repeats)
            rows.append((name, "ms", wall * 1e3, cpu * 1e3))
    print(f"{platform.processor() or platform.machine()}, JAX {jax.__version__}, {LANES} lanes")
    print(f"{'case':28}{'unit':>9}{'wall':>11}{'cpu':>11}{'target':>11}")
    for name, unit, wall, cpu in rows:
        target = TARGETS.get(name)
        print(f"{name:28}{unit:>9}{wall:11,.1f}{cpu:11,.1f}{target or '':>11}")
    if given.json:
        keys = ("case", "unit", "wall", "cpu")
        given.json.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))


if __name__ == "__main__":
    main()
