"""The momentum pool against explicit arbitrage, and what must hold whatever the numbers are."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Log2, MemoryDecay
from ax_jax_runners.strategies import momentum_pool
from tests.unit.strategy_references import decay_of, pool_by_arbitrage

LIMITS = {"maximum_change": 0.03, "minimum_weight": 0.1 / 3}
DAILY = {"chunk_period": 1440, "weight_interpolation_period": 1440, **LIMITS}


def walk(rows: int, assets: int, *, seed: int = 0, step: float = 0.04) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(size=(rows, assets)) * step
    return 100.0 * np.exp(np.cumsum(shocks, axis=0))


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    return walk(600, 3)


CASES = {
    "daily": (1099, 3, {"chunk_rows": 1, "steps": 1, "maximum_change": 0.03}),
    "slow weights": (400, 3, {"chunk_rows": 1, "steps": 1, "maximum_change": 3e-4}),
    "minutes in hourly chunks": (
        1500,
        3,
        {"chunk_rows": 60, "steps": 60, "maximum_change": 3e-4, "minutes_per_row": 1},
    ),
    "weights rest in a chunk": (
        1010,
        2,
        {"chunk_rows": 24, "steps": 7, "maximum_change": 0.01, "minutes_per_row": 60},
    ),
    "guard rails of many assets": (
        300,
        6,
        {"chunk_rows": 1, "steps": 1, "maximum_change": 1.0},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("each_asset", [False, True])
def test_weights_and_value_are_those_of_explicit_arbitrage(case: str, each_asset: bool) -> None:
    rows, n, options = CASES[case]
    minutes = options.get("minutes_per_row", 1440)
    history = walk(rows, n, step=0.04 * np.sqrt(minutes / 1440))
    memory = np.linspace(3.0, 40.0, n) if each_asset else 12.0
    k = np.linspace(0.5, 6.0, n) if each_asset else 4.0
    start = np.arange(1.0, n + 1) / np.arange(1.0, n + 1).sum()
    weights, value = pool_by_arbitrage(
        history,
        memory_days=memory,
        k_per_day=k,
        minimum_weight=0.1 / n,
        initial_weights=start,
        initial_pool_value=7.0,
        **options,
    )
    path = momentum_pool(
        history,
        memory_days=memory,
        k_per_day=k,
        chunk_period=options["chunk_rows"] * minutes,
        weight_interpolation_period=options["steps"] * minutes,
        maximum_change=options["maximum_change"],
        minimum_weight=0.1 / n,
        minutes_per_row=minutes,
        initial_weights=start,
        initial_pool_value=7.0,
    )
    assert isinstance(path.weights, np.ndarray)
    assert path.weights.dtype == path.value.dtype == np.float64
    np.testing.assert_allclose(path.weights, weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(path.value, value, rtol=1e-12, atol=0)
    # The case is worth something only if the weights moved.
    assert np.ptp(path.weights, axis=0).max() > 0.005


def test_weights_depend_on_earlier_rows_only(prices: np.ndarray) -> None:
    given = {"memory_days": 10.0, "k_per_day": 5.0, **DAILY}
    before = momentum_pool(prices, **given)
    for row in (1, 250, 599):
        changed = prices.copy()
        changed[row:] *= np.array([3.0, 0.2, 1.0])
        after = momentum_pool(changed, **given)
        np.testing.assert_array_equal(after.weights[: row + 1], before.weights[: row + 1])
        np.testing.assert_array_equal(after.value[:row], before.value[:row])
        assert after.value[row] != before.value[row]
    assert np.abs(after.weights - before.weights).max() == 0.0  # the last row decides nothing


def test_a_decision_is_in_force_at_the_end_of_its_chunk() -> None:
    flat = np.full((10, 2), 100.0)
    flat[3:, 0] = 150.0
    path = momentum_pool(
        flat,
        memory_days=0.01,
        k_per_day=100.0,
        chunk_period=3,
        weight_interpolation_period=2,
        minutes_per_row=1,
        maximum_change=1.0,
        minimum_weight=0.1,
    )
    # The price changes at the decision of row 3: half of the way is gone in row 4, all in row 5.
    np.testing.assert_array_equal(path.weights[:4], 0.5)
    assert path.weights[5, 0] > 0.55
    np.testing.assert_allclose(path.weights[4], (path.weights[3] + path.weights[5]) / 2)
    np.testing.assert_array_equal(path.weights[6], path.weights[5])


@pytest.mark.parametrize("assets", [2, 3, 5, 20])
@pytest.mark.parametrize("k", [1e-3, 1.0, 1e3, 1e6])
def test_guard_rails_and_speed_limit_hold(assets: int, k: float) -> None:
    history = walk(200, assets, seed=assets, step=0.1)
    least, fastest = 0.2 / assets, 0.05
    path = momentum_pool(
        history,
        memory_days=5.0,
        k_per_day=k,
        chunk_period=1440,
        weight_interpolation_period=1440,
        maximum_change=fastest,
        minimum_weight=least,
    )
    assert path.weights.min() >= least - 1e-14
    assert path.weights.max() <= 1.0 - (assets - 1) * least + 1e-14
    assert np.abs(np.diff(path.weights, axis=0)).max() <= fastest + 1e-14
    np.testing.assert_allclose(path.weights.sum(axis=1), 1.0, rtol=0, atol=1e-13)


def test_constant_prices_keep_the_weights_and_the_value() -> None:
    start = np.array([0.2, 0.3, 0.5])
    history = np.broadcast_to([3.0, 70.0, 1e5], (300, 3))
    path = momentum_pool(history, memory_days=20.0, k_per_day=50.0, initial_weights=start, **DAILY)
    np.testing.assert_allclose(path.weights, np.broadcast_to(start, (300, 3)), rtol=1e-14)
    np.testing.assert_allclose(path.value, 1.0, rtol=1e-13)


def test_a_pool_without_strength_keeps_its_weights(prices: np.ndarray) -> None:
    path = momentum_pool(prices, memory_days=20.0, k_per_day=0.0, **DAILY)
    np.testing.assert_allclose(path.weights, 1 / 3, rtol=1e-13)
    # Constant weights: the geometric mean of the prices.
    np.testing.assert_allclose(
        path.value, np.exp(np.log(prices / prices[0]).mean(axis=1)), rtol=1e-11
    )


def test_one_asset_can_be_left_out_of_the_momentum(prices: np.ndarray) -> None:
    path = momentum_pool(
        prices,
        memory_days=10.0,
        k_per_day=[1e-3, 0.0, 1e-3],
        **DAILY,
    )
    assert path.weights.min() > DAILY["minimum_weight"]  # no guard rail was met
    np.testing.assert_allclose(path.weights[:, 1], 1 / 3, rtol=1e-12)
    assert np.ptp(path.weights[:, 0]) > 1e-4


def test_equal_parameters_per_asset_are_the_common_ones(prices: np.ndarray) -> None:
    common = momentum_pool(prices, memory_days=15.0, k_per_day=2.0, **DAILY)
    each = momentum_pool(prices, memory_days=[15.0] * 3, k_per_day=[2.0] * 3, **DAILY)
    np.testing.assert_array_equal(common.weights, each.weights)
    np.testing.assert_array_equal(common.value, each.value)


def test_scale_of_the_prices_does_not_matter(prices: np.ndarray) -> None:
    given = {"memory_days": 15.0, "k_per_day": 2.0, **DAILY}
    one = momentum_pool(prices, **given)
    other = momentum_pool(prices * [1e-9, 1.0, 1e9], **given)
    np.testing.assert_allclose(other.value, one.value, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [1, 1440])
def test_extreme_parameters_stay_finite(minutes: int) -> None:
    history = walk(120, 3, step=0.3)

    def grown(log_memory: jax.Array, log_k: jax.Array) -> jax.Array:
        path = momentum_pool(
            history,
            memory_days=jnp.exp(log_memory),
            k_per_day=jnp.exp(log_k),
            chunk_period=minutes,
            weight_interpolation_period=minutes,
            minutes_per_row=minutes,
            **LIMITS,
        )
        return jnp.log(path.value[-1])

    memory, k = np.meshgrid([1e-3, 0.05, 3.0, 1e4], [2.0**-20, 1.0, 2.0**20])
    with jax.enable_x64(True):
        value, slopes = jax.jit(jax.vmap(jax.value_and_grad(grown, argnums=(0, 1))))(
            np.log(memory.ravel()), np.log(k.ravel())
        )
    assert np.isfinite(value).all()
    assert np.isfinite(slopes).all()


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(prices: np.ndarray) -> None:
    decay, strength = MemoryDecay(1440.0), Log2()

    def growth(raw: jax.Array) -> jax.Array:
        path = momentum_pool(
            prices,
            memory_days=decay.to_value(raw[:3]),
            k_per_day=strength.to_value(raw[3:]),
            **DAILY,
        )
        return jnp.log(path.value[-1])

    raw = np.array([3.0, 4.0, 5.0, -3.0, -2.0, -1.0])
    with jax.enable_x64(True):
        gradient = np.asarray(jax.jit(jax.grad(growth))(raw))
        shifted = raw + 1e-6 * np.concatenate([np.eye(6), -np.eye(6)])
        values = np.asarray(jax.jit(jax.vmap(growth))(shifted))
        slopes = (values[:6] - values[6:]) / 2e-6
    np.testing.assert_allclose(gradient, slopes, rtol=2e-5, atol=1e-8)
    assert np.abs(gradient).min() > 1e-6


def test_traced_and_eager_paths_agree(prices: np.ndarray) -> None:
    memories = np.array([5.0, 50.0])

    def value(memory: jax.Array) -> jax.Array:
        return momentum_pool(prices, memory_days=memory, k_per_day=2.0, **DAILY).value

    with jax.enable_x64(True):
        many = np.asarray(jax.jit(jax.vmap(value))(memories))
    for memory, found in zip(memories, many, strict=True):
        np.testing.assert_allclose(found, value(memory), rtol=1e-12)


def test_float64_whatever_the_process_computes_in(prices: np.ndarray) -> None:
    given = {"memory_days": 25.0, "k_per_day": 2.0, **DAILY}
    with jax.enable_x64(False):
        off = momentum_pool(prices, **given)
        traced = jax.jit(lambda m: momentum_pool(prices, **{**given, "memory_days": m}).value)(25.0)
    with jax.enable_x64(True):
        on = momentum_pool(prices, **given)
    np.testing.assert_array_equal(off.value, on.value)
    # Inside somebody's own 32-bit program the numbers are 32-bit ones, and near.
    assert traced.dtype == np.float32
    np.testing.assert_allclose(traced, on.value, rtol=1e-3)


def test_decay_of_the_references_is_that_of_the_bijector() -> None:
    for days, minutes in ((0.1, 1440.0), (30.0, 1440.0), (365.0, 1.0)):
        found = MemoryDecay(minutes).to_decay(days)
        np.testing.assert_allclose(found, decay_of(days, minutes), rtol=1e-13)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prices": np.ones((5, 1))}, r"shape \(5, 1\).*at least 2 assets"),
        ({"prices": np.array([[1.0, 2.0], [1.0, -2.0]])}, r"row 1 of asset 1 is -2.0"),
        ({"prices": np.array([[1.0, np.nan], [1.0, 2.0]])}, r"row 0 of asset 1 is nan"),
        ({"prices": [["a", "b"]]}, "give numbers"),
        ({"memory_days": 0.0}, "memory_days is 0.0; give days above 0"),
        ({"memory_days": [1.0, 2.0]}, r"memory_days has the shape \(2,\) for 3 assets"),
        ({"k_per_day": -1.0}, "k_per_day is -1.0"),
        ({"k_per_day": float("inf")}, "k_per_day is inf"),
        ({"minimum_weight": 0.4}, "minimum_weight is 0.4; give a number above 0 and at most 1/3"),
        ({"minimum_weight": 0.0}, "minimum_weight is 0.0"),
        ({"maximum_change": 0.0}, "maximum_change is 0.0"),
        ({"chunk_period": 1000}, "chunk_period is 1000 minutes and a row"),
        ({"chunk_period": 1440.0}, "chunk_period is 1440.0; give a whole number"),
        ({"weight_interpolation_period": 2880}, "longer than chunk_period"),
        ({"initial_weights": [0.5, 0.5]}, "initial_weights have the shape"),
        ({"initial_weights": [0.5, 0.5, 0.5]}, "have the sum 1.5"),
        ({"initial_weights": [0.01, 0.01, 0.98]}, "smallest 0.01, below minimum_weight"),
        ({"initial_pool_value": -1.0}, "initial_pool_value is -1.0"),
    ],
)
def test_arguments_that_cannot_be_used(changed: dict, sentence: str) -> None:
    given = {"prices": np.ones((5, 3)), "memory_days": 10.0, "k_per_day": 1.0, **DAILY, **changed}
    with pytest.raises(ConfigurationError, match=sentence):
        momentum_pool(given.pop("prices"), **given)


def test_import_changes_neither_precision_nor_error_state() -> None:
    code = (
        "import numpy as np, jax\n"
        "before = np.geterr(), jax.config.jax_enable_x64\n"
        "import ax_jax_runners.strategies, ax_jax_runners.problems.momentum_pool\n"
        "assert before == (np.geterr(), jax.config.jax_enable_x64), before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
