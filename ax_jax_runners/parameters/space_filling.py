"""Designs that fill a search box evenly: Sobol sequences and Latin hypercubes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.designs import Design, distinct, is_feasible
from ax_jax_runners.parameters.scalars import Scalar
from ax_jax_runners.parameters.space import ParameterSpace

SOBOL, LATIN_HYPERCUBE = "sobol", "latin_hypercube"
#: How many times more points than asked for a Sobol design looks at.
_MOST_LOOKS = 64


def sobol_design(space: ParameterSpace, points: int, *, seed: int) -> Design:
    """Return points of a scrambled Sobol sequence that keep the space's constraints.

    They fill the search box, evenly on the scale on which each parameter is searched. A space that
    has fewer distinct points gives fewer.

    Args:
        space: The parameters.
        points: How many.
        seed: Of the scrambling.

    Raises:
        ParameterError: No free parameter, no points, or constraints that hardly any point keeps.
    """
    from scipy.stats import qmc

    _check_points(space, points)
    sequence = qmc.Sobol(space.dimension, rng=np.random.default_rng(seed))
    size = 1 << (points - 1).bit_length()
    unit = sequence.random(size)
    found = _from_unit(space, unit)
    while len(found) < points and len(unit) < _MOST_LOOKS * size:
        unit = np.concatenate([unit, sequence.random(len(unit))])
        found = _from_unit(space, unit)
    return _found(SOBOL, found[:points], space)


def latin_hypercube_design(space: ParameterSpace, points: int, *, seed: int) -> Design:
    """Return a Latin hypercube: each parameter has one value in each of ``points`` equal slices.

    Slices are equal on the scale on which a parameter is searched. Points that break a constraint
    and repeated ones, where there are integers or choices, are left out.

    Args:
        space: The parameters.
        points: How many.
        seed: Of the places.

    Raises:
        ParameterError: No free parameter, no points, or constraints that no point keeps.
    """
    from scipy.stats import qmc

    _check_points(space, points)
    sampler = qmc.LatinHypercube(space.dimension, rng=np.random.default_rng(seed))
    return _found(LATIN_HYPERCUBE, _from_unit(space, sampler.random(points)), space)


def _from_unit(space: ParameterSpace, unit: np.ndarray) -> tuple[dict[str, Scalar], ...]:
    """Return the distinct points that keep the constraints, of coordinates (n, d) in [0, 1]."""
    whole = np.array([p.integer or p.choices is not None for p in space.free])
    logarithmic = space.log_scale & ~whole
    # Integers and choices have cells of equal width.
    lower, upper = space.lower - 0.5 * whole, space.upper + 0.5 * whole
    ratio = np.where(logarithmic, upper, 1.0) / np.where(logarithmic, lower, 1.0)
    theta = np.where(logarithmic, lower * ratio**unit, lower + (upper - lower) * unit)
    theta = np.clip(np.where(whole, np.round(theta), theta), space.lower, space.upper)
    return distinct(space.unpack(row) for row in theta if is_feasible(space, row))


def _check_points(space: ParameterSpace, points: Any) -> None:
    whole = isinstance(points, (int, np.integer)) and not isinstance(points, bool)
    if not whole or points < 1:
        raise ParameterError(f"points is {points!r}; give a whole number of at least 1.")
    if not space.dimension:
        raise ParameterError("A design needs a free parameter, and every one is fixed; free one.")


def _found(label: str, points: tuple[dict[str, Scalar], ...], space: ParameterSpace) -> Design:
    if not points:
        raise ParameterError(
            f"None of the points looked at keeps {', '.join(space.constraints)}; loosen the "
            "constraints or give more points."
        )
    return Design(label, points)
