"""Test functions of one objective with constraints.

A constraint is an output c1, c2, ... that is at least 0 where it holds: as outcome constraints of a
campaign "c1 >= 0", "c2 >= 0". This is the slack that BoTorch reports.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.problems.synthetic_task import SyntheticFunction

_PLATE = 0.0625  # inch: shell and head are made of plates of this thickness
_VOLUME = 1_296_000.0  # cubic inch


def gardner_formula(x: Array) -> Array:
    """Gardner, Kusner, Xu, Weinberger and Cunningham (2014), simulation 1: the objective."""
    return jnp.cos(2.0 * x[0]) * jnp.cos(x[1]) + jnp.sin(x[0])


def gardner_slacks(x: Array) -> Array:
    """Simulation 1: cos(x1) cos(x2) - sin(x1) sin(x2), which is cos(x1 + x2), at most 1/2."""
    return jnp.stack([0.5 - jnp.cos(x[0] + x[1])])


def gardner() -> SyntheticFunction:
    """Gardner: the smallest value of the formula, -2, and the largest, 2, are both feasible."""
    return SyntheticFunction(
        bounds=((0.0, 6.0),) * 2,
        formula=gardner_formula,
        slacks=gardner_slacks,
        constraints=("c1",),
        optimum=-2.0,
        optimisers=((1.5 * math.pi, 0.0),),
        worst_feasible=2.0,
    )


def _plates(thickness: Array) -> Array:
    return _PLATE * jnp.round(thickness / _PLATE)


def pressure_vessel_formula(x: Array) -> Array:
    """Cost of the vessel: material, forming and welding; Kannan and Kramer (1994).

    Args:
        x: Thickness of the shell and of the head, rounded here to whole plates, inner radius and
            length of the cylinder; inches, (4,).
    """
    shell, head = _plates(x[0]), _plates(x[1])
    radius, length = x[2], x[3]
    return (
        0.6224 * shell * radius * length
        + 1.7781 * head * radius**2
        + 3.1661 * shell**2 * length
        + 19.84 * shell**2 * radius
    )


def pressure_vessel_slacks(x: Array) -> Array:
    """Stress in shell and head, volume, length; on the thicknesses before they are rounded."""
    volume = math.pi * x[2] ** 2 * x[3] + 4.0 / 3.0 * math.pi * x[2] ** 3
    return jnp.stack([x[0] - 0.0193 * x[2], x[1] - 0.00954 * x[2], volume - _VOLUME, 240.0 - x[3]])


def pressure_vessel() -> SyntheticFunction:
    """Pressure vessel in the box and with the rounding of BoTorch.

    Its optimum is not the 6059.946 of Coello Coello (2002), which holds where the constraints see
    the rounded thicknesses: here a shell of 25/32 inch is strong enough and costs as much as one
    of 3/4 inch. So 25/32 inch decide the radius, and the volume the length. The cost grows with
    everything, and the largest vessel of the box is feasible.
    """
    radius = 0.78125 / 0.0193
    length = (_VOLUME / math.pi - 4.0 / 3.0 * radius**3) / radius**2
    # By so little inside that the constraints hold in spite of rounding.
    point = (0.78125, 0.390625, radius * (1.0 - 1e-14), length * (1.0 + 1e-13))
    return SyntheticFunction(
        bounds=((0.0, 10.0), (0.0, 10.0), (10.0, 50.0), (150.0, 200.0)),
        formula=pressure_vessel_formula,
        slacks=pressure_vessel_slacks,
        constraints=("c1", "c2", "c3", "c4"),
        optimum=5633.950241007438,
        optimisers=(point,),
        worst_feasible=269_214.5,
    )
