"""Parameters with priors, bounds, bijectors and linear constraints; one module maps them to Ax."""

from __future__ import annotations

from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.parameters.bijectors import (
    Identity,
    Interval,
    Log2,
    Logit,
    MemoryDecay,
    Squareplus,
)
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace

__all__ = [
    "Bijector",
    "Identity",
    "Interval",
    "LinearConstraint",
    "Log2",
    "Logit",
    "MemoryDecay",
    "Parameter",
    "ParameterSpace",
    "Squareplus",
]
