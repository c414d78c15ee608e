"""Parameters with priors, bounds and linear constraints; one module maps them to Ax."""

from __future__ import annotations

from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.parameter import Parameter
from ax_jax_runners.parameters.space import ParameterSpace

__all__ = ["LinearConstraint", "Parameter", "ParameterSpace"]
