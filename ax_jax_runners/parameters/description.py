"""A parameter space from the plain JSON that `ParameterSpace.describe` gave.

Distributions and transforms are looked up by name among numpyro's own; nothing is imported because
a description names it. What was made must describe itself as it was described, so a description
that does not hold enough is refused rather than read as another prior.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijectors import bijector_from_description
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.distributions import LOG_LIKE
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace

#: Numbers that were computed (quantiles as the ends of a search box, an argument that a
#: distribution derives from others) differ in their last digits between versions and machines.
_TOLERANCE = 1e-6


def space_from_description(description: Mapping[str, Any]) -> ParameterSpace:
    """Return the space that has a description.

    Args:
        description: What `ParameterSpace.describe` returned, maybe through JSON.

    Raises:
        ParameterError: No description of a space, or one with a prior that cannot be made from
            it, such as a distribution that numpyro does not have by that name.
    """
    try:
        constraints = [
            str(LinearConstraint(tuple(item["coefficients"].items()), item["bound"]))
            for item in description["constraints"]
        ]
        parameters = [_parameter(item) for item in description["parameters"]]
        space = ParameterSpace(parameters, constraints=constraints)
        made = space.describe()
    except ParameterError:
        raise
    except Exception as error:  # numpyro's constructors raise of many kinds
        raise ParameterError(
            f"The description of a parameter space cannot be read ({error!r}); give the space."
        ) from error
    for again, told in zip(made["parameters"], description["parameters"], strict=True):
        if not _agree(again, told):
            raise ParameterError(
                f"Parameter {again['name']!r} cannot be made again from its description; give the "
                "space."
            )
    if not _agree(made["constraints"], description["constraints"]):
        raise ParameterError(
            f"Constraints {list(space.constraints)} are not those of the description; give the "
            "space."
        )
    return space


def _parameter(told: Mapping[str, Any]) -> Parameter:
    kind = {"integer": told["integer"], "choices": told["choices"]}
    if told["fixed"] is not None or told["choices"] is not None:
        return Parameter(told["name"], fixed=told["fixed"], **kind)
    prior = told["prior"]
    if prior is None:
        bounds = told["lower"], told["upper"]
        log_scale = told["log_scale"]
    else:
        import jax

        bounds = told["truncated"]
        log_scale = told["log_scale"] and prior["distribution"] not in LOG_LIKE
        # Arguments were described in float64, whatever precision the process has.
        with jax.enable_x64(True):
            prior = _distribution(prior)
    lower, upper = bounds
    if told.get("bijector") is not None:
        kind["bijector"] = bijector_from_description(told["bijector"])
    return Parameter(told["name"], prior, lower=lower, upper=upper, log_scale=log_scale, **kind)


def _distribution(told: Mapping[str, Any]) -> Any:
    from numpyro import distributions

    # A description is data: nothing but classes of these two kinds is ever called by it.
    made: Any = getattr(distributions, told["distribution"], None)
    if not (inspect.isclass(made) and issubclass(made, distributions.Distribution)):
        raise ParameterError(f"The prior {dict(told)} is none of numpyro; give the space.")
    arguments = {name: _argument(value) for name, value in told["arguments"].items()}
    # A mixture's support is that of its components, and is described by its name only.
    arguments.pop("support", None)
    if made is distributions.TransformedDistribution:
        # Its constructor calls the argument otherwise than the attribute.
        base = arguments.pop("base_dist")
        chain = _chain(told["arguments"]["transforms"], base.support)
        return made(base, chain)
    return made(**{name: value for name, value in arguments.items() if value is not None})


def _chain(told: list[Mapping[str, Any]], domain: Any) -> list[Any]:
    """Return transforms, each of which maps from where the one before it maps to."""
    made = []
    for item in told:
        made.append(_transform(item, domain))
        domain = made[-1].codomain
    return made


def _transform(told: Mapping[str, Any], domain: Any) -> Any:
    from numpyro.distributions import transforms

    made: Any = getattr(transforms, told["transform"], None)
    # What begins with an underscore keeps its arguments from the description.
    known = inspect.isclass(made) and issubclass(made, transforms.Transform)
    if not known or told["transform"].startswith("_"):
        raise ParameterError(f"The prior's {dict(told)} is none of numpyro; give the space.")
    if made is transforms.ComposeTransform:
        return made(_chain(told["arguments"]["parts"], domain))
    arguments = {name: _argument(value) for name, value in told["arguments"].items()}
    if "domain" in inspect.signature(made).parameters:
        arguments["domain"] = domain
    return made(**arguments)


def _argument(told: Any) -> Any:
    import numpy as np

    if isinstance(told, Mapping):
        return _distribution(told) if "distribution" in told else None
    if isinstance(told, list):
        nested = any(isinstance(item, Mapping) for item in told)
        return [_argument(item) for item in told] if nested else np.asarray(told)
    return told


def _agree(made: Any, told: Any) -> bool:
    """Whether two descriptions are equal but for the last digits of numbers."""
    if isinstance(made, dict) and isinstance(told, Mapping):
        return made.keys() == told.keys() and all(_agree(made[name], told[name]) for name in made)
    if isinstance(made, list) and isinstance(told, (list, tuple)):
        return len(made) == len(told) and all(map(_agree, made, told))
    if type(made) is float and type(told) in (int, float):
        return math.isclose(made, told, rel_tol=_TOLERANCE, abs_tol=1e-300)
    return bool(type(made) is type(told) and made == told)
