"""Targets that features are compared with: one graded violation for everybody.

Walks, searches for a seed point, volumes and reports all ask the same number of the features of a
parameter vector: how far its worst feature is outside its target, in units of that target's
tolerance. Inside means at most 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError, EvaluationError
from ax_jax_runners.evaluation.features import WHOLE


@dataclass(frozen=True)
class Constraint:
    """What one feature must be: near a mean, or between bounds.

    The violation of a value f is ``|f - mean| / sd - cutoff`` or, with bounds,
    ``max(lower - f, f - upper) / s`` with s = sd if given, else upper - lower, else 1. It is
    graded: negative inside, 0 at the border, and infinite where f is not finite. Of an array the
    worst element counts, of a complex number its absolute value.

    Attributes:
        feature: Name of the feature; dots lead into nested dicts, ``"features"`` is the one of a
            simulator that returns a bare array.
        mean: The measured value.
        sd: Its standard deviation, in the feature's unit; with bounds the scale of the violation.
        cutoff: How many standard deviations are tolerated; 1 if a mean is given alone.
        lower: The least value tolerated.
        upper: The largest.
    """

    feature: str
    mean: float | None = field(default=None, kw_only=True)
    sd: float | None = field(default=None, kw_only=True)
    cutoff: float | None = field(default=None, kw_only=True)
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the target.

        Raises:
            ConfigurationError: Neither mean nor bounds, both, or numbers that make no target.
        """
        where = f"Constraint on {self.feature!r}"
        if not isinstance(self.feature, str) or not self.feature:
            raise ConfigurationError(
                f"A constraint's feature is {self.feature!r}; give the feature's name."
            )
        for name in ("mean", "sd", "cutoff", "lower", "upper"):
            value = getattr(self, name)
            if value is None:
                continue
            real = isinstance(value, (int, float, np.integer, np.floating))
            if isinstance(value, bool) or not real or not math.isfinite(value):
                raise ConfigurationError(f"{where}: {name} is {value!r}; give a finite number.")
            object.__setattr__(self, name, float(value))
        bounded = self.lower is not None or self.upper is not None
        if (self.mean is None) is not bounded:
            found = "a mean and bounds" if bounded else "neither a mean nor a bound"
            raise ConfigurationError(
                f"{where} has {found}; give mean, sd and cutoff, or lower and upper."
            )
        if self.sd is not None and self.sd <= 0:
            raise ConfigurationError(f"{where}: sd is {self.sd}; give a positive number.")
        if bounded and self.cutoff is not None:
            raise ConfigurationError(
                f"{where} has bounds and a cutoff; a cutoff belongs to a mean, leave it out."
            )
        if not bounded and self.sd is None:
            raise ConfigurationError(f"{where} has a mean and no sd; say how far is tolerated.")
        if not bounded and self.cutoff is None:
            object.__setattr__(self, "cutoff", 1.0)
        if self.cutoff is not None and self.cutoff <= 0:
            raise ConfigurationError(f"{where}: cutoff is {self.cutoff}; give a positive number.")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ConfigurationError(
                f"{where}: lower {self.lower} is not below upper {self.upper}; swap or widen them."
            )

    @property
    def scale(self) -> float:
        """By what a distance to the target is divided."""
        if self.sd is not None:
            return self.sd
        if self.lower is not None and self.upper is not None:
            return self.upper - self.lower
        return 1.0

    @property
    def sentence(self) -> str:
        """The target in words, such as ``'rate' within 10 +- 2 * 1.5``."""
        if self.mean is not None:
            return f"{self.feature!r} within {self.mean:g} +- {self.cutoff:g} * {self.scale:g}"
        if self.lower is None:
            return f"{self.feature!r} at most {self.upper:g}"
        if self.upper is None:
            return f"{self.feature!r} at least {self.lower:g}"
        return f"{self.feature!r} between {self.lower:g} and {self.upper:g}"

    def violation(self, value: Any) -> Array:
        """Return the violation of a feature's value, one scalar; traceable.

        Args:
            value: A number or an array of any shape.

        Raises:
            EvaluationError: An array without elements.
        """
        array = jnp.asarray(value)
        if not array.size:
            raise EvaluationError(
                f"The constrained feature {self.feature!r} is an empty array, of the shape "
                f"{array.shape}; constrain one that has values."
            )
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            array = jnp.abs(array)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            array = array.astype(float)
        scale = 1.0 / self.scale
        if self.mean is not None and self.cutoff is not None:
            distance = jnp.abs(array - self.mean) * scale - self.cutoff
        else:
            sides = []
            if self.lower is not None:
                sides.append((self.lower - array) * scale)
            if self.upper is not None:
                sides.append((array - self.upper) * scale)
            distance = sides[0] if len(sides) == 1 else jnp.maximum(*sides)
        # A missing spike gives NaN, a diverging solver infinities: neither is ever inside.
        graded = jnp.where(jnp.isfinite(array), distance, jnp.inf)
        return jnp.max(graded) if graded.shape else graded


@dataclass(frozen=True)
class Violation:
    """The largest violation of several constraints, as a function of a simulator's features.

    It serves as the output of a task too: ``FeatureTask(evaluator, outputs={"violation":
    Violation(constraints)})`` is what a search for a seed point minimises.

    Attributes:
        constraints: At least one.
    """

    constraints: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        """Check the constraints.

        Raises:
            ConfigurationError: None, or something else among them.
        """
        given = self.constraints
        if isinstance(given, Constraint):
            given = (given,)
        listed = tuple(given) if isinstance(given, Iterable) else (given,)
        wrong = [item for item in listed if not isinstance(item, Constraint)]
        if wrong or not listed:
            found = f"a {type(wrong[0]).__name__}" if wrong else "nothing"
            raise ConfigurationError(f"constraints hold {found}; give a list of Constraint.")
        object.__setattr__(self, "constraints", listed)

    @property
    def labels(self) -> tuple[str, ...]:
        """One name for each constraint: its feature's, numbered where a feature has several."""
        features = [item.feature for item in self.constraints]
        return tuple(
            name if features.count(name) == 1 else f"{name} ({features[:i].count(name) + 1})"
            for i, name in enumerate(features)
        )

    def each(self, features: Any) -> dict[str, Array]:
        """Return the violation of every constraint by its label; traceable.

        Raises:
            EvaluationError: A feature that the simulator does not return.
        """
        return {
            label: item.violation(feature_of(features, item.feature))
            for label, item in zip(self.labels, self.constraints, strict=True)
        }

    def __call__(self, features: Any) -> Array:
        """Return the largest violation, one scalar; traceable.

        Raises:
            EvaluationError: A feature that the simulator does not return.
        """
        worst, *others = self.each(features).values()
        for other in others:
            worst = jnp.maximum(worst, other)
        return worst


@dataclass(frozen=True)
class Misfit:
    """The logarithm of all violations together: what a search for a seed point minimises best.

    ``log10(0.1 + sum of the positive violations)``, which is -1 where and only where every
    constraint holds. The largest violation alone says nothing of the others, which a search mends
    on its way.

    Attributes:
        constraints: At least one.
    """

    constraints: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        """Check the constraints.

        Raises:
            ConfigurationError: None, or something else among them.
        """
        object.__setattr__(self, "constraints", Violation(self.constraints).constraints)

    def __call__(self, features: Any) -> Array:
        """Return the misfit, one scalar; traceable. Infinite where a feature is not finite.

        Raises:
            EvaluationError: A feature that the simulator does not return.
        """
        each = Violation(self.constraints).each(features).values()
        return jnp.log10(0.1 + sum(jnp.maximum(value, 0.0) for value in each))


def feature_of(features: Any, name: str) -> Any:
    """Return one feature by its name, or by its path through nested dicts.

    Raises:
        EvaluationError: There is none of that name.
    """
    if not isinstance(features, Mapping):
        if name == WHOLE:
            return features
        raise EvaluationError(
            f"A constraint asks for the feature {name!r} of a simulator that returns one array "
            f"without names; call it {WHOLE!r}."
        )
    if name in features:
        found = features[name]
    else:
        found = features
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if found is None or isinstance(found, Mapping):
        raise EvaluationError(
            f"A constraint asks for the feature {name!r}; the simulator returns "
            f"{', '.join(map(repr, features))}."
        )
    return found
