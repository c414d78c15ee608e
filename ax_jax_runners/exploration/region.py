"""The set of parameter vectors that are compatible with all constraints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ax_jax_runners.errors import ConfigurationError, FeaturesNotConfigured
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint, Violation, feature_of
from ax_jax_runners.evaluation.features import simulate
from ax_jax_runners.exploration.box import SearchBox

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Grading:
    """A simulator and the violation of its features as one function.

    Attributes:
        evaluator: Has the simulator.
        violation: Of its features.
    """

    evaluator: FeatureEvaluator
    violation: Violation

    def __call__(self, values: Mapping[str, Any], *key: Any) -> Any:
        """Return the violation; traceable."""
        given = self.evaluator
        if given.fn is None:
            raise FeaturesNotConfigured("The evaluator has no simulator (fn=None); give it one.")
        features = simulate(given.fn, (values, *key), names=given.features, dtype=given.dtype)
        return self.violation(features)


@dataclass(frozen=True)
class Region:
    """Where the violation of the constraints is at most 0, within the search box.

    Attributes:
        evaluator: Gives the features.
        constraints: Their targets.
        params_to_explore: Which parameters vary; None for all free ones.
    """

    evaluator: FeatureEvaluator
    constraints: tuple[Constraint, ...]
    params_to_explore: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            ConfigurationError: Something else than an evaluator, or constraints or names that
                cannot be used.
        """
        if not isinstance(self.evaluator, FeatureEvaluator):
            raise ConfigurationError(
                f"The evaluator is a {type(self.evaluator).__name__}; give a FeatureEvaluator."
            )
        given = self.constraints
        listed = tuple(given) if isinstance(given, Iterable) else (given,)
        object.__setattr__(self, "constraints", Violation(listed).constraints)
        box = SearchBox(self.evaluator.space, self.params_to_explore)
        object.__setattr__(self, "params_to_explore", box.params_to_explore)

    @property
    def violation(self) -> Violation:
        """The violation as a function of features."""
        return Violation(self.constraints)

    @functools.cached_property
    def _graded(self) -> FeatureEvaluator:
        """Gives the violation alone, by one program whatever the number of rows."""
        grading = Grading(self.evaluator, self.violation)
        return dataclasses.replace(self.evaluator, fn=grading, features=None)

    @functools.cached_property
    def box(self) -> SearchBox:
        """The coordinates of the explored parameters."""
        return SearchBox(self.evaluator.space, self.params_to_explore)

    def violations(self, theta: ArrayLike, *, seed: int = 0) -> np.ndarray:
        """Evaluate the violation of many parameter vectors.

        Args:
            theta: (B, d), physical units.
            seed: For a stochastic simulator.

        Returns:
            (B,) float64; infinite where a constrained feature is not finite, or where a linear
            constraint of the space does not hold.
        """
        rows = np.asarray(theta, dtype=np.float64)
        keys = None
        if self.evaluator.stochastic:
            keys = jax.random.split(jax.random.key(seed), len(rows))
        graded = self._graded.evaluate(rows, keys).features.astype(np.float64)
        return np.where(self.holds(rows) & ~np.isnan(graded), graded, np.inf)

    def inside(self, theta: ArrayLike) -> np.ndarray:
        """Say which parameter vectors (B, d) are inside, (B,) bool."""
        return self.violations(theta) <= 0

    def unit_violations(self, seed_theta: ArrayLike | None = None) -> Any:
        """Return the violation as a function of unit coordinates, (B, dimension) to (B,).

        Args:
            seed_theta: (d,), values of the free parameters that are not explored.
        """
        return lambda unit: self.violations(self.box.to_theta(unit, seed_theta))

    def holds(self, theta: ArrayLike) -> np.ndarray:
        """Say at which parameter vectors (B, d) the space's linear constraints hold, (B,) bool."""
        columns = np.asarray(theta, dtype=np.float64).T
        return np.broadcast_to(self.box.holds(columns), columns.shape[1:])

    def explain(self, theta: ArrayLike, features: Any = None) -> str:
        """Say which constraints a parameter vector (d,) violates, and by which values.

        Args:
            theta: Physical units.
            features: What was found there; None: evaluated here.
        """
        row = np.asarray(theta, dtype=np.float64)
        if features is None:
            keys = jax.random.split(jax.random.key(0), 1) if self.evaluator.stochastic else None
            found = self.evaluator.evaluate(row[None], keys).features
            features = jax.tree.map(lambda leaf: leaf[0], found)
        space = self.evaluator.space
        values = dict(zip(space.names, row.tolist(), strict=True))
        parts = [
            f"{item} does not hold (missed by {-item.slack(values):.6g})"
            for item in space.linear_constraints
            if not self.holds(row) and item.slack(values) < 0
        ]
        for item in self.constraints:
            value = np.asarray(feature_of(features, item.feature))
            with jax.enable_x64(True):
                violated = not float(item.violation(value)) <= 0
            if violated:
                shown = f"{value.item():.6g}" if value.ndim == 0 else f"an array of {value.shape}"
                parts.append(f"{item.sentence} (found {shown})")
        return "; ".join(parts) or "every constraint holds"
