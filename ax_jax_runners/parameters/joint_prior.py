"""The joint prior of a space's free parameters: functions of theta, in NumPy and traced by JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import InvalidTheta
from ax_jax_runners.parameters.constraints import CONSTRAINT_TOLERANCE, LinearConstraint
from ax_jax_runners.parameters.priors import Measure
from ax_jax_runners.parameters.theta import as_rows

if TYPE_CHECKING:
    from jax import Array


class JointPrior:
    """Independent measures side by side, and linear constraints on all of them.

    Each function takes (..., d) values. Traced ones give a traced result in their dtype; others go
    through compiled float64 programs. See `ParameterSpace` for what the functions mean.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        measures: Sequence[Measure],
        constraints: Sequence[LinearConstraint],
    ) -> None:
        """Keep what is needed; nothing is compiled yet.

        Args:
            names: The free parameters, in theta's order.
            measures: Their priors.
            constraints: Those on free parameters.
        """
        self._names = names
        self._measures = tuple(measures)
        self._constraints = tuple(constraints)

    def cdf(self, theta: Any) -> Any:
        """Evaluate each parameter's cumulative probability, (..., d) to (..., d)."""
        return self._apply("cdf", theta, "theta")

    def icdf(self, u: Any) -> Any:
        """Evaluate each parameter's quantile, (..., d) to (..., d)."""
        return self._apply("icdf", u, "u")

    def log_density(self, theta: Any) -> Any:
        """Evaluate the joint log density, (..., d) to (...)."""
        return self._apply("log_density", theta, "theta")

    @property
    def _dimension(self) -> int:
        return len(self._names)

    def _function(self, name: str) -> Callable[[Array], Array]:
        import jax.numpy as jnp

        measures = self._measures
        columns = {n: i for i, n in enumerate(self._names)}

        def each(x: Array) -> Array:
            method = "cdf" if name == "cdf" else "icdf"
            parts = [getattr(m, method)(x[..., i]) for i, m in enumerate(measures)]
            return jnp.stack(parts, axis=-1) if parts else x

        def joint(x: Array) -> Array:
            total = jnp.zeros(x.shape[:-1], dtype=x.dtype)
            for i, measure in enumerate(measures):
                total = total + measure.log_density(x[..., i])
            for constraint in self._constraints:
                terms = [c * x[..., columns[n]] for n, c in constraint.coefficients]
                size = sum((jnp.abs(term) for term in terms), jnp.abs(constraint.bound))
                holds = sum(terms) <= constraint.bound + CONSTRAINT_TOLERANCE * size
                total = jnp.where(holds, total, -jnp.inf)
            return total

        return joint if name == "log_density" else each

    @functools.cached_property
    def _programs(self) -> dict[str, Any]:
        import jax

        return {name: jax.jit(self._function(name)) for name in ("cdf", "icdf", "log_density")}

    def _apply(self, name: str, values: Any, what: str) -> Any:
        import jax
        from jax.core import Tracer

        if isinstance(values, Tracer):
            if values.ndim == 0 or values.shape[-1] != self._dimension:
                as_rows(np.zeros(values.shape), self._dimension, self._names, what)
            return self._function(name)(values)
        array = as_rows(values, self._dimension, self._names, what)
        if name == "icdf" and not np.all((array >= 0.0) & (array <= 1.0)):
            wrong = array[~((array >= 0.0) & (array <= 1.0))].flat[0]
            raise InvalidTheta(f"u holds {wrong}, which is no probability; give values in [0, 1].")
        rows = array.reshape(-1, self._dimension)
        count = len(rows)
        shape = array.shape[:-1] if name == "log_density" else array.shape
        if count == 0 or self._dimension == 0:
            return np.zeros(shape)
        # Sizes are rounded up to a power of two: few programs, whatever the batches.
        padded = np.full((1 << (count - 1).bit_length(), self._dimension), rows[0])
        padded[:count] = rows
        with jax.enable_x64(True):
            result = np.asarray(self._programs[name](padded))
        return result[:count].reshape(shape).copy()
