"""Every family of conditional flows, in several dimensions, against what a density must be."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import FAMILIES, FlowConfiguration
from ax_jax_runners.posterior.flows import ConditionalFlow, build_flow
from ax_jax_runners.posterior.flows.base import Base
from ax_jax_runners.posterior.flows.regression import Regression
from ax_jax_runners.posterior.training.at_once import trained_leaves

EMBEDDING = 3
ROWS = 2000
SMALL = FlowConfiguration(layers=2, width=16, depth=2, bins=5, bound=6.0, transform_units=6)

slow = pytest.mark.slow

#: family, dimension, base, base affine: every value of each with every family.
CASES = [
    pytest.param("spline", 1, "logistic", True, marks=slow),
    pytest.param("spline", 2, "gaussian", False, marks=slow),
    pytest.param("spline", 3, "student_t", True, marks=slow),
    pytest.param("spline", 5, "gaussian", True, marks=slow),
    pytest.param("affine", 1, "gaussian", True, marks=slow),
    pytest.param("affine", 2, "student_t", False, marks=slow),
    ("affine", 5, "logistic", True),
    pytest.param("autoregressive", 1, "student_t", False, marks=slow),
    pytest.param("autoregressive", 2, "logistic", True, marks=slow),
    pytest.param("autoregressive", 3, "gaussian", False, marks=slow),
    pytest.param("neural_autoregressive", 1, "gaussian", True, marks=slow),
    ("neural_autoregressive", 2, "student_t", False),
    pytest.param("neural_autoregressive", 3, "logistic", True, marks=slow),
    pytest.param("neural_autoregressive", 5, "student_t", True, marks=slow),
]


def new_flow(family: str, dimension: int, *, seed: int = 0, **changes: object) -> ConditionalFlow:
    configuration = dataclasses.replace(SMALL, family=family, **changes)
    key = jax.random.key(seed, impl="threefry2x32")
    return build_flow(key, configuration, dimension=dimension, embedding_dim=EMBEDDING)


def perturbed(flow: ConditionalFlow, scale: float, *, seed: int = 1) -> ConditionalFlow:
    """Return the flow with normal numbers added to all weights, and some rows regressed on."""
    draws = np.random.default_rng(seed)
    weights, others = eqx.partition(flow, trained_leaves(flow))
    moved = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(scale * draws.normal(size=leaf.shape), leaf.dtype), weights
    )
    y, x = draws.normal(size=(50, flow.dimension)), draws.normal(size=(50, flow.embedding_dim))
    y = y @ draws.normal(size=(flow.dimension, flow.dimension)) + scale * x[:, :1]
    regression = jax.tree.map(
        lambda new, old: jnp.broadcast_to(new, old.shape), Regression.fit(y, x), flow.regression
    )
    learned = eqx.tree_at(lambda part: part.regression, others, regression)
    return eqx.combine(moved, learned)


def embeddings(rows: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(7).normal(size=(rows, EMBEDDING)), jnp.float32)


@eqx.filter_jit
def draw(flow: ConditionalFlow, keys: jax.Array, given: jax.Array) -> tuple[jax.Array, ...]:
    u = jax.vmap(flow.base.sample)(keys)
    return u, *jax.vmap(flow.from_base)(u, given)


@eqx.filter_jit
def density_and_slopes(flow: ConditionalFlow, y: jax.Array, given: jax.Array) -> tuple:
    """Return u, log determinants, autodiff's for 16 rows, and the gradient of their mean."""

    @eqx.filter_grad(has_aux=True)
    def mean(flow: ConditionalFlow) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        u, log_det = jax.vmap(flow.to_base)(y, given)
        return log_det[:ROWS].mean() - 0.5 * (u[:ROWS] ** 2).mean(), (u, log_det)

    gradient, (u, log_det) = mean(flow)
    jacobian = jax.vmap(jax.jacfwd(lambda y, e: flow.to_base(y, e)[0]))(y[:16], given[:16])
    return u, log_det, jnp.linalg.slogdet(jacobian)[1], gradient


@pytest.fixture(scope="module")
def keys() -> jax.Array:
    return jax.random.split(jax.random.key(5, impl="threefry2x32"), ROWS)


@pytest.mark.parametrize(("family", "dimension", "base", "base_affine"), CASES)
def test_flow_is_a_density(family, dimension, base, base_affine, keys):
    given = embeddings(ROWS)
    new = new_flow(family, dimension, base=base, base_affine=base_affine)
    u, y, log_det = draw(new, keys, given)
    np.testing.assert_allclose(y, u, atol=2e-5)
    np.testing.assert_allclose(log_det, 0.0, atol=2e-5)
    np.testing.assert_allclose(np.std(y, axis=0), new.base.standard_deviation, rtol=0.1)

    flow = perturbed(new, 0.1)
    u, y, log_det = draw(flow, keys, given)
    assert np.std(log_det) > 0.02
    grid, cell = whole_space(dimension)
    points = jnp.concatenate([y, grid])
    beside = jnp.concatenate([given, jnp.broadcast_to(given[:1], (len(grid), EMBEDDING))])
    back, there, exact, gradient = density_and_slopes(flow, points, beside)
    np.testing.assert_allclose(back[:ROWS], u, atol=1e-4)
    np.testing.assert_allclose(there[:ROWS] + log_det, 0.0, atol=1e-4)
    np.testing.assert_allclose(there[:16], exact, atol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
    if len(grid):
        density = jax.vmap(flow.base.log_prob)(back[ROWS:]) + there[ROWS:]
        assert np.exp(np.asarray(density, float)).sum() * cell == pytest.approx(1.0, abs=0.01)


def whole_space(dimension: int) -> tuple[np.ndarray, float]:
    """Return a grid (n, dimension) and the volume of its cells; nothing beyond two dimensions."""
    if dimension > 2:
        return np.zeros((0, dimension), np.float32), 0.0
    axis = np.linspace(-25.0, 25.0, 4001 if dimension == 1 else 301, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[axis] * dimension), axis=-1).reshape(-1, dimension)
    return grid, float(axis[1] - axis[0]) ** dimension


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    ["spline", *(pytest.param(family, marks=slow) for family in FAMILIES if family != "spline")],
)
def test_stacked_flows_are_the_flows_one_by_one(family):
    seeds = jax.random.split(jax.random.key(3, impl="threefry2x32"), 3)
    configuration = dataclasses.replace(SMALL, family=family, base_affine=True)

    def build(key):
        return build_flow(key, configuration, dimension=2, embedding_dim=EMBEDDING)

    stacked = perturbed(eqx.filter_vmap(build)(seeds), 0.1)
    y, given = jnp.asarray([0.4, -1.2]), embeddings(1)[0]
    key = jax.random.key(9, impl="threefry2x32")

    def both(flow):
        return flow.log_prob(y, given), *flow.sample_and_log_prob(key, given)

    together = eqx.filter_jit(eqx.filter_vmap(both))(stacked)
    alone = eqx.filter_jit(both)
    for arm in range(3):
        one = jax.tree.map(lambda leaf, arm=arm: leaf[arm] if eqx.is_array(leaf) else leaf, stacked)
        for many, single in zip(together, alone(one), strict=True):
            np.testing.assert_allclose(many[arm], single, rtol=1e-6, atol=1e-6)
    built = eqx.filter_vmap(build)(seeds)
    single = build(seeds[1])
    for many, one in zip(jax.tree.leaves(built), jax.tree.leaves(single), strict=True):
        np.testing.assert_array_equal(many[1], one)


@pytest.mark.parametrize(
    "family", ["spline", *(pytest.param(name, marks=slow) for name in FAMILIES if name != "spline")]
)
def test_many_rows_are_what_each_is_by_itself(family, keys):
    flow = perturbed(new_flow(family, 3, base_affine=True), 0.1)
    given = embeddings(50)

    @eqx.filter_jit
    def both(flow):
        drawn = jax.vmap(flow.sample)(keys[:50], given)
        single = drawn, jax.vmap(flow.log_prob)(drawn, given)
        shared = jax.vmap(flow.log_prob, (0, None))(drawn, given[0])
        rows = flow.sample_rows(keys[:50], given), flow.log_prob_rows(drawn, given)
        return (*single, shared), (*rows, flow.log_prob_rows(drawn, given[0]))

    for one, many in zip(*both(flow), strict=True):
        assert np.std(one) > 0.1
        np.testing.assert_allclose(many, one, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("spline", "bins", 3),
        ("spline", "bound", 2.0),
        ("spline", "base", "student_t"),
        ("neural_autoregressive", "transform_units", 3),
        ("neural_autoregressive", "min_slope", 0.5),
        ("neural_autoregressive", "min_residual", 0.9),
    ],
)
@pytest.mark.slow
def test_every_number_of_a_family_changes_the_density(family, field, value):
    """Sizes of networks aside, which the next test counts."""
    y, given = jnp.asarray([0.4, -1.2]), embeddings(1)[0]
    plain = perturbed(new_flow(family, 2), 0.2).log_prob(y, given)
    other = perturbed(new_flow(family, 2, **{field: value}), 0.2).log_prob(y, given)
    assert abs(float(plain - other)) > 1e-3


def count(flow: ConditionalFlow) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, trained_leaves(flow))))


def test_sizes_of_a_configuration_are_those_of_its_networks():
    # One coordinate and the embedding go in, two hidden layers, 3 x 5 - 1 numbers come out.
    layer = (1 + EMBEDDING + 1) * 16 + (16 + 1) * 16 + (16 + 1) * 14
    assert count(new_flow("spline", 2, base_affine=False)) == 2 * layer
    assert count(new_flow("spline", 2, layers=7, base_affine=False)) == 7 * layer
    assert count(new_flow("spline", 2, depth=3, base_affine=False)) == 2 * (layer + (16 + 1) * 16)
    assert count(new_flow("spline", 2, depth=0, base_affine=False)) == 2 * (1 + EMBEDDING + 1) * 14
    assert count(new_flow("spline", 2, width=8, base_affine=False)) == 2 * ((5 + 9) * 8 + 9 * 14)
    base = (EMBEDDING + 1) * 16 + (16 + 1) * 16 + (16 + 1) * 4
    assert count(new_flow("spline", 2, base_affine=True)) == 2 * layer + base
    assert count(new_flow("affine", 2, base_affine=False)) == 2 * (layer - (16 + 1) * 12)


def test_what_a_flow_says_of_itself():
    flow = new_flow("spline", 1)
    assert (flow.dimension, flow.embedding_dim, flow.effective_family) == (1, EMBEDDING, "spline")
    other = new_flow("spline", 1, seed=1)
    leaves = zip(jax.tree.leaves(flow), jax.tree.leaves(other), strict=True)
    assert any(not np.array_equal(one, two) for one, two in leaves)


def test_float32_stays_float32_where_float64_is_on(keys):
    given = np.asarray(embeddings(1)[0])
    with jax.enable_x64(True):
        flow = new_flow("spline", 3, base="student_t", base_affine=True)
        y, density = flow.sample_and_log_prob(keys[0], jnp.asarray(given))
    assert (y.dtype, density.dtype) == (jnp.float32, jnp.float32)


@pytest.mark.parametrize(
    ("name", "reference"), [("gaussian", "norm"), ("logistic", "logistic"), ("student_t", "t")]
)
def test_bases_are_the_textbook_distributions(name, reference, keys):
    from scipy import stats

    base = Base(name, 2)
    frozen = getattr(stats, reference)(*((5,) if reference == "t" else ()))
    u = np.asarray([-30.0, 1.5], np.float32)
    assert float(base.log_prob(jnp.asarray(u))) == pytest.approx(frozen.logpdf(u).sum(), rel=1e-5)
    draws = np.asarray(jax.jit(jax.vmap(base.sample))(keys))
    assert stats.kstest(draws.ravel(), frozen.cdf).pvalue > 1e-3
    assert base.standard_deviation == pytest.approx(frozen.std())


def test_refusals():
    with pytest.raises(ConfigurationError, match="dimension of a flow is 0; give at least 1"):
        new_flow("spline", 0)
    with pytest.raises(ConfigurationError, match="min_slope is 1.0; give less than 1"):
        new_flow("neural_autoregressive", 2, min_slope=1.0)
    with pytest.raises(ConfigurationError, match="embedding_dim of a flow is 0"):
        build_flow(jax.random.key(0), SMALL, dimension=1, embedding_dim=0)
