"""Parameters and spaces with bijectors: what Ax sees, what walks see, what is stored."""

from __future__ import annotations

import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.errors import InvalidTheta, ParameterError
from ax_jax_runners.exploration import SearchBox
from ax_jax_runners.parameters import (
    Identity,
    Interval,
    Log2,
    Logit,
    MemoryDecay,
    Squareplus,
)
from ax_jax_runners.parameters.description import space_from_description

SPACE = ParameterSpace(
    [
        Parameter("memory_days", lower=0.5, upper=365, bijector=MemoryDecay(1440)),
        Parameter("offset", lower=-1, upper=1),
        Parameter("k_per_day", lower=1 / 256, upper=256, bijector=Log2()),
        Parameter("fixed", fixed=3.0),
        Parameter("count", lower=1, upper=4, integer=True),
        Parameter("exponent", dist.LogNormal(0.0, 1.0), bijector=Squareplus()),
        Parameter("share", dist.Beta(2.0, 3.0), bijector=Logit()),
        Parameter("k_per_night", lower=0.1, upper=1, bijector=Log2()),
    ]
)
SOME = SPACE.icdf(np.linspace(0.05, 0.95, 7)[:, None] * np.ones(7))


def test_ax_sees_the_value_on_a_logarithmic_scale_where_the_bijector_is() -> None:
    parameters: dict[str, Any] = SPACE.to_ax().parameters
    assert (parameters["memory_days"].lower, parameters["memory_days"].upper) == (0.5, 365.0)
    assert parameters["memory_days"].log_scale
    assert parameters["k_per_day"].log_scale
    assert not parameters["share"].log_scale
    assert not parameters["share"].logit_scale
    # Ax's own transforms are the only ones on the way to its model: the middle of its unit box is
    # the geometric mean of the bounds.
    from ax.adapter.transforms.log import Log
    from ax.core.observation import ObservationFeatures

    space = SPACE.to_ax()
    transform = Log(search_space=space)
    seen = transform.transform_observation_features(
        [ObservationFeatures({"k_per_day": 1.0, "memory_days": 10.0})]
    )
    assert seen[0].parameters == {"k_per_day": 0.0, "memory_days": 1.0}


def test_without_a_prior_a_logarithmic_bijector_means_log_uniform() -> None:
    space = ParameterSpace([Parameter("k", lower=0.25, upper=4, bijector=Log2())])
    assert space.icdf([0.5]) == pytest.approx(1.0)
    assert space == ParameterSpace(
        [Parameter("k", lower=0.25, upper=4, log_scale=True, bijector=Log2())]
    )
    plain = ParameterSpace([Parameter("p", lower=0.25, upper=0.75, bijector=Logit())])
    assert plain.icdf([0.25]) == pytest.approx(0.375)


def test_raw_vectors_are_those_of_the_bijectors() -> None:
    raw = SPACE.to_raw(SOME)
    assert raw.shape == SOME.shape
    bijectors = [p.bijector or Identity() for p in SPACE.free]
    for column, bijector in enumerate(bijectors):
        np.testing.assert_array_equal(raw[:, column], bijector.to_raw(SOME[:, column]))
    np.testing.assert_allclose(SPACE.to_value(raw), SOME, rtol=1e-13)
    slopes = [b.log_slope(raw[:, i]) for i, b in enumerate(bijectors)]
    np.testing.assert_allclose(SPACE.log_slope(raw), np.sum(slopes, axis=0), rtol=1e-13)
    assert SPACE.log_slope(raw[0]).shape == ()


def test_raw_vectors_are_mapped_by_jax_alike_and_vectorised() -> None:
    raw = SPACE.to_raw(SOME)
    with jax.enable_x64(True):
        rows = jnp.asarray(raw)
        value = jax.jit(jax.vmap(SPACE.to_value))(rows)
        np.testing.assert_allclose(value, SOME, rtol=1e-12)
        np.testing.assert_allclose(jax.jit(jax.vmap(SPACE.to_raw))(value), raw, atol=1e-11)
        slope = jax.jit(SPACE.log_slope)(rows)
        np.testing.assert_allclose(slope, SPACE.log_slope(raw), rtol=1e-12)
        jacobian = jax.jit(jax.vmap(jax.jacfwd(SPACE.to_value)))(rows)
        determinant = np.linalg.slogdet(np.asarray(jacobian))[1]
        np.testing.assert_allclose(slope, determinant, rtol=1e-11)
    narrow = SPACE.to_value(jnp.asarray(raw, jnp.float32))
    assert isinstance(narrow, jax.Array)
    assert narrow.dtype == jnp.float32


def test_a_prior_in_raw_numbers_keeps_its_probability() -> None:
    for parameter in (SPACE.parameters[0], SPACE.parameters[5], SPACE.parameters[6]):
        space = ParameterSpace([parameter])
        ends = space.to_raw(space.icdf(np.array([[1e-9], [1 - 1e-9]])))[:, 0]
        raw = np.linspace(*ends, 20_001)[:, None]
        density = np.exp(space.log_prior(space.to_value(raw)) + space.log_slope(raw))
        # The ends of the support may lie a rounding outside it.
        assert np.trapezoid(density[1:-1], raw[1:-1, 0]) == pytest.approx(1.0, abs=2e-4)


def test_what_is_no_theta_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"theta of k_per_day, k_per_night: .*Log2"):
        SPACE.to_raw(np.where(np.arange(7) == 2, -1.0, SOME))
    for wrong in (np.zeros(3), jnp.zeros(3), 1.0):
        with pytest.raises(InvalidTheta, match="last axis"):
            SPACE.to_value(wrong)
    empty = ParameterSpace([Parameter("fixed", fixed=1.0)])
    assert empty.to_value(np.zeros((4, 0))).shape == (4, 0)
    assert empty.log_slope(np.zeros((4, 0))).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lower": 0, "upper": 1, "bijector": Logit()}, "lower bound 0.0 is not inside"),
        ({"lower": 0.1, "upper": 1, "bijector": Logit()}, "upper bound 1.0 is not inside"),
        ({"lower": -1, "upper": 1, "bijector": Squareplus()}, "lower bound -1.0 is not inside"),
        ({"lower": -1, "upper": 1, "bijector": Log2()}, "lower bound -1.0 is not inside"),
        ({"prior": dist.Normal(0.0, 1.0), "bijector": Log2()}, "beyond .*domain of Log2"),
        ({"prior": dist.Gamma(5.0, 1.0), "bijector": Interval(0, 40)}, "beyond .*Interval"),
        ({"choices": [1.0, 2.0], "bijector": Log2()}, "together with choices"),
        ({"lower": 1, "upper": 9, "integer": True, "bijector": Log2()}, "together with integer"),
        ({"fixed": 2.0, "bijector": Log2()}, "together with fixed"),
        ({"lower": 1, "upper": 2, "bijector": math.log}, "give a bijector"),
        ({"lower": 1, "upper": 2, "bijector": Log2}, "give a bijector"),
    ],
)
def test_a_bijector_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=f"Parameter 'a': .*{message}"):
        Parameter("a", **arguments)


def test_a_prior_that_fills_the_domain_is_searched_between_its_quantiles() -> None:
    prior = dist.Beta(2.0, 3.0)
    parameter = Parameter("a", prior, bijector=Logit())
    space = ParameterSpace([Parameter("a", prior)])
    np.testing.assert_allclose(parameter.box, space.icdf(np.array([[0.01], [0.99]]))[:, 0])
    assert Parameter("a", prior, upper=0.5, bijector=Logit()).upper == 0.5
    one_sided = Parameter("a", dist.Uniform(0.0, 5.0), bijector=Squareplus())
    assert one_sided.box == pytest.approx((0.05, 5.0))
    assert Parameter("a", prior).box == (0.0, 1.0)


def test_a_truncated_prior_fits() -> None:
    parameter = Parameter("a", dist.Normal(1.0, 1.0), lower=0.1, bijector=Log2())
    assert parameter.lower == 0.1
    assert parameter.log_scale


def test_descriptions_come_back() -> None:
    described = json.loads(json.dumps(SPACE.describe()))
    again = space_from_description(described)
    assert again == SPACE
    assert hash(again) == hash(SPACE)
    assert [p.bijector for p in again.parameters] == [p.bijector for p in SPACE.parameters]
    found = described["parameters"][0]["bijector"]
    assert found == {"name": "memory_decay", "version": 1, "arguments": {"chunk_minutes": 1440.0}}
    for change in ({"name": "log3"}, {"version": 2}):
        described["parameters"][0]["bijector"] = {**found, **change}
        with pytest.raises(ParameterError, match="none of this version's"):
            space_from_description(described)


def test_spaces_differ_by_their_bijectors_and_those_without_are_described_as_before() -> None:
    plain = Parameter("a", lower=1, upper=2)
    assert set(plain.describe()) == {
        *("name", "prior", "lower", "upper", "truncated"),
        *("log_scale", "integer", "choices", "fixed"),
    }
    assert plain == Parameter("a", lower=1, upper=2, bijector=Identity())
    assert plain != Parameter("a", lower=1, upper=2, bijector=Squareplus())
    shorter = Parameter("a", lower=1, upper=2, bijector=MemoryDecay(60))
    assert shorter != Parameter("a", lower=1, upper=2, bijector=MemoryDecay(1440))
    assert "MemoryDecay(chunk_minutes=60.0)" in repr(shorter)


def test_overrides_keep_the_bijector_unless_they_fix_the_value() -> None:
    changed = SPACE.replace({"memory_days": {"upper": 100}, "k_per_day": {"fixed": 1.0}})
    by_name = {parameter.name: parameter for parameter in changed.parameters}
    assert by_name["memory_days"].bijector == MemoryDecay(1440)
    assert by_name["memory_days"].upper == 100.0
    assert by_name["k_per_day"].bijector is None
    with pytest.raises(ParameterError, match="not inside"):
        SPACE.replace({"memory_days": {"lower": -1}})


def test_walks_measure_raw_numbers() -> None:
    box = SearchBox(SPACE)
    corners = SPACE.to_raw(np.stack([SPACE.lower, SPACE.upper]))
    middle = box.to_theta(np.full(7, 0.5))
    decay = MemoryDecay(1440)
    assert decay.to_raw(middle[0]) == pytest.approx(corners[:, 0].mean())
    assert middle[2] == pytest.approx(1.0)
    unit = np.random.default_rng(0).random((100, 7))
    theta = box.to_theta(unit)
    real = [0, 1, 2, 4, 5, 6]
    np.testing.assert_allclose(box.to_unit(theta)[:, real], unit[:, real], atol=1e-12)
    with jax.enable_x64(True):
        rows = jax.jit(jax.vmap(box.theta_row, in_axes=(0, None)))(unit, SOME[0])
        np.testing.assert_allclose(rows, theta, rtol=1e-12)
    np.testing.assert_allclose(box.to_theta(np.zeros(7)), SPACE.lower, rtol=1e-13)
    np.testing.assert_allclose(box.to_theta(np.ones(7)), SPACE.upper, rtol=1e-13)
