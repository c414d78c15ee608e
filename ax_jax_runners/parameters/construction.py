"""From a numpyro distribution and the user's bounds to a measure, or a refusal in one sentence."""

from __future__ import annotations

import functools
import math
from typing import Any

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.discrete_priors import DiscreteMeasure, RoundedMeasure
from ax_jax_runners.parameters.distributions import (
    SYMMETRIC,
    check_distribution,
    exact_copy,
    family,
    support_bounds,
)
from ax_jax_runners.parameters.priors import (
    DistributionMeasure,
    LogUniformMeasure,
    Measure,
    UniformMeasure,
)

#: The search box of a measure with an infinite tail reaches from the first to the second quantile.
BOX_QUANTILES = (0.01, 0.99)
#: Below this probability a truncated prior could not be renormalised accurately.
_LEAST_MASS = 1e-12
_CHECKED_QUANTILES = (1e-6, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1 - 1e-6)


@functools.cache
def _programs() -> tuple[Any, Any]:
    """Compile the two questions asked of every prior once per family, not once per prior."""
    import jax

    return (
        jax.jit(lambda distribution, x: distribution.cdf(x)),
        jax.jit(lambda distribution, u: distribution.cdf(distribution.icdf(u))),
    )


def _cdf_at(distribution: Any, name: str, points: list[float]) -> list[float]:
    import jax
    import numpy as np

    try:
        with jax.enable_x64(True):
            values = _programs()[0](distribution, np.asarray(points, dtype=np.float64))
    except NotImplementedError:
        raise ParameterError(
            f"Parameter {name!r}: prior {family(distribution)} has no cdf, so it can neither be "
            f"truncated nor inverted; use a distribution with a cdf."
        ) from None
    return [float(value) for value in np.asarray(values)]


def _has_exact_icdf(distribution: Any) -> bool:
    """Tell whether the distribution's own icdf exists and inverts its cdf in float64."""
    import jax
    import numpy as np

    u = np.asarray(_CHECKED_QUANTILES, dtype=np.float64)
    try:
        with jax.enable_x64(True):
            back = np.asarray(_programs()[1](distribution, u))
    except (NotImplementedError, ImportError):
        return False
    return bool(np.all(np.abs(back - u) <= 1e-13 + 1e-12 * u))


def _check_mass(mass: float, name: str, prior: Any, lower: float, upper: float) -> None:
    # `not >=` also catches NaN.
    if not mass >= _LEAST_MASS:
        raise ParameterError(
            f"Parameter {name!r}: prior {family(prior)} has no support in [{lower}, {upper}] "
            f"(probability {mass:.3g}); widen the bounds or change the prior."
        )


def _continuous(prior: Any, name: str, lower: float, upper: float, whole: bool) -> Measure:
    kind = family(prior)
    if kind == "Uniform":
        return UniformMeasure(lower, upper)
    if kind == "LogUniform":
        return LogUniformMeasure(lower, upper)
    finite = [x for x in (lower, upper) if math.isfinite(x)]
    at = dict(zip(finite, _cdf_at(prior, name, [*finite, 0.0]), strict=False))
    below, above = at.get(lower, 0.0), at.get(upper, 1.0)
    closed = _has_exact_icdf(prior)
    if whole:
        return DistributionMeasure(prior, lower, upper, 0.0, 1.0, None, closed)
    centre = None
    if kind in SYMMETRIC and lower > float(prior.loc):
        centre = float(prior.loc)
        ends = [2 * centre - x for x in (upper, lower)]
        at_ends = _cdf_at(prior, name, [x if math.isfinite(x) else centre for x in ends])
        below = at_ends[0] if math.isfinite(ends[0]) else 0.0
        above = at_ends[1]
    _check_mass(above - below, name, prior, lower, upper)
    return DistributionMeasure(prior, lower, upper, below, above - below, centre, closed)


def _discrete(prior: Any, name: str, lower: float, upper: float) -> Measure:
    [below] = _cdf_at(prior, name, [lower - 1.0])
    # Below its support a discrete cdf need not be defined.
    below = below if 0.0 <= below <= 1.0 and lower > support_bounds(prior, name)[0] else 0.0
    last = upper
    if math.isinf(upper):
        last = max(lower, 0.0) + 1.0
        while last < 2.0**52 and _cdf_at(prior, name, [last])[0] < 1.0 - 1e-15:
            last = 2.0 * last + 1.0
    [above] = _cdf_at(prior, name, [last])
    _check_mass(above - below, name, prior, lower, upper)
    return DiscreteMeasure(prior, lower, upper, below, above - below, last)


def measure_of(
    prior: Any, name: str, *, lower: float | None, upper: float | None, integer: bool
) -> Measure:
    """Build the measure of a parameter that has a numpyro prior.

    Args:
        prior: scalar numpyro distribution with a cdf.
        name: the parameter's name, for messages.
        lower: the user's lower bound; None leaves that side of the prior whole.
        upper: the user's upper bound; None leaves that side of the prior whole.
        integer: whether values are integers: a continuous prior is then rounded.

    Raises:
        ParameterError: the prior is vector-valued, has no cdf, is discrete for a parameter that
            is not an integer, or has no probability within the bounds.
    """
    check_distribution(prior, name)
    if prior.is_discrete and not integer:
        raise ParameterError(
            f"Parameter {name!r}: prior {family(prior)} is discrete; pass integer=True, or use a "
            f"continuous prior."
        )
    prior = exact_copy(prior)
    first, last = support_bounds(prior, name)
    # A rounded parameter owns half a step on either side of its bounds.
    margin = 0.5 if integer and not prior.is_discrete else 0.0
    low = first if lower is None else max(first, lower - margin)
    high = last if upper is None else min(last, upper + margin)
    if not low < high:
        raise ParameterError(
            f"Parameter {name!r}: prior {family(prior)} has no support in "
            f"[{first if lower is None else lower}, {last if upper is None else upper}]: it lives "
            f"on [{first}, {last}]; change the bounds or the prior."
        )
    if prior.is_discrete:
        return _discrete(prior, name, low, high)
    base = _continuous(prior, name, low, high, whole=(low, high) == (first, last))
    if not integer:
        return base
    least = math.floor(low + 0.5) if math.isfinite(low) else low
    most = math.ceil(high - 0.5) if math.isfinite(high) else high
    return RoundedMeasure(base, float(least), float(most))


def quantiles(measure: Measure, probabilities: tuple[float, ...]) -> tuple[float, ...]:
    """Evaluate float64 quantiles of a measure."""
    import jax
    import numpy as np

    with jax.enable_x64(True):
        values = jax.jit(measure.icdf)(np.asarray(probabilities, dtype=np.float64))
    return tuple(float(value) for value in np.asarray(values))


def search_box(
    measure: Measure,
    prior: Any,
    *,
    lower: float | None,
    upper: float | None,
    domain: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """Return the finite box in which a measure made of ``prior`` is searched.

    A prior with bounded support is searched on all of it. One with an infinite tail is searched
    between the 1 % and 99 % quantiles, and a bound that the user gave replaces the one on its side.
    So is a bounded support on the sides where it meets the end of ``domain``, an open interval: in
    raw numbers there is an infinite tail too.
    """
    first, last = measure.support
    bounded = all(map(math.isfinite, support_bounds(prior, "")))
    if bounded and domain[0] < first and last < domain[1]:
        return first, last
    low, high = quantiles(measure, BOX_QUANTILES)
    if bounded:
        lower = first if domain[0] < first else lower
        upper = last if last < domain[1] else upper
    return (low if lower is None else first), (high if upper is None else last)
