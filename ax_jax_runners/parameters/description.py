"""A parameter space from the plain JSON that `ParameterSpace.describe` gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.distributions import LOG_LIKE
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace


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
    except ParameterError:
        raise
    except Exception as error:  # numpyro's constructors raise of many kinds
        raise ParameterError(
            f"The description of a parameter space cannot be read ({error!r}); give the space."
        ) from error
    for made, told in zip(space.parameters, description["parameters"], strict=True):
        if made.describe() != told:
            raise ParameterError(
                f"Parameter {made.name!r} cannot be made again from its description; give the "
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
        bounds = told["truncated"]
        log_scale = told["log_scale"] and prior["distribution"] not in LOG_LIKE
        prior = _made(prior)
    lower, upper = bounds
    return Parameter(told["name"], prior, lower=lower, upper=upper, log_scale=log_scale, **kind)


def _made(told: Any) -> Any:
    """Return a distribution, a transform, or a plain argument of one."""
    import jax
    from numpyro import distributions
    from numpyro.distributions import transforms

    if isinstance(told, list):
        return [_made(item) for item in told]
    if not isinstance(told, Mapping):
        return told
    if "distribution" in told:
        made, base = getattr(distributions, told["distribution"], None), distributions.Distribution
    else:
        made, base = getattr(transforms, told["transform"], None), transforms.Transform
    # A description is data: nothing but these two kinds of classes is ever called by it.
    if not (isinstance(made, type) and issubclass(made, base)):
        raise ParameterError(f"The prior {dict(told)} is none of numpyro; give the space.")
    arguments = {name: _made(value) for name, value in told["arguments"].items()}
    if made is distributions.TransformedDistribution:
        # Its constructor calls the argument otherwise than the attribute.
        arguments["base_distribution"] = arguments.pop("base_dist")
    # Arguments were described in float64, whatever precision the process has.
    with jax.enable_x64(True):
        return made(**{name: value for name, value in arguments.items() if value is not None})
