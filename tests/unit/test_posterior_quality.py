"""Draws of every family, from 10,000 simulations, beside draws of exact posteriors.

The mean over ten observations and three seeds, of the default family, is measured by
``tests/benchmarks/posterior_quality.py``; here, every family has to come near.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ax_jax_runners.posterior import (
    EncoderConfiguration,
    FlowConfiguration,
    FlowMatching,
    FlowPosterior,
    classifier_two_sample_test,
)
from ax_jax_runners.problems.posteriors import BenchmarkDataset
from ax_jax_runners.problems.sbi import SBI_PROBLEMS

pytestmark = pytest.mark.slow

DRAWS = 10_000
PLAIN = EncoderConfiguration(vector_depth=0)
#: The first of the ten observations of the published benchmark (Lueckmann et al. 2021).
FIRST = np.array([-0.6396706, 0.16234657])


def accuracies(name: str, estimator: Any, observations: list[np.ndarray]) -> list[float]:
    """Accuracy of a classifier for each observation, five folds."""
    problem = SBI_PROBLEMS[name]()
    estimator.fit(BenchmarkDataset(name, 10_000, 0))
    found = []
    for number, x in enumerate(observations):
        reference = problem.reference_posterior(x, DRAWS, seed=number)
        drawn = estimator.draw(x[None], DRAWS, seed=number)[0]
        found.append(classifier_two_sample_test(reference, drawn).accuracy)
    print(f"{name}: accuracies {' '.join(f'{each:.3f}' for each in found)}")
    return found


@pytest.mark.parametrize(
    ("family", "name", "largest"),
    [
        ("spline", "two-moons", 0.60),
        ("affine", "gaussian-linear", 0.56),
        ("autoregressive", "gaussian-linear", 0.56),
        ("neural_autoregressive", "two-moons", 0.65),
    ],
)
def test_a_family_comes_near_the_exact_posterior(family: Any, name: str, largest: float) -> None:
    problem = SBI_PROBLEMS[name]()
    observations = [problem.observe(3000 + number)[1] for number in range(2)]
    if name == "two-moons":
        observations.append(FIRST)
    estimator = FlowPosterior(
        problem.space.dimension, flow=FlowConfiguration(family=family), encoder=PLAIN
    )
    assert np.mean(accuracies(name, estimator, observations)) <= largest


def test_flow_matching_comes_near_the_exact_posterior() -> None:
    (accuracy,) = accuracies("two-moons", FlowMatching(2, encoder=PLAIN), [FIRST])
    assert accuracy <= 0.56
