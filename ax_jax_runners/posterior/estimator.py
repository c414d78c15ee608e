"""What every posterior estimator does, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

    from ax_jax_runners.posterior.records import (
        EncodedObservation,
        ObservationBlock,
        PosteriorSamples,
        TrainingArtifacts,
    )


class PosteriorEstimator(ABC):
    """An amortised posterior: trained on simulations once, then asked about any observation."""

    @abstractmethod
    def fit(self, dataset: Any) -> TrainingArtifacts:
        """Train on a data set.

        Args:
            dataset: A reader whose ``iter_batches`` yields `PosteriorBatch`.
        """

    @abstractmethod
    def encode_observation(self, blocks: list[ObservationBlock]) -> EncodedObservation:
        """Turn one observation into what the density is conditioned on."""

    @abstractmethod
    def sample_posterior(
        self, observation: EncodedObservation, n_samples: int, seed: int | None = None
    ) -> PosteriorSamples:
        """Draw (n_samples, d) parameters from the posterior of one observation.

        Args:
            observation: What `encode_observation` returned.
            n_samples: How many.
            seed: None: the estimator's own.
        """

    @abstractmethod
    def log_prob(self, observation: EncodedObservation, parameters: Any) -> Any:
        """Return the log density of parameters (d,) or (B, d) given one observation."""

    @abstractmethod
    def save(self, output_directory: str | Path) -> None:
        """Write everything that `load` needs to a folder."""

    @classmethod
    @abstractmethod
    def load(cls, input_directory: str | Path) -> Self:
        """Return the estimator that `save` wrote to a folder."""
