"""How far computed S-parameters are from measured ones: the outputs of the built-in RF problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.problems.measured import Measured
from ax_jax_runners.problems.touchstone import TouchstoneData


def feature_names(ports: int) -> tuple[str, ...]:
    """Names of the S-parameters in row order: "s11", "s12", ..."""
    return tuple(f"s{i}{j}" for i in range(1, ports + 1) for j in range(1, ports + 1))


def measured_curves(data: TouchstoneData) -> tuple[Measured, ...]:
    """The curves of a Touchstone file, over GHz."""
    curves = data.s.reshape(len(data.frequency), -1).T
    return tuple(
        Measured(feature, data.frequency / 1e9, "frequency [GHz]", curve)
        for feature, curve in zip(feature_names(data.ports), curves, strict=True)
    )


@dataclass(frozen=True)
class Cost:
    """Mean over frequencies and S-parameters of the squared distance |S - S measured|^2."""

    data: TouchstoneData

    def __call__(self, features: Mapping[str, Array]) -> Array:
        """The cost of features named as by `feature_names`, each complex with shape (F,)."""
        total = jnp.zeros(())
        for curve in measured_curves(self.data):
            difference = features[curve.feature] - curve.values
            total = total + jnp.mean(difference.real**2 + difference.imag**2)
        return total / self.data.ports**2


@dataclass(frozen=True)
class Log10Cost:
    """Decimal logarithm of the cost; finite also where the fit is exact."""

    cost: Cost

    def __call__(self, features: Mapping[str, Array]) -> Array:
        """The logarithm of the cost of the features."""
        cost = self.cost(features)
        return jnp.log10(jnp.maximum(cost, jnp.finfo(cost.dtype).tiny))


@dataclass(frozen=True)
class RmsError:
    """Root of the cost: the typical distance in the plane of the reflection coefficient."""

    cost: Cost

    def __call__(self, features: Mapping[str, Array]) -> Array:
        """The root of the cost of the features."""
        return jnp.sqrt(self.cost(features))


def misfit_outputs(data: TouchstoneData) -> dict[str, Cost | Log10Cost | RmsError]:
    """The outputs ``cost``, ``log10_cost`` and ``rms_error`` against measured data."""
    cost = Cost(data)
    return {"cost": cost, "log10_cost": Log10Cost(cost), "rms_error": RmsError(cost)}
