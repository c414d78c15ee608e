"""Leakage: draws that the prior rules out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace


@dataclass(frozen=True, eq=False)
class Leakage:
    """Share of draws outside the prior's support.

    Attributes:
        shares: (B,), of each observation; a draw that is not finite is outside.
        nonfinite: How many draws of all observations were NaN or infinite.
        draws: Of each observation.
    """

    shares: NDArray[np.float64]
    nonfinite: int
    draws: int

    @property
    def fraction(self) -> float:
        """Share over all observations."""
        return float(self.shares.mean())

    def describe(self) -> dict[str, Any]:
        """Return the numbers as plain JSON."""
        return {
            "fraction": self.fraction,
            "worst": float(self.shares.max()),
            "nonfinite": self.nonfinite,
            "rows": len(self.shares),
            "draws": self.draws,
        }


def measure_leakage(draws: ArrayLike, prior: ParameterSpace) -> Leakage:
    """Count draws outside the prior's support: beyond a bound or against a constraint.

    Args:
        draws: (B, L, d), physical units.
        prior: Whose log density is -inf outside.

    Raises:
        ConfigurationError: Draws of another shape.
    """
    drawn = np.asarray(draws, np.float64)
    if drawn.ndim != 3 or drawn.shape[2] != prior.dimension or 0 in drawn.shape:
        raise ConfigurationError(
            f"Draws have the shape {drawn.shape}; give (B, L, {prior.dimension}) for the "
            f"parameters {', '.join(prior.names)}."
        )
    finite = np.isfinite(drawn).all(axis=-1)
    inside = np.zeros(finite.shape, dtype=bool)
    inside[finite] = prior.log_prior(drawn[finite]) > -np.inf
    return Leakage((~inside).mean(axis=1), int(finite.size - finite.sum()), int(drawn.shape[1]))
