"""Which parameters may carry which bijector."""

from __future__ import annotations

from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijector import Bijector


def check_bijector(name: str, bijector: Any, *, integer: bool, choices: Any, fixed: Any) -> None:
    """Check that a parameter may carry what it was given as its bijector.

    Raises:
        ParameterError: No bijector, or one on a parameter that is no range of real numbers.
    """
    if bijector is None:
        return
    if not isinstance(bijector, Bijector):
        raise ParameterError(
            f"Parameter {name!r}: bijector is {bijector!r}; give a bijector such as Log2()."
        )
    given = {"integer": integer, "choices": choices is not None, "fixed": fixed is not None}
    found = [kind for kind, is_given in given.items() if is_given]
    if found:
        raise ParameterError(
            f"Parameter {name!r}: a bijector is given together with {', '.join(found)}; only a "
            "range of real numbers has one."
        )


def check_bounds(name: str, bijector: Bijector, bounds: tuple[float | None, float | None]) -> None:
    """Check that the bounds of a parameter, where it has them, have finite raw numbers.

    Raises:
        ParameterError: A bound outside the bijector's domain, or at its end.
    """
    lower, upper = bijector.domain
    for side, bound in zip(("lower", "upper"), bounds, strict=True):
        if bound is not None and not lower < bound < upper:
            raise ParameterError(
                f"Parameter {name!r}: {side} bound {bound} is not inside ({lower:g}, {upper:g}), "
                f"the domain of {bijector}; move the bound or choose another bijector."
            )


def check_support(name: str, bijector: Bijector, support: tuple[float, float]) -> None:
    """Check that the values of a parameter's prior have raw numbers.

    Raises:
        ParameterError: A support that reaches beyond the bijector's domain.
    """
    lower, upper = bijector.domain
    if support[0] < lower or support[1] > upper:
        raise ParameterError(
            f"Parameter {name!r}: its prior reaches over [{support[0]:g}, {support[1]:g}], beyond "
            f"({lower:g}, {upper:g}), the domain of {bijector}; give bounds inside or choose "
            "another bijector."
        )
