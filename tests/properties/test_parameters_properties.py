"""Properties of priors and of the way to Ax, for any parameters."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ax_jax_runners.parameters import Parameter, ParameterSpace

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))
width = st.floats(0.1, 1e6).map(lambda x: round(x, 6))
name = st.text(
    st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=8
).filter(str.strip)


@st.composite
def parameters(draw: st.DrawFn, label: str) -> Parameter:
    kind = draw(st.sampled_from(["float", "log", "integer", "numbers", "strings", "fixed"]))
    if kind == "float":
        lower = draw(finite)
        return Parameter(label, lower=lower, upper=lower + draw(width))
    if kind == "log":
        lower = draw(width)
        return Parameter(label, lower=lower, upper=lower * (1 + draw(width)), log_scale=True)
    if kind == "integer":
        lower = draw(st.integers(-1000, 1000))
        return Parameter(label, lower=lower, upper=lower + draw(st.integers(1, 99)), integer=True)
    if kind == "numbers":
        values = draw(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True))
        return Parameter(label, choices=sorted(values))
    if kind == "strings":
        return Parameter(label, choices=draw(st.lists(name, min_size=2, max_size=5, unique=True)))
    return Parameter(label, fixed=draw(st.one_of(finite, st.integers(), name)))


spaces = st.lists(name, min_size=1, max_size=5, unique=True).flatmap(
    lambda names: st.tuples(*(parameters(label) for label in names)).map(ParameterSpace)
)


@settings(max_examples=40)
@given(spaces)
def test_a_space_without_priors_survives_ax(space: ParameterSpace) -> None:
    assert ParameterSpace.from_ax(space.to_ax()) == space


@settings(max_examples=40)
@given(spaces, st.floats(0.0, 1.0))
def test_values_and_theta_are_two_forms_of_the_same(space: ParameterSpace, u: float) -> None:
    theta = space.icdf(np.full(space.dimension, u)) if space.dimension else np.zeros(0)
    assert np.all((theta >= space.lower) & (theta <= space.upper))
    np.testing.assert_array_equal(space.pack(space.unpack(theta)), theta)
    if space.dimension:
        assert np.isfinite(space.log_prior(theta))
        assert np.all(space.cdf(theta) >= u - 1e-9 * (1 + abs(theta).max()))


@pytest.mark.slow
@settings(max_examples=4)
@given(
    st.floats(0.3, 20.0),
    st.floats(0.3, 20.0),
    st.lists(st.floats(1e-6, 1 - 1e-6), min_size=4, max_size=4),
)
def test_numerical_quantiles_invert_the_cdf(a: float, b: float, u: list[float]) -> None:
    beta, gamma = Parameter("beta", dist.Beta(a, b)), Parameter("gamma", dist.Gamma(a, b))
    space = ParameterSpace([beta, gamma])
    rows = np.array(u)[:, None] * np.ones(2)
    x = space.icdf(rows)
    # Where the upper tail of a Beta is thinner than the spacing of floats below 1, no x is closer.
    spacing = np.exp(ParameterSpace([beta]).log_prior(x[:, :1])) * np.spacing(x[:, 0])
    error = np.abs(space.cdf(x) - rows)
    assert np.all(error[:, 1] <= 1e-9)
    assert np.all(error[:, 0] <= 1e-9 + 4 * spacing)
