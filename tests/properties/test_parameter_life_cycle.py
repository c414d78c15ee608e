"""What holds for all parameters: bijectors, ensembles, designs and fixed point."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ax_jax_runners.parameters import (
    Bijector,
    Identity,
    Interval,
    Log2,
    Logit,
    MemoryDecay,
    Squareplus,
    fixed_point,
    fixed_point_simplex,
    product_design,
    stack,
    stack_batches,
    unstack,
)

ends = st.floats(-1e6, 1e6)
bijectors = st.one_of(
    st.just(Identity()),
    st.just(Log2()),
    st.just(Logit()),
    st.tuples(ends, st.floats(1e-3, 1e6)).map(lambda pair: Interval(pair[0], sum(pair))),
    st.just(Squareplus()),
    st.floats(1, 10_080).map(MemoryDecay),
)
raws = st.floats(-15.0, 15.0)


@functools.partial(jax.jit, static_argnums=0)
def slopes(bijector: Bijector, raw: Any) -> Any:
    return jax.grad(lambda x: jax.numpy.sum(bijector.to_value(x)))(raw)


def ulp(bijector: Bijector, raw: float) -> float:
    """How far raw numbers are apart of neighbouring values, a few times over."""
    value = bijector.to_value(raw)
    lower, upper = bijector.domain
    # Interval measures from its ends, whose own digits may be the coarser ones.
    coarse = max(abs(value), *(abs(end) for end in (lower, upper) if math.isfinite(end)), 0.0)
    slope = math.exp(bijector.log_slope(raw))
    return 1e-13 * (1 + abs(raw)) + 8 * np.finfo(float).eps * coarse / slope


@given(bijectors, raws)
def test_raw_numbers_come_back(bijector: Bijector, raw: float) -> None:
    value = bijector.to_value(raw)
    lower, upper = bijector.domain
    if lower < value < upper:
        assert abs(bijector.to_raw(value) - raw) <= ulp(bijector, raw)


@given(bijectors, st.lists(st.floats(-300.0, 300.0), min_size=2, max_size=20))
def test_bijectors_rise(bijector: Bijector, raw: list[float]) -> None:
    raw = sorted(raw)
    values = bijector.to_value(raw)
    assert np.all(np.diff(values) >= 0)
    lower, upper = bijector.domain
    inside = (values > lower) & (values < upper)
    again = bijector.to_raw(values[inside])
    assert np.all(np.diff(again) >= -1e-12 * (1 + np.abs(again[1:])))


@given(hnp.arrays(np.float64, 8, elements=st.floats(-30.0, 30.0)))
@pytest.mark.parametrize(
    "bijector",
    [Identity(), Log2(), Logit(), Interval(-2.0, 5.0), Squareplus(), MemoryDecay(60)],
    ids=lambda bijector: bijector.name,
)
def test_slopes_are_those_of_automatic_differentiation(bijector: Bijector, raw: np.ndarray) -> None:
    with jax.enable_x64(True):
        found = slopes(bijector, raw)
    np.testing.assert_allclose(np.exp(bijector.log_slope(raw)), found, rtol=1e-9)


shapes = hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
trees = st.recursive(
    shapes.map(lambda shape: ("leaf", shape)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=6,
)


def filled(tree: Any, number: int) -> Any:
    if isinstance(tree, dict):
        return {name: filled(item, number) for name, item in tree.items()}
    if isinstance(tree, tuple) and tree and tree[0] == "leaf":
        return np.full(tree[1], number, dtype=np.float64)
    return type(tree)(filled(item, number) for item in tree)


@given(trees, st.integers(1, 7), st.integers(1, 4))
def test_what_is_stacked_comes_back(tree: Any, count: int, size: int) -> None:
    members = [filled(tree, number) for number in range(count)]
    assume(jax.tree.leaves(members[0]))
    for again in (
        unstack(stack(members)),
        [member for batch in stack_batches(members, size=size) for member in unstack(batch)],
    ):
        assert jax.tree.structure(again) == jax.tree.structure(members)
        jax.tree.map(np.testing.assert_array_equal, again, members)


def by_fractions(value: float, decimals: int, rounding: str) -> int:
    scaled = Fraction(value) * 10**decimals
    if rounding == "floor":
        return math.floor(scaled)
    if rounding == "ceiling":
        return math.ceil(scaled)
    if rounding == "down":
        return math.trunc(scaled)
    return round(scaled)


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 40),
    st.sampled_from(["half_even", "floor", "ceiling", "down"]),
)
def test_fixed_point_is_the_arithmetic_of_fractions(
    value: float, decimals: int, rounding: str
) -> None:
    found = fixed_point(value, decimals=decimals, rounding=rounding)
    assert found == str(by_fractions(value, decimals, rounding))


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12).filter(lambda w: sum(w) > 1e-3),
    st.integers(0, 20),
)
def test_a_simplex_sums_to_one_and_no_weight_is_off_by_a_unit(
    weights: list[float], decimals: int
) -> None:
    shares = [weight / math.fsum(weights) for weight in weights]
    units = [int(text) for text in fixed_point_simplex(shares, decimals=decimals)]
    assert sum(units) == 10**decimals
    total = sum(map(Fraction, shares))
    for unit, share in zip(units, shares, strict=True):
        assert abs(unit - Fraction(share) / total * 10**decimals) < 1
        assert unit >= 0


@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1
    )
)
def test_a_product_is_the_set_of_combinations_in_order(axes: dict[str, list[int]]) -> None:
    design = product_design(axes)
    once = {name: list(dict.fromkeys(values)) for name, values in axes.items()}
    assert len(design) == math.prod(map(len, once.values()))
    places = [tuple(once[name].index(point[name]) for name in axes) for point in design]
    assert places == sorted(places)
