"""An estimator of somebody else's making, as small as one can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpyro.distributions as dist

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.persistence import (
    PersistentPosteriorEstimator,
    load_arrays,
    prior_of,
    save_arrays,
)
from ax_jax_runners.posterior.records import (
    EncodedObservation,
    PosteriorSamples,
    TrainingArtifacts,
)

PRIOR = ParameterSpace(
    [Parameter("radius", lower=0.5, upper=2.0), Parameter("depth", dist.Normal(0.1, 0.3))]
)


class GaussianBackend(PersistentPosteriorEstimator):
    """Another one's backend: a Gaussian about the observation, of which only the width is kept."""

    estimator_family = "gaussian_of_another"

    def __init__(self, parameter_dim: int, *, width: float = 1.0, **others: Any) -> None:
        super().__init__(parameter_dim, **others)
        self.width = width
        self.weights: dict[str, np.ndarray] = {}

    def fit(self, dataset: Any) -> TrainingArtifacts:
        values = np.asarray(dataset, dtype=np.float32)
        self.weights = {"mean": values.mean(axis=0), "spread": values.std(axis=0)}
        self.observation_schema = {"kind": "vector", "length": values.shape[1]}
        self.preprocessing_metadata_payload = {"mean": [0.25, 0.1]}
        self.training_artifacts = TrainingArtifacts(
            {"loss": [2.5, math.nan, 1.5]}, {"nll": 1.5, "worst": math.inf}, {"epochs": 3}
        )
        self.calibration = {"p_value": 0.4, "ranks": np.array([1, 2])}
        return self.training_artifacts

    def encode_observation(self, blocks: Any) -> EncodedObservation:
        return EncodedObservation(np.asarray(blocks, dtype=np.float32))

    def sample_posterior(
        self, observation: EncodedObservation, n_samples: int, seed: int | None = None
    ) -> PosteriorSamples:
        draws = np.random.default_rng(self.seed if seed is None else seed).standard_normal(
            (n_samples, self.parameter_dim)
        )
        return PosteriorSamples(self.weights["mean"] + self.width * draws)

    def log_prob(self, observation: EncodedObservation, parameters: Any) -> Any:
        distance = (np.asarray(parameters) - self.weights["mean"]) / self.width
        return -0.5 * (distance**2).sum(axis=-1)

    def _build_estimator_config(self) -> dict[str, Any]:
        return {"width": self.width}

    @classmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> GaussianBackend:
        return cls(
            metadata["parameter_dim"],
            parameter_space=metadata["parameter_space"],
            seed=metadata["seed"],
            prior=prior_of(metadata),
            **metadata["estimator_config"],
        )

    def save_backend_state(self, output_path: Path) -> None:
        save_arrays(output_path, self.weights)

    def load_backend_state(self, input_path: Path) -> None:
        zero = np.zeros(self.parameter_dim, dtype=np.float32)
        self.weights = load_arrays(input_path, {"mean": zero, "spread": zero})


class OtherBackend(GaussianBackend):
    estimator_family = "other_of_another"


def trained(**changes: Any) -> GaussianBackend:
    """One that was trained on three rows, always the same."""
    task = {"name": "rings", "version": 2}
    given = {"width": 0.7, "prior": PRIOR, "seed": 3, "task_metadata": task, **changes}
    estimator = GaussianBackend(2, **given)
    estimator.fit([[0.1, 0.2], [0.4, 0.9], [1.3, 0.3]])
    return estimator
