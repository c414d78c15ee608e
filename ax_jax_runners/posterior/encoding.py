"""What every estimator with a model does alike: make it, encode observations, save and load."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.configuration import EncoderConfiguration
from ax_jax_runners.posterior.coordinates import ParameterCoordinates, check_space
from ax_jax_runners.posterior.drawing import Density, key_data
from ax_jax_runners.posterior.encoders import ObservationSchema, Preprocessing
from ax_jax_runners.posterior.observing import (
    as_batch,
    joined,
    neutral_preprocessing,
    observation_metadata,
)
from ax_jax_runners.posterior.persistence import (
    PersistentPosteriorEstimator,
    load_arrays,
    save_arrays,
)
from ax_jax_runners.posterior.records import EncodedObservation
from ax_jax_runners.posterior.training.at_once import trained_leaves
from ax_jax_runners.posterior.training.program import Recipe, Weights, first_weights


class EncodingEstimator(PersistentPosteriorEstimator):
    """An estimator with a model; a subclass says which.

    Attributes:
        schema: Of the observations; None until a data set told.
        preprocessing: Of the observations; None until training.
        encoder: The network in front of the density.
        coordinates: Of the parameters; until training those of the parameter space alone.
    """

    encoder: EncoderConfiguration

    def __init__(
        self,
        parameter_dim: int,
        parameter_space: str = "unconstrained",
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
        *,
        prior: ParameterSpace | None = None,
    ) -> None:
        """Check what is given; weights are made when they are first asked for.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        super().__init__(parameter_dim, parameter_space, seed, task_metadata, prior=prior)
        if prior is not None:
            check_space(parameter_space, prior, parameter_dim)
        self.schema: ObservationSchema | None = None
        self.preprocessing: Preprocessing | None = None
        self.coordinates = ParameterCoordinates(
            parameter_space, parameter_dim, prior, np.zeros(parameter_dim), np.ones(parameter_dim)
        )
        self._density: Density | None = None

    @abstractmethod
    def recipe(self, schema: ObservationSchema | None) -> Recipe:
        """Return the structure of the model for some observations."""

    @property
    def density(self) -> Density:
        """The model: trained, or with the weights with which training would begin."""
        if self._density is None:
            recipe = self.recipe(self.schema)
            self._density = Density(recipe, first_weights(recipe, key_data(self.seed)))
        return self._density

    @property
    def model(self) -> Any:
        """The model, an `equinox.Module` for one row."""
        return self.density.model

    # ------------------------------------------------------------------ observations

    def encode_observation(self, blocks: Any) -> EncodedObservation:
        """Return one observation as the density sees it.

        Args:
            blocks: A list of `ObservationBlock`, a mapping of arrays or a vector, as in training.

        Raises:
            ConfigurationError: It does not fit the observations of the training data.
        """
        return self._encoded(as_batch(blocks))[0]

    def batch_encode_observation(self, blocks_list: Sequence[Any]) -> list[EncodedObservation]:
        """Return many observations as the density sees them, by one compiled call.

        Raises:
            ConfigurationError: One does not fit the observations of the training data.
        """
        return self._encoded(joined(blocks_list)) if len(blocks_list) else []

    def embeddings(self, observations: Any) -> np.ndarray:
        """Return the embeddings (B, E) of observations in any form of a `PosteriorBatch`.

        Raises:
            ConfigurationError: They do not fit those of the training data.
        """
        if self.schema is None or self.preprocessing is None:
            # Weights of the beginning: nothing is known of the observations but this one batch.
            self.schema = ObservationSchema.of(observations)
            self.preprocessing = neutral_preprocessing(self.schema)
            self.observation_schema = self.schema.describe()
            self.preprocessing_metadata_payload = {"observations": self.preprocessing.describe()}
            self._density = None
        stacked = self.preprocessing.apply(self.schema.stack(observations))
        return self.density.embed(stacked)

    def _encoded(self, observations: Any) -> list[EncodedObservation]:
        embeddings = self.embeddings(observations)
        assert self.schema is not None  # noqa: S101
        told = {**observation_metadata(self.schema), "task_fingerprint": self.task_fingerprint}
        return [EncodedObservation(row, told) for row in embeddings]

    def _embedding(self, observation: Any) -> np.ndarray:
        if not isinstance(observation, EncodedObservation):
            observation = self.encode_observation(observation)
        told = observation.metadata.get("task_fingerprint", self.task_fingerprint)
        if told != self.task_fingerprint:
            raise ConfigurationError(
                f"The observation was encoded by an estimator of the simulations {told!r}, and "
                f"this one learned from {self.task_fingerprint!r}; encode it with this one."
            )
        embedding = np.asarray(observation.embedding, np.float32)
        self._check_embeddings(embedding, ())
        return embedding

    def _check_embeddings(self, embeddings: np.ndarray, batch: tuple[str, ...]) -> None:
        encoder = self.model.encoder
        length = self.encoder.embedding_dim if encoder is None else encoder.embedding_dim
        if embeddings.ndim != len(batch) + 1 or embeddings.shape[-1] != length:
            wanted = ", ".join([*batch, str(length)])
            raise ConfigurationError(
                f"An embedding has the shape {embeddings.shape}; give ({wanted}), as "
                "encode_observation and batch_encode_observation return them."
            )

    # ------------------------------------------------------------------ persistence

    def save_backend_state(self, output_path: Path) -> None:
        """Write the weights to a folder."""
        save_arrays(
            output_path, eqx.filter(eqx.combine(*self.density.weights), eqx.is_inexact_array)
        )

    def load_backend_state(self, input_path: Path) -> None:
        """Read the weights that `save_backend_state` wrote."""
        fresh = self.density
        learned, others = eqx.partition(eqx.combine(*fresh.weights), eqx.is_inexact_array)
        whole = eqx.combine(load_arrays(input_path, learned), others)
        weights = Weights(*eqx.partition(whole, trained_leaves(whole)))
        self._density = Density(fresh.recipe, weights)

    def hydrate_loaded_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Take over from saved metadata what the training learned beside the weights."""
        super().hydrate_loaded_metadata(metadata)
        if self.observation_schema:
            self.schema = ObservationSchema.from_description(self.observation_schema)
        learned = self.preprocessing_metadata_payload
        if "observations" in learned:
            self.preprocessing = Preprocessing.from_description(learned["observations"])
        if "parameters" in learned:
            self.coordinates = ParameterCoordinates.from_description(
                dict(learned["parameters"]), self.prior
            )
        self._density = None
