"""Monotone maps between a value that people read and an unconstrained raw number.

People and Ax see the value; random walks and gradient methods move the raw one, which may be any
real number. Each bijector computes where its argument lives and in its precision, see
:mod:`ax_jax_runners.parameters.elementwise`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijector import Bijector, magnitude, sigmoid, softplus
from ax_jax_runners.parameters.elementwise import compute_inside

_LN_2 = math.log(2.0)
_LN_3 = math.log(3.0)
_LN_6 = math.log(6.0)
_POSITIVE = (0.0, math.inf)
_MINUTES_PER_DAY = 1440.0


@dataclass(frozen=True)
class Identity(Bijector):
    """The value itself."""

    name: ClassVar[str] = "identity"

    @property
    def domain(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def _value(self, xp: Any, raw: Any) -> Any:
        return raw

    def _raw(self, xp: Any, value: Any) -> Any:
        return value

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        return xp.zeros_like(raw)


@dataclass(frozen=True)
class Log2(Bijector):
    """Positive values by their logarithm to base 2: value = 2^raw."""

    name: ClassVar[str] = "log2"
    logarithmic: ClassVar[bool] = True

    @property
    def domain(self) -> tuple[float, float]:
        return _POSITIVE

    def _value(self, xp: Any, raw: Any) -> Any:
        return xp.exp2(raw)

    def _raw(self, xp: Any, value: Any) -> Any:
        return xp.log2(value)

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        return raw * _LN_2 + math.log(_LN_2)


@dataclass(frozen=True)
class Logit(Bijector):
    """Values between 0 and 1 by their log-odds: value = 1 / (1 + exp(-raw))."""

    name: ClassVar[str] = "logit"

    @property
    def domain(self) -> tuple[float, float]:
        return 0.0, 1.0

    def _value(self, xp: Any, raw: Any) -> Any:
        return sigmoid(xp, raw)

    def _raw(self, xp: Any, value: Any) -> Any:
        return xp.log(value) - xp.log1p(-value)

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        return -softplus(xp, raw) - softplus(xp, -raw)


@dataclass(frozen=True)
class Interval(Bijector):
    """Values between two ends: value = lower + (upper - lower) / (1 + exp(-raw)).

    Attributes:
        lower: The lower end, finite.
        upper: The upper end, finite.
    """

    lower: float
    upper: float
    name: ClassVar[str] = "interval"

    def __post_init__(self) -> None:
        """Check the ends.

        Raises:
            ParameterError: Ends that are not finite numbers in rising order.
        """
        for end in ("lower", "upper"):
            object.__setattr__(self, end, _finite(getattr(self, end), f"Interval: {end} end"))
        if not self.lower < self.upper or math.isinf(self.upper - self.lower):
            raise ParameterError(
                f"Interval: the ends {self.lower} and {self.upper} enclose no finite range; give "
                "the lower one first."
            )

    @property
    def domain(self) -> tuple[float, float]:
        return self.lower, self.upper

    def _value(self, xp: Any, raw: Any) -> Any:
        # Measured from the nearer end, where a small distance keeps all its digits.
        part = (self.upper - self.lower) * sigmoid(xp, -magnitude(xp, raw))
        return xp.where(raw < 0, self.lower + part, self.upper - part)

    def _raw(self, xp: Any, value: Any) -> Any:
        return xp.log(value - self.lower) - xp.log(self.upper - value)

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        return math.log(self.upper - self.lower) - softplus(xp, raw) - softplus(xp, -raw)


@dataclass(frozen=True)
class Squareplus(Bijector):
    """Positive values, nearly the raw one where that is large: (raw + sqrt(raw^2 + 4)) / 2.

    The square root cancels for negative numbers; there squareplus(-x) = 1 / squareplus(x) is used.
    """

    name: ClassVar[str] = "squareplus"

    @property
    def domain(self) -> tuple[float, float]:
        return _POSITIVE

    def _value(self, xp: Any, raw: Any) -> Any:
        size = magnitude(xp, raw)
        # From here on the 4 is below rounding, and the square has not yet overflowed.
        large = size > 1e10
        root = xp.where(large, size, xp.sqrt(xp.square(xp.where(large, 1.0, size)) + 4.0))
        risen = 0.5 * size + 0.5 * root
        return xp.where(raw >= 0, risen, 1.0 / risen)

    def _raw(self, xp: Any, value: Any) -> Any:
        # value - 1 / value, without its cancellation at 1.
        return (value - 1.0) * (1.0 + 1.0 / value)

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        return -softplus(xp, -2.0 * xp.arcsinh(0.5 * raw))


@dataclass(frozen=True)
class MemoryDecay(Bijector):
    """The memory of an exponentially weighted mean, in days; raw: the logit of its decay lambda.

    A mean e <- lambda e + (1 - lambda) p over chunks of c minutes remembers d days with
    6 lambda = m^3 (1 - lambda)^3, m = 1440 d / (2 c). With v = m (1 - lambda) that is the depressed
    cubic v^3 + (6 / m) v = 6, whose only real root is, by the hyperbolic form of Cardano's formula,
    v = 2 sqrt(2 / m) sinh(asinh((3 m / 2) sqrt(m / 2)) / 3), free of cancellation for every m.

    Attributes:
        chunk_minutes: Length of a chunk, above 0.
    """

    chunk_minutes: float
    name: ClassVar[str] = "memory_decay"
    logarithmic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the length of a chunk.

        Raises:
            ParameterError: No finite number above 0.
        """
        minutes = _finite(self.chunk_minutes, "MemoryDecay: chunk_minutes")
        if minutes <= 0:
            raise ParameterError(
                f"MemoryDecay: chunk_minutes is {minutes}; give a number of minutes above 0."
            )
        object.__setattr__(self, "chunk_minutes", minutes)

    @property
    def domain(self) -> tuple[float, float]:
        return _POSITIVE

    def to_decay(self, memory_days: Any) -> Any:
        """Return lambda, between 0 and 1, of a memory in days; errors as for `to_raw`."""
        return compute_inside(self._decay, memory_days, self.domain, str(self))

    def to_complement(self, memory_days: Any) -> Any:
        """Return 1 - lambda with all its digits, of a memory in days; errors as for `to_raw`."""
        return compute_inside(self._complement, memory_days, self.domain, str(self))

    def from_decay(self, decay: Any) -> Any:
        """Return the memory in days of a lambda between 0 and 1.

        Near 1 the memory is as ill-conditioned as 1 - lambda; `to_value` of the logit is not.

        Raises:
            ParameterError: A lambda outside (0, 1); where it is traced the result is NaN.
        """
        return compute_inside(self._memory, decay, (0.0, 1.0), f"{self}: lambda")

    @property
    def _days_per_unit(self) -> float:
        return 2.0 * self.chunk_minutes / _MINUTES_PER_DAY

    def _log_memory(self, xp: Any, logit: Any) -> Any:
        """Return ln m of the logit of lambda."""
        return (_LN_6 - softplus(xp, -logit)) / 3.0 + softplus(xp, logit)

    def _value(self, xp: Any, raw: Any) -> Any:
        return xp.exp(self._log_memory(xp, raw)) * self._days_per_unit

    def _raw(self, xp: Any, value: Any) -> Any:
        m = value / self._days_per_unit
        # Beyond these the logit is a straight line of ln m to rounding; powers of m overflow there.
        eps = float(xp.finfo(m.dtype).eps)
        least, most = eps ** (1 / 3) / 4, 16 / eps
        low, high = m < least, m > most
        inner = xp.where(low, least, xp.where(high, most, m))
        third = xp.arcsinh(1.5 * inner * xp.sqrt(0.5 * inner)) / 3.0
        v = 2.0 * xp.sqrt(2.0 / inner) * xp.sinh(third)
        logit = 2.0 * xp.log(v) + xp.log(inner) - _LN_6
        beyond = xp.log(m) - xp.log(inner)
        return logit + xp.where(low, 3.0 * beyond, beyond)

    def _log_slope(self, xp: Any, raw: Any) -> Any:
        rate = xp.log1p(2.0 * sigmoid(xp, raw)) - _LN_3
        return self._log_memory(xp, raw) + math.log(self._days_per_unit) + rate

    def _decay(self, xp: Any, value: Any) -> Any:
        return sigmoid(xp, self._raw(xp, value))

    def _complement(self, xp: Any, value: Any) -> Any:
        return sigmoid(xp, -self._raw(xp, value))

    def _memory(self, xp: Any, decay: Any) -> Any:
        return xp.cbrt(6.0 * decay) / (1.0 - decay) * self._days_per_unit


def _finite(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ParameterError(f"{what} is {value!r}; give a finite number.")
    return float(value)


_KINDS: dict[str, type[Bijector]] = {
    kind.name: kind for kind in (Identity, Log2, Logit, Interval, Squareplus, MemoryDecay)
}


def bijector_from_description(told: Mapping[str, Any]) -> Bijector:
    """Return the bijector that described itself so.

    Raises:
        ParameterError: None of ours, or one of another version.
    """
    kind = _KINDS.get(told["name"])
    if kind is None or kind.version != told["version"]:
        raise ParameterError(
            f"The bijector {dict(told)} is none of this version's ({', '.join(_KINDS)}); give the "
            "space."
        )
    return kind(**told["arguments"])
