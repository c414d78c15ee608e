"""The estimators with the flat keywords of petitRADTRANS's ``sbi.posterior``.

They are the estimators over grouped configurations, with every keyword handed to its group. Their
defaults are those of the original: few epochs, small batches.
"""

from ax_jax_runners.posterior.petitradtrans.families import (
    ConditionalAutoregressiveFlowPosterior,
    ConditionalNeuralAutoregressiveFlowPosterior,
    ConditionalSplineFlowPosterior,
)
from ax_jax_runners.posterior.petitradtrans.flow import ConditionalFlowPosterior
from ax_jax_runners.posterior.petitradtrans.flow_matching import FlowMatchingPosterior

__all__ = [
    "ConditionalAutoregressiveFlowPosterior",
    "ConditionalFlowPosterior",
    "ConditionalNeuralAutoregressiveFlowPosterior",
    "ConditionalSplineFlowPosterior",
    "FlowMatchingPosterior",
]
