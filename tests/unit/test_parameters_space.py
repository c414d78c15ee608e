"""Order, names, values, constraints and identity of a parameter space."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners.errors import InvalidTheta
from ax_jax_runners.parameters import LinearConstraint, Parameter, ParameterSpace


def mixed() -> ParameterSpace:
    return ParameterSpace(
        [
            Parameter("r", lower=1.0, upper=50.0),
            Parameter("gap", fixed=0.3),
            Parameter("n", lower=1, upper=9, integer=True),
            Parameter("kind", choices=("thru", "open", "short")),
            Parameter("taps", choices=(8, 2, 4)),
            Parameter("label", fixed="mk2"),
            Parameter("q", dist.LogNormal(2.0, 0.5)),
        ],
        constraints=["r + 2*n <=  60 + gap"],
    )


def test_theta_is_the_free_parameters_in_declared_order() -> None:
    space = mixed()
    assert space.names == ("r", "n", "kind", "taps", "q")
    assert space.dimension == 5
    values = {"r": 2.5, "n": 3, "kind": "short", "taps": 8, "q": 7.0}
    theta = space.pack(values)
    np.testing.assert_array_equal(theta, [2.5, 3.0, 2.0, 0.0, 7.0])
    everything = space.unpack(theta)
    assert list(everything) == ["r", "gap", "n", "kind", "taps", "label", "q"]
    assert everything == {**values, "gap": 0.3, "label": "mk2"}
    assert [type(v) for v in everything.values()] == [float, float, int, str, int, str, float]
    np.testing.assert_array_equal(space.pack(everything), theta)


def test_simulators_receive_all_parameters() -> None:
    space = mixed()
    seen = {}

    def simulator(row: jax.Array) -> jax.Array:
        seen.update(space.traced(row))
        return seen["r"] * seen["n"] + seen["taps"] + seen["kind"] + seen["gap"]

    with jax.enable_x64(True):
        result = jax.jit(simulator)(np.array([2.5, 3.0, 2.0, 0.0, 7.0]))
    assert float(result) == pytest.approx(2.5 * 3 + 8 + 2 + 0.3)
    assert (seen["gap"], seen["label"]) == (0.3, "mk2")
    assert seen["n"].dtype == np.int64
    assert seen["taps"].dtype == np.int64


@pytest.mark.parametrize("theta", [3.0, [1.0], np.zeros((2, 4)), "abc", [[1.0], [1.0, 2.0]]])
def test_other_shapes_are_refused_with_the_names(theta: object) -> None:
    with pytest.raises(InvalidTheta, match="r, n, kind, taps, q"):
        mixed().cdf(theta)  # type: ignore[arg-type]


@pytest.mark.parametrize("theta", [[1, 1, 3, 0, 1], [math.nan, 1, 1, 0, 1]])
def test_unpack_refuses_what_has_no_value(theta: list) -> None:
    with pytest.raises(InvalidTheta, match="theta holds"):
        mixed().unpack(theta)


def test_one_value_per_row_in_any_shape() -> None:
    space = ParameterSpace([Parameter("x", lower=0, upper=2), Parameter("y", lower=0, upper=4)])
    theta = np.ones((2, 3, 2))
    theta[1, 2] = [5.0, 1.0]
    assert space.cdf(theta).shape == (2, 3, 2)
    density = space.log_prior(theta)
    assert density.shape == (2, 3)
    np.testing.assert_allclose(density.ravel()[:5], -math.log(8))
    assert np.isneginf(density[1, 2])
    assert space.log_prior([1, 1]).shape == ()
    assert space.cdf(np.zeros((0, 2))).shape == (0, 2)
    assert space.log_prior(np.zeros((0, 2))).shape == (0,)


def test_constraints_cut_the_prior_without_renormalising_it() -> None:
    space = ParameterSpace(
        [Parameter("x", lower=0, upper=1), Parameter("y", lower=0, upper=1)],
        constraints=["x + y <= 1"],
    )
    found = space.log_prior([[0.2, 0.2], [0.5, 0.5], [0.1, 0.9], [0.6, 0.6]])
    np.testing.assert_array_equal(found, [0.0, 0.0, 0.0, -math.inf])


def test_constraints_are_read_whatever_the_names_hold() -> None:
    names = ["a", "a.b", "line[0].r", "x-1", "2*k", "beta", "N", "0_R", "e", "p(q)", "w x", "$^|"]
    space = ParameterSpace(
        [Parameter(name, lower=-1, upper=1) for name in names],
        constraints=["a + 2*a.b - line[0].r/4 >= -(x-1 - 2*k) + 1e-1 * N", "0_R+e<=p(q) - w x+$^|"],
    )
    first, second = space.linear_constraints
    assert first.bound == 0.0
    assert dict(first.coefficients) == {
        "x-1": -1.0, "2*k": 1.0, "N": 0.1, "a": -1.0, "a.b": -2.0, "line[0].r": 0.25
    }  # fmt: skip
    assert dict(second.coefficients) == {
        "0_R": 1.0,
        "e": 1.0,
        "p(q)": -1.0,
        "w x": 1.0,
        "$^|": -1.0,
    }
    assert space.constraints[1] == "0_R+e<=p(q) - w x+$^|"


def test_fixed_parameters_move_into_the_bound() -> None:
    assert mixed().linear_constraints == (LinearConstraint((("r", 1.0), ("n", 2.0)), 60.3),)
    assert mixed().constraints == ("r + 2*n <= 60 + gap",)
    free = ParameterSpace(
        [Parameter("a", lower=0, upper=1), Parameter("b", fixed=1.0)], constraints=["2*b <= 3"]
    )
    assert free.linear_constraints == ()


def test_equal_by_value_and_storable() -> None:
    space, same = mixed(), mixed()
    assert space == same
    assert hash(space) == hash(same)
    assert len({space, same}) == 1
    assert space != ParameterSpace(space.parameters)
    assert space.parameters[0] != Parameter("r", lower=1.0, upper=51.0)
    assert Parameter("q", dist.Normal(0.0, 1.0)) != Parameter("q", dist.Normal(0.0, 2.0))
    assert Parameter("q", dist.Beta(1.0, 2.0)) != Parameter("q", dist.Beta(2.0, 1.0))
    described = space.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["parameters"][6]["prior"] == {
        "distribution": "LogNormal",
        "arguments": {"loc": 2.0, "scale": 0.5},
    }
    space.cdf(np.ones(5))
    copy = pickle.loads(pickle.dumps(space))  # noqa: S301
    assert copy == space
    np.testing.assert_array_equal(copy.cdf(np.ones(5)), space.cdf(np.ones(5)))


def test_overrides() -> None:
    changed = mixed().replace(
        {
            "r": {"upper": 40},
            "q": {"fixed": 3.0},
            "kind": {"fixed": "open"},
            "n": {"log_scale": True},
        }
    )
    assert changed.names == ("r", "n", "taps")
    assert changed.upper[0] == 40.0
    assert changed.log_scale.tolist() == [False, True, False]
    assert changed.unpack([1.0, 2.0, 1.0])["kind"] == "open"
    freed = changed.replace({"q": {"lower": 1.0, "upper": 2.0}})
    assert "q" in freed.names
    truncated = mixed().replace({"q": {"upper": 6.0}})
    assert truncated.upper[-1] == 6.0
    assert truncated.lower[-1] == truncated.icdf([0.5, 0.5, 0.5, 0.5, 0.01])[-1] > 0
    assert truncated.log_scale[-1]
    assert type(truncated.free[-1].prior) is dist.LogNormal
    assert mixed().replace({}) == mixed()


def test_importing_parameters_imports_neither_jax_nor_ax() -> None:
    code = (
        "import sys; from ax_jax_runners import Parameter, ParameterSpace; "
        "ParameterSpace([Parameter('a', lower=0, upper=1)], constraints=['a <= 1']); "
        "print([m for m in ('jax', 'ax', 'torch', 'numpyro') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
