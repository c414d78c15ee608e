"""The transforms that flows are made of: splines, monotone networks, masks, orders and stacks."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.posterior.configuration import FlowConfiguration
from ax_jax_runners.posterior.flows import build_flow
from ax_jax_runners.posterior.flows.affine import MAX_LOG_SCALE, Affine
from ax_jax_runners.posterior.flows.flowjax_classes import Chain, Invert, Scan
from ax_jax_runners.posterior.flows.neural_autoregressive import MonotoneNetwork
from ax_jax_runners.posterior.flows.spline import RationalQuadratic
from ax_jax_runners.posterior.flows.stack import layer_orders

pytestmark = pytest.mark.slow

SPLINE = RationalQuadratic(bins=6, bound=4.0)
NETWORK = MonotoneNetwork(units=8, min_slope=1e-3, min_residual=0.05, bisection_steps=48)


@functools.partial(jax.jit, static_argnums=0)
def transform(transformer, x, raw):
    return transformer.transform(x, raw)


@functools.partial(jax.jit, static_argnums=0)
def inverse(transformer, y, raw):
    return transformer.inverse(y, raw)


def raw_numbers(rows: int, transformer, scale: float = 1.0, seed: int = 0) -> jax.Array:
    draws = np.random.default_rng(seed).normal(size=(rows, transformer.parameters))
    return jnp.asarray(scale * draws, jnp.float32)


def perturbed(module, scale: float):
    draws = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: (
            leaf + jnp.asarray(scale * draws.normal(size=leaf.shape), jnp.float32)
            if eqx.is_inexact_array(leaf)
            else leaf
        ),
        module,
    )


def small_flow(family: str, dimension: int, layers: int = 2, **changes):
    """Return layers with nothing around them."""
    plain = {"layers": layers, "width": 12, "bins": 4, "regression": False, "base_affine": False}
    configuration = FlowConfiguration(family=family, **{**plain, **changes})
    key = jax.random.key(2, impl="threefry2x32")
    return perturbed(build_flow(key, configuration, dimension=dimension, embedding_dim=2), 0.2)


def test_splines_are_the_identity_in_their_tails():
    x = jnp.asarray([-1e6, -50.0, -4.0, 4.0, 4.5, 1e6], jnp.float32)
    raw = raw_numbers(x.size, SPLINE)
    for mapped in (transform, inverse):
        y, log_slope = mapped(SPLINE, x, raw)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(log_slope, 0.0)


def test_splines_of_zeros_are_the_identity_inside():
    x = jnp.linspace(-4.0, 4.0, 2001)
    y, log_slope = transform(SPLINE, x, jnp.zeros((2001, SPLINE.parameters)))
    np.testing.assert_allclose(y, x, atol=1e-6)
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-6)


def test_splines_go_through_their_knots_with_their_derivatives():
    parts = jax.jit(SPLINE.parts)(raw_numbers(1, SPLINE))
    np.testing.assert_allclose(parts.widths.sum(), 8.0, rtol=1e-6)
    np.testing.assert_allclose(parts.heights.sum(), 8.0, rtol=1e-6)
    assert parts.derivatives.shape == (1, 7)
    np.testing.assert_array_equal(parts.derivatives[0, [0, -1]], 1.0)
    knots = -4.0 + np.cumsum(parts.widths[0])[:-1]
    raw = jnp.repeat(raw_numbers(1, SPLINE), 5, axis=0)
    for side in (-1e-4, 1e-4):
        y, log_slope = transform(SPLINE, jnp.asarray(knots + side, jnp.float32), raw)
        np.testing.assert_allclose(y, -4.0 + np.cumsum(parts.heights[0])[:-1], atol=2e-3)
        np.testing.assert_allclose(np.exp(log_slope), parts.derivatives[0, 1:-1], rtol=2e-2)


@pytest.mark.parametrize(
    "transformer", [SPLINE, NETWORK, Affine()], ids=["spline", "net", "affine"]
)
def test_transformers_rise_and_know_their_slope(transformer):
    x = jnp.linspace(-6.0, 6.0, 2001)
    raw = jnp.repeat(raw_numbers(1, transformer), x.size, axis=0)
    y, log_slope = transform(transformer, x, raw)
    assert (np.diff(y) > 0).all()
    back, log_inverse = inverse(transformer, y, raw)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(log_slope + log_inverse, 0.0, atol=1e-3)
    steps = np.diff(np.asarray(y, float)) / np.diff(np.asarray(x, float))
    np.testing.assert_allclose(np.log(steps), 0.5 * (log_slope[1:] + log_slope[:-1]), atol=0.05)


def test_transformers_stay_finite_whatever_the_network_says():
    for transformer in (SPLINE, NETWORK, Affine()):
        raw = raw_numbers(2001, transformer, scale=300.0)
        x = jnp.asarray(np.random.default_rng(3).normal(size=2001) * 3, jnp.float32)
        for mapped in (transform, inverse):
            assert all(np.isfinite(value).all() for value in mapped(transformer, x, raw))


def test_scales_are_bounded():
    _, log_slope = Affine().transform(jnp.ones(2), jnp.asarray([[0.0, 1e4], [0.0, -1e4]]))
    np.testing.assert_allclose(log_slope, [MAX_LOG_SCALE, -MAX_LOG_SCALE])


def test_monotone_networks_keep_their_least_slope_and_their_linear_part():
    x = jnp.linspace(-5.0, 5.0, 2001)
    raw = raw_numbers(x.size, NETWORK, scale=20.0)
    raw = raw.at[:, 1].set(-1e3)
    _, log_slope = transform(NETWORK, x, raw)
    assert np.exp(log_slope).min() >= NETWORK.min_slope
    # A raw weight of the linear part at its lowest leaves just its least, between steep units.
    flat = MonotoneNetwork(units=1, min_slope=0.0, min_residual=0.3, bisection_steps=8)
    lowest = jnp.asarray([[0.0, 0.0, -1e4, 0.0, -1e4, 0.0, 0.0]])
    _, log_slope = transform(flat, jnp.zeros(1), lowest)
    assert float(jnp.exp(log_slope[0])) == pytest.approx(0.3 + 0.7 * np.exp(-3.0), rel=1e-4)


@pytest.mark.parametrize(("steps", "error"), [(4, 1e-1), (12, 1e-3), (48, 1e-5)])
def test_bisections_halve_the_error_of_the_inverse(steps, error):
    network = MonotoneNetwork(units=8, min_slope=1e-3, min_residual=0.05, bisection_steps=steps)
    x = jnp.linspace(-3.0, 3.0, 200)
    raw = raw_numbers(x.size, network, scale=0.7)
    found = inverse(network, transform(network, x, raw)[0], raw)[0]
    worst = float(jnp.max(jnp.abs(found - x)))
    assert 0.01 * error < worst < 4 * error or (steps == 48 and worst < error)


def test_gradients_of_the_inverse_are_those_of_the_exact_inverse():
    raw, y = raw_numbers(1, NETWORK), jnp.asarray([0.7])
    (x, log_slope), by_raw = (
        inverse(NETWORK, y, raw),
        jax.jit(jax.jacrev(lambda raw: NETWORK.inverse(y, raw)[0]))(raw),
    )
    forward = jax.jit(jax.jacrev(lambda raw: NETWORK.transform(x, raw)[0]))(raw)
    np.testing.assert_allclose(by_raw, -forward * jnp.exp(log_slope), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["autoregressive", "neural_autoregressive"])
def test_masked_layers_have_a_triangular_jacobian(family):
    flow = small_flow(family, 4, layers=1)
    points = jnp.asarray(np.random.default_rng(6).normal(size=(50, 6)), jnp.float32)
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda row: flow.to_base(row[:4], row[4:])[0])))(points)
    np.testing.assert_array_equal(np.triu(slopes[:, :, :4], 1), 0.0)
    reached = (np.asarray(slopes) != 0).any(axis=0)
    assert reached[:, :4][np.tril_indices(4)].all()
    assert reached[:, 4:].all()


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 8])
def test_every_pair_of_layers_transforms_every_coordinate(dimension):
    orders = layer_orders(6, dimension)
    for pair in (orders[0:2], orders[2:4], orders[4:6]):
        assert all(sorted(order) == list(range(dimension)) for order in pair)
        moved = {place for order in pair for place in order[dimension // 2 :]}
        assert moved == set(range(dimension))
    halves = {frozenset(order[: dimension // 2]) for order in orders}
    assert len(halves) > 2 or dimension <= 3


def test_orders_reach_the_weights_of_a_flow():
    flow = small_flow("affine", 3, layers=1)
    jacobian = jax.jit(jax.jacfwd(lambda y: flow.to_base(y, jnp.ones(2))[0]))(
        jnp.asarray([0.2, 0.5, -1.0])
    )
    np.testing.assert_array_equal(jacobian[0], [1.0, 0.0, 0.0])
    assert (jacobian[1:, 0] != 0).all()


def test_spline_parts_are_those_of_all_layers():
    flow = small_flow("spline", 3, layers=3, bound=5.0)
    y, given = jnp.asarray([0.2, 0.5, -1.0]), jnp.ones(2)
    (density, again), parts, plain = eqx.filter_jit(
        lambda f: (
            f.log_prob_and_spline_parts(y, given),
            f.spline_parts(y, given),
            f.log_prob(y, given),
        )
    )(flow)
    assert [part.shape for part in parts] == [(6, 4), (6, 4), (6, 5)]
    np.testing.assert_allclose(parts.widths.sum(-1), 10.0, rtol=1e-6)
    assert parts.widths.min() > 0
    assert parts.derivatives.min() > 0
    assert float(density) == pytest.approx(float(plain), abs=1e-6)
    np.testing.assert_array_equal(again.heights, parts.heights)
    assert small_flow("affine", 3).spline_parts(y, given) is None


def test_layers_work_in_the_bijections_of_flowjax():
    flow = small_flow("spline", 2)
    given = jnp.ones(2)
    x = jnp.asarray([0.3, -0.6])
    one, two = (
        jax.tree.map(lambda leaf, layer=layer: leaf[layer], flow.stack.layers) for layer in range(2)
    )

    @eqx.filter_jit
    def all_ways(flow, one, two):
        u, slope = flow.to_base(x, given)
        scanned = Scan(flow.stack.layers).transform_and_log_det(x, given)
        chained = Chain([one, two]).transform_and_log_det(x, given)
        return scanned, chained, (u, slope), Invert(flow.stack).transform_and_log_det(u, given)

    scanned, chained, (_, slope), (back, inverse_slope) = all_ways(flow, one, two)
    np.testing.assert_allclose(chained[0], scanned[0], atol=1e-6)
    np.testing.assert_allclose(chained[1], scanned[1], atol=1e-6)
    np.testing.assert_allclose(back, x, atol=1e-5)
    np.testing.assert_allclose(inverse_slope, -slope, atol=1e-5)


@pytest.mark.parametrize(
    "family", ["spline", pytest.param("neural_autoregressive", marks=pytest.mark.slow)]
)
def test_descent_through_draws_gains_what_the_gradient_says(family):
    key = jax.random.key(4, impl="threefry2x32")
    flow = small_flow(family, 2)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(flow):
        keys = jax.random.split(key, 64)
        draws, density = jax.vmap(flow.sample_and_log_prob, (0, None))(keys, jnp.ones(2))
        return jnp.mean((draws - 1.0) ** 2) + 0.01 * jnp.mean(density)

    before, gradient = loss(flow)
    length = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient))
    moved = eqx.apply_updates(flow, jax.tree.map(lambda leaf: -1e-3 * leaf, gradient))
    after, _ = loss(moved)
    assert float(before - after) == pytest.approx(1e-3 * length, rel=0.2)
