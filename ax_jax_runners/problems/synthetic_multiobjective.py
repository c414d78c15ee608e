"""Test functions of several objectives, all to be minimised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.problems.synthetic_single import branin_formula
from ax_jax_runners.problems.synthetic_task import SyntheticFunction, checked_dimension


def branin_currin_formula(x: Array) -> Array:
    """Branin on the unit square, and the function of Currin, Mitchell, Morris, Ylvisaker (1991)."""
    a, b = x
    top = 2300.0 * a**3 + 1900.0 * a**2 + 2092.0 * a + 60.0
    bottom = 100.0 * a**3 + 500.0 * a**2 + 4.0 * a + 20.0
    currin = -jnp.expm1(-1.0 / (2.0 * b)) * top / bottom
    return jnp.stack([branin_formula(jnp.stack([15.0 * a - 5.0, 15.0 * b])), currin])


def branin_currin() -> SyntheticFunction:
    """Branin-Currin; Belakaria, Deshwal and Doppa (2019), reference point as in BoTorch.

    The largest hypervolume is an integral over the Branin values t: of 6 less the smallest Currin
    value where Branin is at most t. For a given x1 that x2 follows in closed form (Currin falls
    with x2, Branin is a parabola in it), which leaves one minimisation over x1; 8000 values of t.
    BoTorch names 59.36011875, which a genetic algorithm found.
    """
    return SyntheticFunction(
        bounds=((0.0, 1.0),) * 2,
        formula=branin_currin_formula,
        objectives=("branin", "currin"),
        reference_point=(18.0, 6.0),
        max_hypervolume=59.40661,
    )


@dataclass(frozen=True)
class Dtlz2:
    """DTLZ2 of Deb, Thiele, Laumanns and Zitzler (2002) for any number of objectives."""

    objectives: int

    def __call__(self, x: Array) -> Array:
        """The objectives (m,) of x (d,): a point of the positive unit sphere, moved outwards."""
        count = self.objectives
        angles = x[: count - 1] * (math.pi / 2.0)
        radius = 1.0 + ((x[count - 1 :] - 0.5) ** 2).sum()
        cosines, sines = jnp.cos(angles), jnp.sin(angles)
        directions = [cosines[: count - 1].prod()]
        directions += [cosines[:i].prod() * sines[i] for i in range(count - 2, -1, -1)]
        return radius * jnp.stack(directions)

    def front(self, n: int) -> np.ndarray:
        """Points of the front, (n, m): the part of the unit sphere with no negative coordinate.

        For two objectives at equal angles, else at random, always the same.
        """
        if self.objectives == 2:
            angle = np.linspace(0.0, math.pi / 2.0, n)
            return np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points = np.abs(np.random.default_rng(0).normal(size=(n, self.objectives)))
        return points / np.linalg.norm(points, axis=1, keepdims=True)


def dtlz2(dimension: int = 6, objectives: int = 2) -> SyntheticFunction:
    """DTLZ2; the largest hypervolume is a cube without its part of the unit ball."""
    count = objectives
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise ConfigurationError(f"objectives is {count!r}; give a whole number, at least 2.")
    formula = Dtlz2(count)
    ball = math.pi ** (count / 2.0) / math.gamma(count / 2.0 + 1.0)
    return SyntheticFunction(
        bounds=((0.0, 1.0),) * checked_dimension(dimension, count + 1),
        formula=formula,
        objectives=tuple(f"f{i}" for i in range(1, count + 1)),
        reference_point=(1.1,) * count,
        max_hypervolume=1.1**count - ball / 2.0**count,
        front=formula.front,
    )


def zdt1_formula(x: Array) -> Array:
    """ZDT1 of Zitzler, Deb and Thiele (2000); x (d,)."""
    g = 1.0 + 9.0 * x[1:].mean()
    return jnp.stack([x[0], g * (1.0 - jnp.sqrt(x[0] / g))])


def zdt1_front(n: int) -> np.ndarray:
    """Points of the front f2 = 1 - sqrt(f1), (n, 2), at equal steps of f1."""
    first = np.linspace(0.0, 1.0, n)
    return np.stack([first, 1.0 - np.sqrt(first)], axis=1)


def zdt1(dimension: int = 6) -> SyntheticFunction:
    """ZDT1; above the front and below the reference point lie 10 * 11 + 11 - 1 + 2/3."""
    return SyntheticFunction(
        bounds=((0.0, 1.0),) * checked_dimension(dimension, 2),
        formula=zdt1_formula,
        objectives=("f1", "f2"),
        reference_point=(11.0, 11.0),
        max_hypervolume=120.0 + 2.0 / 3.0,
        front=zdt1_front,
    )


def vehicle_safety_formula(x: Array) -> Array:
    """Mass, acceleration in a full frontal and intrusion in an offset crash.

    Response surfaces of Liao, Li, Yang, Zhang and Li (2008), as problem RE3-5-4 of Tanabe and
    Ishibuchi (2020).

    Args:
        x: Thickness of five reinforced members around the frontal structure [mm], (5,).
    """
    a, b, c, d, e = x
    mass = 1640.2823 + 2.3573285 * a + 2.3220035 * b + 4.5688768 * c + 7.7213633 * d + 4.4559504 * e
    acceleration = (
        6.5856
        + a * (1.15 - 0.1106 * a - 0.3695 * d + 0.0861 * e)
        + b * (0.3628 * d - 1.0427)
        + c * (0.9738 - 0.3437 * c)
        + d * (0.8364 + 0.1764 * d)
    )
    intrusion = (
        -0.0551
        + 0.0181 * a
        + b * (0.1024 - 0.0073 * a - 0.0241 * b + 0.024 * c - 0.0118 * d)
        + c * (0.0421 - 0.0204 * d - 0.008 * e)
        + 0.0109 * d**2
    )
    return jnp.stack([mass, acceleration, intrusion])


def vehicle_safety() -> SyntheticFunction:
    """Vehicle safety; reference point and hypervolume of the approximate front of Tanabe (2020).

    No exact front is known: a fine one may exceed the hypervolume by a little.
    """
    return SyntheticFunction(
        bounds=((1.0, 3.0),) * 5,
        formula=vehicle_safety_formula,
        objectives=("mass", "acceleration", "intrusion"),
        reference_point=(1864.72022, 11.81993945, 0.2903999384),
        max_hypervolume=246.81607081187002,
    )
