"""What every bijector is, and the functions that several of them are made of."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ax_jax_runners.parameters.elementwise import compute, compute_inside


class Bijector(ABC):
    """A smooth increasing map of the real line onto an open interval; equal by its arguments.

    Attributes:
        name: What a description calls it.
        version: Goes up whenever its values change by more than rounding.
        logarithmic: Whether its value is best searched on a logarithmic scale.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    logarithmic: ClassVar[bool] = False

    @property
    @abstractmethod
    def domain(self) -> tuple[float, float]:
        """The ends of the open interval of values."""

    @abstractmethod
    def _value(self, xp: Any, raw: Any) -> Any: ...

    @abstractmethod
    def _raw(self, xp: Any, value: Any) -> Any: ...

    @abstractmethod
    def _log_slope(self, xp: Any, raw: Any) -> Any: ...

    def to_value(self, raw: Any) -> Any:
        """Return the value of a raw number, elementwise."""
        return compute(self._value, raw)

    def to_raw(self, value: Any) -> Any:
        """Return the raw number of a value, elementwise; NaN gives NaN.

        Raises:
            ParameterError: A value outside the domain; where it is traced the result is NaN.
        """
        return compute_inside(self._raw, value, self.domain, str(self))

    def log_slope(self, raw: Any) -> Any:
        """Return ln |d value / d raw| at a raw number, elementwise."""
        return compute(self._log_slope, raw)

    def describe(self) -> dict[str, Any]:
        """Describe the bijector as plain JSON, the same for equal ones."""
        arguments = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"name": self.name, "version": self.version, "arguments": arguments}


def magnitude(xp: Any, x: Any) -> Any:
    """Return |x|, with the slope 1 at 0, where smooth functions stand on it."""
    return xp.where(x >= 0, x, -x)


def softplus(xp: Any, x: Any) -> Any:
    """Return ln(1 + exp(x)) without overflow."""
    return xp.where(x >= 0, x, 0.0) + xp.log1p(xp.exp(-magnitude(xp, x)))


def sigmoid(xp: Any, x: Any) -> Any:
    """Return 1 / (1 + exp(-x)) with all its digits at both ends."""
    small = xp.exp(-magnitude(xp, x))
    return xp.where(x >= 0, 1.0, small) / (1.0 + small)
