"""Spaces made again from their descriptions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners import Parameter, ParameterSpace
from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.description import space_from_description

TRANSFORMS = dist.transforms
SHIFTED = dist.TransformedDistribution(dist.Normal(0.0, 1.0), TRANSFORMS.ExpTransform())
UNIT = dist.constraints.unit_interval
SQUEEZED = dist.TransformedDistribution(
    dist.Normal(0.0, 1.0),
    [TRANSFORMS.SigmoidTransform(), TRANSFORMS.AffineTransform(1.0, 2.0, domain=UNIT)],
)
MIXTURE = dist.MixtureGeneral(
    dist.Categorical(np.array([0.25, 0.75])), [dist.Normal(0.0, 1.0), dist.Normal(3.0, 0.5)]
)


def through_json(space: ParameterSpace) -> ParameterSpace:
    return space_from_description(json.loads(json.dumps(space.describe())))


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("a", dist.Normal(0.1, 2.0)),
        Parameter("a", dist.LogNormal(0.1, 2.0), upper=7.0),
        Parameter("a", dist.LogUniform(0.1, 3.0)),
        Parameter("a", dist.Normal(3.0, 1.0), lower=0.1, upper=7.0, log_scale=True),
        Parameter("a", dist.Normal(3.0, 1.0), lower=0, integer=True),
        Parameter("a", dist.TruncatedNormal(0.0, 1.0, low=-1.0, high=2.0)),
        Parameter("a", dist.Poisson(3.3), integer=True),
        Parameter("a", SHIFTED),
        Parameter("a", SQUEEZED),
        Parameter("a", MIXTURE),
    ],
    ids=lambda parameter: type(parameter.prior).__name__,
)
def test_a_prior_comes_back_with_its_description(parameter: Parameter) -> None:
    space = ParameterSpace([parameter])
    again = through_json(space)
    assert again == space
    u = np.linspace(0.05, 0.95, 7)[:, None]
    assert again.icdf(u).tolist() == space.icdf(u).tolist()


def test_kinds_and_constraints_come_back() -> None:
    space = ParameterSpace(
        [
            Parameter("a", lower=1, upper=5, integer=True),
            Parameter("line[0].r", lower=1e-3, upper=5, log_scale=True),
            Parameter("c", choices=["x", "y"]),
            Parameter("d", fixed=3),
            Parameter("e", choices=[1, 2], fixed=2),
            Parameter("f", fixed="s"),
            Parameter("g", fixed=True),
        ],
        constraints=["a - 2*line[0].r + d <= 7.1", "a >= 1e-3"],
    )
    assert through_json(space) == space


def test_the_last_digits_of_quantiles_do_not_matter() -> None:
    space = ParameterSpace([Parameter("a", dist.Normal(0.1, 3.0))])
    told = space.describe()
    told["parameters"][0]["upper"] = float(np.nextafter(space.upper[0], 9.0))
    assert space_from_description(told) == space
    told["parameters"][0]["upper"] *= 1.01
    with pytest.raises(ParameterError, match="again from its description"):
        space_from_description(told)


def test_a_prior_that_is_not_described_in_full_is_refused() -> None:
    inverse = dist.TransformedDistribution(dist.Gamma(2.0, 3.0), TRANSFORMS.ExpTransform().inv)
    with pytest.raises(ParameterError, match=r"_InverseTransform.*none of numpyro"):
        through_json(ParameterSpace([Parameter("a", inverse)]))


def test_constraints_that_became_others_are_refused() -> None:
    told = ParameterSpace(
        [Parameter("a", lower=0, upper=2), Parameter("b", lower=0, upper=2)],
        constraints=["a + b <= 1.5"],
    ).describe()
    told["constraints"][0]["coefficients"]["b"] = 0.0
    with pytest.raises(ParameterError, match="not those of the description"):
        space_from_description(told)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prior": {"distribution": "Distribution", "arguments": {}}}, "give the space"),
        ({"prior": {"distribution": "constraints", "arguments": {}}}, "none of numpyro"),
        ({"prior": {"distribution": "Own", "arguments": {}}}, "none of numpyro"),
        ({"prior": {"transform": "os", "arguments": {}}}, "give the space"),
        ({"lower": 9.0, "upper": 3.0}, "swap"),
        ({"log_scale": "yes", "lower": 1.0}, "again from its description"),
    ],
)
def test_what_cannot_be_made_again_is_refused(changes: dict[str, Any], sentence: str) -> None:
    told = ParameterSpace([Parameter("a", lower=0.0, upper=2.0)]).describe()
    told["parameters"][0].update(changes, truncated=[None, None])
    with pytest.raises(ParameterError, match=sentence):
        space_from_description(told)
    with pytest.raises(ParameterError, match="cannot be read"):
        space_from_description({"parameters": [{}], "constraints": []})
