"""Whole vectors of values and of raw numbers, by the bijectors of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.parameters.bijectors import Identity
from ax_jax_runners.parameters.theta import as_rows

if TYPE_CHECKING:
    from ax_jax_runners.parameters.parameter import Parameter


class RawCoordinates:
    """The maps between theta and raw vectors, (..., d) each; see `ParameterSpace`.

    JAX arrays are mapped by JAX in their dtype, traced or not; others by NumPy in float64.
    """

    def __init__(self, free: Sequence[Parameter]) -> None:
        """Gather the columns of each bijector, so that it is applied once for all of them.

        Args:
            free: The free parameters, in theta's order.
        """
        self._names = tuple(parameter.name for parameter in free)
        columns: dict[Bijector, list[int]] = {}
        for column, parameter in enumerate(free):
            columns.setdefault(parameter.bijector or Identity(), []).append(column)
        self._columns = columns
        self._order = np.argsort([i for group in columns.values() for i in group])

    def to_value(self, raw: Any) -> Any:
        """Map raw vectors to theta, (..., d) to (..., d)."""
        return self._joined("to_value", raw, "raw")

    def to_raw(self, theta: Any) -> Any:
        """Map theta to raw vectors, (..., d) to (..., d)."""
        return self._joined("to_raw", theta, "theta")

    def log_slope(self, raw: Any) -> Any:
        """Sum the log slopes of all parameters, (..., d) to (...)."""
        return self._joined("log_slope", raw, "raw").sum(axis=-1)

    def _joined(self, method: str, given: Any, what: str) -> Any:
        import jax

        xp: Any = np
        if isinstance(given, jax.Array):
            xp, values = jax.numpy, given
            if values.ndim == 0 or values.shape[-1] != len(self._names):
                as_rows(np.zeros(values.shape), len(self._names), self._names, what)
        else:
            values = as_rows(given, len(self._names), self._names, what)
        parts = [values[..., :0]]
        for bijector, group in self._columns.items():
            try:
                parts.append(getattr(bijector, method)(values[..., np.array(group)]))
            except ParameterError as error:
                listed = ", ".join(self._names[column] for column in group)
                raise ParameterError(f"{what} of {listed}: {error}") from error
        return xp.concatenate(parts, axis=-1)[..., self._order]
