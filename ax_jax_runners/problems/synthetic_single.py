"""Test functions of one objective without constraints, all to be minimised."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.problems.synthetic_task import SyntheticFunction, checked_dimension

_HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN3_SCALES = np.array([[3.0, 10.0, 30.0], [0.1, 10.0, 35.0]] * 2)
_HARTMANN3_CENTRES = 1e-4 * np.array(
    [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
)
_HARTMANN6_SCALES = np.array(
    [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ]
)
_HARTMANN6_CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
# Root of 2 x^3 - 16 x + 5/2 = 0 with the smallest (x^4 - 16 x^2 + 5 x) / 2, and that value.
_STYBLINSKI_TANG = (-2.903534027771177, -39.166165703771415)


def branin_formula(x: Array) -> Array:
    """Branin (1972), with the constants of Dixon and Szego (1978); x (2,)."""
    parabola = x[1] - 5.1 / (4.0 * math.pi**2) * x[0] ** 2 + 5.0 / math.pi * x[0] - 6.0
    return parabola**2 + 10.0 * (1.0 - 1.0 / (8.0 * math.pi)) * jnp.cos(x[0]) + 10.0


def branin() -> SyntheticFunction:
    """Branin: three equal minima, where the cosine is -1 and the parabola is 0."""
    return SyntheticFunction(
        bounds=((-5.0, 10.0), (0.0, 15.0)),
        formula=branin_formula,
        optimum=5.0 / (4.0 * math.pi),
        optimisers=((-math.pi, 12.275), (math.pi, 2.275), (3.0 * math.pi, 2.475)),
    )


def _hartmann_formula(x: Array, scales: np.ndarray, centres: np.ndarray) -> Array:
    return -(_HARTMANN_WEIGHTS * jnp.exp(-(scales * (x - centres) ** 2).sum(axis=1))).sum()


def hartmann3_formula(x: Array) -> Array:
    """Hartmann (1973) in three dimensions, as given by Dixon and Szego (1978)."""
    return _hartmann_formula(x, _HARTMANN3_SCALES, _HARTMANN3_CENTRES)


def hartmann6_formula(x: Array) -> Array:
    """Hartmann (1973) in six dimensions, as given by Dixon and Szego (1978)."""
    return _hartmann_formula(x, _HARTMANN6_SCALES, _HARTMANN6_CENTRES)


def hartmann3() -> SyntheticFunction:
    """Hartmann 3; the minimum is a zero of the gradient, solved to 40 digits."""
    return SyntheticFunction(
        bounds=((0.0, 1.0),) * 3,
        formula=hartmann3_formula,
        optimum=-3.8627797873326625,
        optimisers=((0.11458887665506897, 0.5556488946169300, 0.8525469846866774),),
    )


def hartmann6() -> SyntheticFunction:
    """Hartmann 6; the minimum is a zero of the gradient, solved to 40 digits."""
    point = (
        0.20168951100670543,
        0.15001069182345796,
        0.4768739742218990,
        0.27533243049405607,
        0.31165161660011325,
        0.6573005340656203,
    )
    return SyntheticFunction(
        bounds=((0.0, 1.0),) * 6,
        formula=hartmann6_formula,
        optimum=-3.3223680114155148,
        optimisers=(point,),
    )


def ackley_formula(x: Array) -> Array:
    """Ackley (1987) with a = 20, b = 0.2, c = 2 pi; written so that nothing cancels near 0."""
    distance = jnp.sqrt((x**2).mean())
    ripple = -2.0 * (jnp.sin(math.pi * x) ** 2).mean()  # mean of cos(2 pi x) - 1
    return -20.0 * jnp.expm1(-0.2 * distance) - math.e * jnp.expm1(ripple)


def levy_formula(x: Array) -> Array:
    """Levy and Montalvo (1985), function 5 of their family for any dimension."""
    w = 1.0 + (x - 1.0) / 4.0
    head, last = w[:-1], w[-1]
    body = (head - 1.0) ** 2 * (1.0 + 10.0 * jnp.sin(math.pi * head + 1.0) ** 2)
    tail = (last - 1.0) ** 2 * (1.0 + jnp.sin(2.0 * math.pi * last) ** 2)
    return jnp.sin(math.pi * w[0]) ** 2 + body.sum() + tail


def rosenbrock_formula(x: Array) -> Array:
    """Rosenbrock (1960), extended to any dimension as a chain."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rastrigin_formula(x: Array) -> Array:
    """Rastrigin (1974) for any dimension; 10 - 10 cos(2 pi x) is written as 20 sin(pi x)^2."""
    return (x**2 + 20.0 * jnp.sin(math.pi * x) ** 2).sum()


def griewank_formula(x: Array) -> Array:
    """Griewank (1981) for any dimension."""
    number = np.arange(1, len(x) + 1)
    return (x**2).sum() / 4000.0 - jnp.cos(x / np.sqrt(number)).prod() + 1.0


def michalewicz_formula(x: Array) -> Array:
    """Michalewicz (1992) with steepness m = 10."""
    number = np.arange(1, len(x) + 1)
    return -(jnp.sin(x) * jnp.sin(number * x**2 / math.pi) ** 20).sum()


def styblinski_tang_formula(x: Array) -> Array:
    """Styblinski and Tang (1990) for any dimension."""
    return 0.5 * (x**4 - 16.0 * x**2 + 5.0 * x).sum()


def _in_box(
    formula: Callable[[Array], Array],
    low: float,
    high: float,
    at: float,
    *,
    value: float = 0.0,
    least: int = 1,
) -> Callable[..., SyntheticFunction]:
    """A function of free dimension whose minimum has equal coordinates.

    Args:
        formula: The function.
        low: Lower bound of every parameter.
        high: Upper bound of every parameter.
        at: Every coordinate of the minimum.
        value: The minimum per dimension.
        least: Smallest dimension.
    """

    def make(dimension: int = 2) -> SyntheticFunction:
        count = checked_dimension(dimension, least)
        return SyntheticFunction(
            bounds=((low, high),) * count,
            formula=formula,
            optimum=value * count,
            optimisers=((at,) * count,),
        )

    return make


ackley = _in_box(ackley_formula, -32.768, 32.768, 0.0)
levy = _in_box(levy_formula, -10.0, 10.0, 1.0)
rosenbrock = _in_box(rosenbrock_formula, -5.0, 10.0, 1.0, least=2)
rastrigin = _in_box(rastrigin_formula, -5.12, 5.12, 0.0)
griewank = _in_box(griewank_formula, -600.0, 600.0, 0.0)
styblinski_tang = _in_box(
    styblinski_tang_formula, -5.0, 5.0, _STYBLINSKI_TANG[0], value=_STYBLINSKI_TANG[1]
)


def michalewicz(dimension: int = 2) -> SyntheticFunction:
    """Michalewicz: a sum over the coordinates, so that each has its minimum for itself."""
    count = checked_dimension(dimension, 1)
    point = [_michalewicz_minimum(number) for number in range(1, count + 1)]
    terms = [
        math.sin(x) * math.sin(number * x**2 / math.pi) ** 20 for number, x in enumerate(point, 1)
    ]
    return SyntheticFunction(
        bounds=((0.0, math.pi),) * count,
        formula=michalewicz_formula,
        optimum=-math.fsum(terms),
        optimisers=(tuple(point),),
    )


def _michalewicz_minimum(number: int) -> float:
    """Where sin(x) sin(number x^2 / pi)^20 is largest on [0, pi].

    Between two zeros of the second sine the logarithm has one maximum, where its slope
    cot(x) + 40 number x / pi cot(number x^2 / pi) falls through 0: bisection in all intervals.
    """
    zeros = math.pi * np.sqrt(np.arange(number + 1) / number)
    low, high = zeros[:-1].copy(), zeros[1:].copy()
    for _ in range(60):
        middle = (low + high) / 2.0
        slope = 1.0 / np.tan(middle) + 40.0 * number * middle / math.pi / np.tan(
            number * middle**2 / math.pi
        )
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    value = np.sin(low) * np.sin(number * low**2 / math.pi) ** 20
    return float(low[value.argmax()])
