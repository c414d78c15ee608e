"""What an arm of a posterior task sets, and the configurations that it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.configuration import (
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.flow_matching import FlowMatchingConfiguration

#: By group. Width and layers are those of flow and velocity alike. The task itself sets the epochs.
_GROUPS = {
    "flow": FlowConfiguration,
    "velocity": FlowMatchingConfiguration,
    "encoder": EncoderConfiguration,
    "optimiser": OptimiserConfiguration,
    "regularisation": RegularisationConfiguration,
}
_NOT_SEARCHED = frozenset({"epochs", "schedule_epochs", "patience", "min_delta"})
_SPACE, _ESTIMATOR = "parameter_space", "estimator"
ESTIMATORS = ("flow", "flow_matching")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Everything that decides how one estimator is trained.

    Attributes:
        estimator: "flow" or "flow_matching".
        parameter_space: "physical", "cube" or "unconstrained".
        flow: The flow of the first.
        velocity: The velocity field of the second.
        encoder: The network in front of it.
        optimiser: How it is trained.
        regularisation: What training adds to data and loss.
        stability: When an epoch may be kept.
    """

    estimator: str = "flow"
    parameter_space: str = "unconstrained"
    flow: FlowConfiguration = field(default_factory=FlowConfiguration)
    velocity: FlowMatchingConfiguration = field(default_factory=FlowMatchingConfiguration)
    encoder: EncoderConfiguration = field(default_factory=EncoderConfiguration)
    optimiser: OptimiserConfiguration = field(default_factory=OptimiserConfiguration)
    regularisation: RegularisationConfiguration = field(default_factory=RegularisationConfiguration)
    stability: StabilityConfiguration = field(default_factory=StabilityConfiguration)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigurationError(
                f"estimator is {self.estimator!r}; choose one of {', '.join(ESTIMATORS)}."
            )

    def with_values(self, values: Mapping[str, Any]) -> Hyperparameters:
        """Return them with the values of an arm, by name.

        Raises:
            ConfigurationError: A value that cannot be used.
        """
        changes: dict[str, Any] = {}
        for name, group in _GROUPS.items():
            known = {f.name for f in dataclasses.fields(group)}
            own = {key: value for key, value in values.items() if key in known}
            if own:
                changes[name] = dataclasses.replace(getattr(self, name), **own)
        changes.update({key: values[key] for key in (_SPACE, _ESTIMATOR) if key in values})
        return dataclasses.replace(self, **changes)

    def describe(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return dataclasses.asdict(self)


def search_space(search: Any) -> ParameterSpace:
    """Return the space of the hyperparameters that are searched.

    Args:
        search: {name: `Parameter`}, or a `ParameterSpace`. The parameters' own names do not count
            in a mapping.

    Raises:
        ConfigurationError: A name that is no hyperparameter, or no parameters.
    """
    if isinstance(search, ParameterSpace):
        space = search
    elif isinstance(search, Mapping) and search:
        for name, parameter in search.items():
            if not isinstance(parameter, Parameter):
                raise ConfigurationError(
                    f"search[{name!r}] is a {type(parameter).__name__}; give a Parameter."
                )
        space = ParameterSpace([_named(name, parameter) for name, parameter in search.items()])
    else:
        raise ConfigurationError(
            f"search is {search!r}; give {{hyperparameter: Parameter}}, at least one."
        )
    known = searchable()
    for parameter in space.parameters:
        if parameter.name not in known:
            close = get_close_matches(parameter.name, known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(known)}."
            raise ConfigurationError(
                f"{parameter.name!r} is no hyperparameter of a posterior estimator; {advice}"
            )
    return space


def _named(name: str, parameter: Parameter) -> Parameter:
    if parameter.name == name:
        return parameter
    lower, upper = parameter.given_bounds
    return Parameter(
        name,
        parameter.prior,
        lower=lower,
        upper=upper,
        log_scale=parameter.asked_log_scale,
        integer=parameter.integer,
        choices=parameter.choices,
        fixed=parameter.fixed,
        bijector=parameter.bijector,
    )


def searchable() -> tuple[str, ...]:
    """Names of all hyperparameters that can be searched."""
    names = [f.name for group in _GROUPS.values() for f in dataclasses.fields(group)]
    searched = (name for name in names if name not in _NOT_SEARCHED)
    return tuple(dict.fromkeys((_ESTIMATOR, _SPACE, *searched)))
