"""Test functions as tasks: what is known of a function, its noise, and the outputs of an arm."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.tasks import FeatureTask, Progress
from ax_jax_runners.tasks.features import FeatureState

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REGRET = "simple_regret"
HYPERVOLUME = "hypervolume"


@dataclass(frozen=True, kw_only=True)
class SyntheticFunction:
    """A test function to minimise, and what is known of its minimum. Called as a simulator.

    Attributes:
        bounds: Lower and upper bound of each parameter; the parameters are x1, x2, ...
        formula: JAX function of x (d,) to a scalar, or to (m,) for m objectives.
        objectives: Names of what ``formula`` returns.
        slacks: JAX function of x (d,) to (k,), each at least 0 where its constraint holds, or None.
        optimum: The smallest feasible value of a single objective.
        optimisers: Points that reach it, as far as they are known.
        worst_feasible: The largest feasible value, where there are constraints.
        reference_point: Of the hypervolume, one number per objective.
        max_hypervolume: Of the best front there is, or, where that has no closed form, of the best
            one known.
        front: Function of n to n points (n, m) of the exact front, or None.
    """

    bounds: tuple[tuple[float, float], ...]
    formula: Callable[[Array], Array]
    objectives: tuple[str, ...] = ("value",)
    slacks: Callable[[Array], Array] | None = None
    constraints: tuple[str, ...] = ()
    optimum: float | None = None
    optimisers: tuple[tuple[float, ...], ...] = ()
    worst_feasible: float | None = None
    reference_point: tuple[float, ...] | None = None
    max_hypervolume: float | None = None
    front: Callable[[int], np.ndarray] | None = field(default=None, compare=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Objectives, constraints, and the regret or the hypervolume, in this order."""
        last = HYPERVOLUME if self.optimum is None else REGRET
        return (*self.objectives, *self.constraints, last)

    @property
    def space(self) -> ParameterSpace:
        """The box in which the function is usually minimised."""
        return ParameterSpace(
            [Parameter(f"x{i}", lower=a, upper=b) for i, (a, b) in enumerate(self.bounds, 1)]
        )

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """All outputs of one arm without noise, by name; traceable.

        The simple regret of a feasible arm is its distance from the optimum. An infeasible one
        counts as the worst feasible one, so that no arm seems better than the optimum. Outside
        the bounds, where a function may fall below its optimum, the regret is 0.
        """
        x = jnp.stack([jnp.asarray(values[f"x{i + 1}"], float) for i in range(len(self.bounds))])
        objectives = jnp.atleast_1d(self.formula(x))
        found = dict(zip(self.objectives, objectives, strict=True))
        feasible = jnp.asarray(True)
        if self.slacks is not None:
            slacks = self.slacks(x)
            feasible = (slacks >= 0).all()
            found.update(zip(self.constraints, slacks, strict=True))
        if self.optimum is not None:
            regret = jnp.maximum(objectives[0] - self.optimum, 0.0)
            if self.worst_feasible is not None:
                regret = jnp.where(feasible, regret, self.worst_feasible - self.optimum)
            found[REGRET] = regret
        if self.reference_point is not None:
            corner = jnp.asarray(self.reference_point, float)
            found[HYPERVOLUME] = jnp.maximum(corner - objectives, 0.0).prod()
        return found

    def evaluate(self, theta: ArrayLike) -> dict[str, np.ndarray]:
        """All outputs without noise of the rows of theta (B, d), by name, each (B,) float64."""
        return self._evaluator.model_features(np.atleast_2d(theta))

    @functools.cached_property
    def _evaluator(self) -> FeatureEvaluator:
        return FeatureEvaluator(self, self.space)


@dataclass(frozen=True)
class NoiseLaw:
    """Standard deviation of Gaussian noise on an output y: ``base + slope * |y|``."""

    base: float = 0.0
    slope: float = 0.0

    @classmethod
    def read(cls, noise_sd: Any) -> NoiseLaw:
        """Read a number, or a mapping with the keys "base" and "slope".

        Raises:
            ConfigurationError: Something else, or a number that is negative or not finite.
        """
        given = noise_sd if isinstance(noise_sd, Mapping) else {"base": noise_sd}
        if not given or not set(given) <= {"base", "slope"}:
            raise ConfigurationError(
                f"noise_sd is {noise_sd!r}; give a number, or {{'base': b, 'slope': s}} for a "
                "standard deviation of b + s * |output|."
            )
        for key, value in given.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value < math.inf:
                what = "noise_sd" if given is not noise_sd else f"noise_sd: {key!r}"
                raise ConfigurationError(f"{what} is {value!r}; give a finite number, at least 0.")
        return cls(**{key: float(value) for key, value in given.items()})

    def sd(self, truth: Array) -> Array:
        """Standard deviation at a true output."""
        return self.base + self.slope * jnp.abs(truth)


@dataclass(frozen=True)
class NoisyFunction:
    """A test function whose objectives are observed with noise. Called as a simulator with a key.

    Constraints, regret and hypervolume stay exact. Next to each objective stands the standard
    deviation of its noise.
    """

    function: SyntheticFunction
    noise: NoiseLaw

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """Outputs of one arm by name, and ``<objective>_sd``; traceable."""
        found = self.function(values)
        names = self.function.objectives
        draws = jax.random.normal(key, (len(names),), found[names[0]].dtype)
        for name, draw in zip(names, draws, strict=True):
            sd = self.noise.sd(found[name])
            found[name] = found[name] + sd * draw
            found[_sd(name)] = sd
        return found


@dataclass(frozen=True)
class Named:
    """An output that is a feature of that name."""

    name: str

    def __call__(self, features: Mapping[str, Array]) -> Array:
        """The feature."""
        return features[self.name]


class SyntheticTask(FeatureTask):
    """A `FeatureTask` of a test function: its noise is known, and there are no arrays to keep."""

    @property
    def function(self) -> SyntheticFunction:
        """What is known of the function: bounds, optimum or reference point, exact values."""
        simulator: Any = self.evaluator.fn
        return simulator.function if isinstance(simulator, NoisyFunction) else simulator

    def progress(self, state: FeatureState) -> list[Progress]:
        """Report the outputs, each with the standard deviation of its noise at that arm."""
        return [
            replace(
                report,
                outputs={
                    name: (value, float(report.arrays.get(_sd(name), 0.0)))
                    for name, (value, _) in report.outputs.items()
                },
                arrays={},
            )
            for report in super().progress(state)
        ]


def synthetic_task(function: SyntheticFunction, noise_sd: Any = 0.0) -> SyntheticTask:
    """The task of minimising a test function.

    Args:
        function: The function.
        noise_sd: Of the noise on each objective: a number, or {"base": b, "slope": s} for
            b + s * |true objective|.

    Raises:
        ConfigurationError: Noise that cannot be used.
    """
    noise = NoiseLaw.read(noise_sd)
    if noise == NoiseLaw():
        evaluator = FeatureEvaluator(function, function.space)
    else:
        evaluator = FeatureEvaluator(
            NoisyFunction(function, noise), function.space, stochastic=True
        )
    return SyntheticTask(evaluator, outputs={name: Named(name) for name in function.outputs})


def checked_dimension(dimension: Any, least: int) -> int:
    """The dimension, or an error where it is not a whole number of at least ``least``.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < least:
        raise ConfigurationError(
            f"dimension is {dimension!r}; give a whole number, at least {least}."
        )
    return dimension


def _sd(name: str) -> str:
    return f"{name}_sd"
