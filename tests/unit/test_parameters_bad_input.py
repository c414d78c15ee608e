"""Every description that cannot be used is refused in one sentence that says what to do."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters import Parameter, ParameterSpace

BAD_PARAMETERS = {
    "reversed": (dict(lower=11.0, upper=9.0), "upper bound 9.0 is below lower bound 11.0; swap"),
    "equal": (dict(lower=1.0, upper=1.0), "both bounds are 1.0; use fixed"),
    "infinite": (dict(lower=0.0, upper=math.inf), "upper bound is inf"),
    "nan": (dict(lower=math.nan, upper=1.0), "lower bound is nan"),
    "text bound": (dict(lower="0", upper=1.0), "lower bound is a str"),
    "bool bound": (dict(lower=False, upper=1.0), "lower bound is a bool"),
    "no upper": (dict(lower=0.0), "no upper bound and no prior"),
    "nothing": ({}, "no lower bound and no prior"),
    "log of zero": (dict(lower=0.0, upper=1.0, log_scale=True), "log_scale needs a lower bound"),
    "log of a prior's zero": (
        dict(prior=dist.Beta(2.0, 2.0), log_scale=True),
        "log_scale needs a lower bound",
    ),
    "half integer": (dict(lower=0.5, upper=3, integer=True), "lower bound 0.5 of an integer"),
    "one choice": (dict(choices=("a",)), "1 value"),
    "no choice": (dict(choices=()), "0 value"),
    "text choices": (dict(choices="ab"), "choices is a str"),
    "duplicates": (dict(choices=(1, 2, 1)), "hold 1 more than once"),
    "equal numbers": (dict(choices=(1, 1.0, 2)), "1.0 more than once"),
    "mixed": (dict(choices=(1, "a")), "mix the types int, str"),
    "bool and int": (dict(choices=(True, 2)), "mix the types bool, int"),
    "nan choice": (dict(choices=(1.0, math.nan)), "a choice is nan"),
    "object choice": (dict(choices=(1.0, [2.0])), "a choice is a list"),
    "choices and bounds": (dict(choices=(1, 2), lower=0.0), "together with lower"),
    "choices and prior": (dict(choices=(1, 2), prior=dist.Normal()), "together with prior"),
    "fixed and bounds": (dict(fixed=1.0, lower=0.0, upper=2.0), "together with lower, upper"),
    "fixed and prior": (dict(fixed=1.0, prior=dist.Normal()), "together with prior"),
    "fixed outside": (dict(fixed=3, choices=(1, 2)), "3 is not among its choices"),
    "fixed nan": (dict(fixed=math.nan), "fixed is nan"),
    "fixed list": (dict(fixed=[1.0]), "fixed is a list"),
    "fixed half": (dict(fixed=1.5, integer=True), "1.5 is not an integer"),
    "no distribution": (dict(prior="normal"), "prior is a str, not a numpyro distribution"),
    "vector prior": (dict(prior=dist.Normal(jnp.zeros(2), 1.0)), "vector-valued"),
    "event prior": (dict(prior=dist.Dirichlet(jnp.ones(3))), "vector-valued"),
    "no cdf": (dict(prior=dist.VonMises(0.0, 1.0), lower=0.0, upper=1.0), "has no cdf"),
    "discrete": (dict(prior=dist.Poisson(3.0)), "discrete; pass integer=True"),
    "discrete, no cdf": (dict(prior=dist.Binomial(5, 0.5), integer=True), "has no cdf"),
    "outside the support": (dict(prior=dist.Gamma(2.0, 1.0), lower=-3.0, upper=-1.0), "no support"),
    "no probability": (dict(prior=dist.Normal(), lower=60.0, upper=61.0), "no support"),
    "outside a uniform": (dict(prior=dist.Uniform(0.0, 1.0), lower=2.0), "no support"),
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_parameter_is_refused(case: str) -> None:
    arguments, sentence = BAD_PARAMETERS[case]
    with pytest.raises(ParameterError) as caught:
        Parameter("length", **arguments)
    assert sentence in str(caught.value)
    assert "'length'" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["", "  ", 3, None])
def test_name_is_refused(name: object) -> None:
    with pytest.raises(ParameterError, match="name"):
        Parameter(name, lower=0.0, upper=1.0)  # type: ignore[arg-type]


RANGES = [Parameter("a", lower=0, upper=1), Parameter("b", lower=0, upper=1)]
BAD_CONSTRAINTS = {
    "a + c <= 1": "unknown parameter 'c'",
    "ab <= 1": "unknown parameter 'ab'",
    "a.b <= 1": "unknown parameter 'a.b'",
    "a * b <= 1": "product of parameters is not linear",
    "a ** 2 <= 1": "a power is not linear",
    "1 / a <= 1": "division by a parameter",
    "a / 0 <= 1": "division by zero",
    "a + b": "found no relation",
    "a + b < 1": "found < where",
    "a == b": "found == where",
    "0 <= a <= 1": "found <= <= where",
    "a + b <= 1 2": "an operator is missing",
    "2 a <= 1": "an operator is missing",
    "(a + b <= 1": "parenthesis",
    "a + <= 1": "out of place",
    "a <=": "ends too early",
    "choice <= 1": "is a choice",
    "text <= 1": "is a choice or not a number",
    "3 * fixed <= 5": "cannot hold",
    "a + b >= 3": "holds nowhere within the bounds",
}


@pytest.mark.parametrize("text", BAD_CONSTRAINTS)
def test_constraint_is_refused(text: str) -> None:
    others = [
        Parameter("choice", choices=(1, 2, 3)),
        Parameter("fixed", fixed=2.0),
        Parameter("text", fixed="x"),
    ]
    with pytest.raises(ParameterError) as caught:
        ParameterSpace([*RANGES, *others], constraints=[text])
    assert BAD_CONSTRAINTS[text] in str(caught.value)


def test_space_refuses_duplicates_and_strangers() -> None:
    with pytest.raises(ParameterError, match="'a' are declared more than once"):
        ParameterSpace([RANGES[0], RANGES[0]])
    with pytest.raises(ParameterError, match="was given a str"):
        ParameterSpace(["a"])  # type: ignore[list-item]
    with pytest.raises(ParameterError, match="A constraint is a int"):
        ParameterSpace(RANGES, constraints=[3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"z": {"lower": 0}}, "unknown parameter 'z'"),
        ({"a": {"prior": 0}}, "cannot override 'prior'"),
        ({"a": {"lower": 2.0}}, "swap them"),
        ({"c": {"lower": 2.0}}, "together with lower"),
    ],
)
def test_override_is_refused(overrides: dict, sentence: str) -> None:
    space = ParameterSpace([*RANGES, Parameter("c", choices=("x", "y"))])
    with pytest.raises(ParameterError, match=sentence):
        space.replace(overrides)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"a": 1.0}, "missing n, c"),
        ({"a": 1.0, "n": 1, "c": "x", "d": 2}, "unknown d"),
        ({"a": "1", "n": 1, "c": "x"}, "value is a str"),
        ({"a": True, "n": 1, "c": "x"}, "value is a bool"),
        ({"a": math.nan, "n": 1, "c": "x"}, "value is nan"),
        ({"a": 1.0, "n": 1.5, "c": "x"}, "1.5 is not an integer"),
        ({"a": 1.0, "n": 1, "c": "z"}, "'z' is not among"),
        ({"a": 1.0, "n": 1, "c": "x", "f": 3.0}, "is fixed at 2.0, found 3.0"),
    ],
)
def test_pack_refuses(values: dict, sentence: str) -> None:
    space = ParameterSpace(
        [
            Parameter("a", lower=0, upper=2),
            Parameter("n", lower=0, upper=5, integer=True),
            Parameter("c", choices=("x", "y")),
            Parameter("f", fixed=2.0),
        ]
    )
    with pytest.raises(ParameterError, match=sentence):
        space.pack(values)


def test_numpy_scalars_are_numbers() -> None:
    parameter = Parameter("a", lower=np.float32(0.5), upper=np.int64(3))
    assert (parameter.lower, parameter.upper) == (0.5, 3.0)
    assert Parameter("a", fixed=np.array(2.0)).fixed == 2.0
