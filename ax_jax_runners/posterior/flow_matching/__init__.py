"""Flow matching: a velocity field that carries noise to parameters."""

from __future__ import annotations

from ax_jax_runners.posterior.flow_matching.configuration import FlowMatchingConfiguration
from ax_jax_runners.posterior.flow_matching.model import FlowMatchingModel, FlowMatchingRecipe
from ax_jax_runners.posterior.flow_matching.objective import VelocityRegression

__all__ = [
    "FlowMatchingConfiguration",
    "FlowMatchingModel",
    "FlowMatchingRecipe",
    "VelocityRegression",
]
