"""What training minimises, row by row."""

from __future__ import annotations

from ax_jax_runners.posterior.objectives.evidence import EvidenceLowerBound
from ax_jax_runners.posterior.objectives.neural import NeuralPosterior
from ax_jax_runners.posterior.objectives.protocol import Objective

__all__ = ["EvidenceLowerBound", "NeuralPosterior", "Objective"]
