"""Conditional normalising flows."""

from __future__ import annotations

from ax_jax_runners.posterior.flows.build import build_flow
from ax_jax_runners.posterior.flows.flow import ConditionalFlow
from ax_jax_runners.posterior.flows.spline import SplineParts

__all__ = ["ConditionalFlow", "SplineParts", "build_flow"]
