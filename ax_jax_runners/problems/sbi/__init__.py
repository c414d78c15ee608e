"""Benchmark problems of simulation-based inference, with reference posteriors.

The tasks of Lueckmann, Boelts, Greenberg, Goncalves and Macke (2021), "Benchmarking
Simulation-Based Inference", whose posteriors can be drawn without an estimator, and a spectrum.
"""

from ax_jax_runners.problems.sbi.base import InferenceProblem
from ax_jax_runners.problems.sbi.bernoulli_glm import BernoulliGLM
from ax_jax_runners.problems.sbi.gaussian import (
    GaussianLinear,
    GaussianLinearUniform,
    GaussianMixture,
)
from ax_jax_runners.problems.sbi.slcp import SLCP, SLCPDistractors
from ax_jax_runners.problems.sbi.spectrum import TransmissionSpectrum
from ax_jax_runners.problems.sbi.two_moons import TwoMoons

#: Every problem by the name that campaigns and tables use.
SBI_PROBLEMS: dict[str, type[InferenceProblem]] = {
    "two-moons": TwoMoons,
    "gaussian-linear": GaussianLinear,
    "gaussian-linear-uniform": GaussianLinearUniform,
    "gaussian-mixture": GaussianMixture,
    "slcp": SLCP,
    "slcp-distractors": SLCPDistractors,
    "bernoulli-glm": BernoulliGLM,
    "transmission-spectrum": TransmissionSpectrum,
}

__all__ = [
    "SBI_PROBLEMS",
    "SLCP",
    "BernoulliGLM",
    "GaussianLinear",
    "GaussianLinearUniform",
    "GaussianMixture",
    "InferenceProblem",
    "SLCPDistractors",
    "TransmissionSpectrum",
    "TwoMoons",
]
