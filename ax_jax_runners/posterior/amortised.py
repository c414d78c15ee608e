"""An estimator that is trained epoch by epoch on simulations."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    DiagnosticsConfiguration,
)
from ax_jax_runners.posterior.datasets import GatheredData, gather
from ax_jax_runners.posterior.diagnostics import EpochReporter
from ax_jax_runners.posterior.drawing import Density, key_data
from ax_jax_runners.posterior.inferring import InferringEstimator
from ax_jax_runners.posterior.objectives import Objective
from ax_jax_runners.posterior.records import TrainingArtifacts
from ax_jax_runners.posterior.training.fitting import settings_identity, train
from ax_jax_runners.posterior.training.outcome import kept_weights, training_artifacts
from ax_jax_runners.posterior.training.preparation import PreparedData, prepare
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings, Trainer


class AmortisedEstimator(InferringEstimator):
    """An estimator with a training; a subclass says what model is trained by what loss.

    Attributes:
        settings: Of the training.
        checkpoint: Where it is saved on the way.
        diagnostics: Where pictures of it go.
    """

    def __init__(
        self,
        parameter_dim: int,
        parameter_space: str = "unconstrained",
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
        *,
        prior: ParameterSpace | None = None,
        settings: Settings | None = None,
        checkpoint: CheckpointConfiguration | None = None,
        diagnostics: DiagnosticsConfiguration | None = None,
    ) -> None:
        """Check what is given; nothing is compiled yet.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        super().__init__(parameter_dim, parameter_space, seed, task_metadata, prior=prior)
        self.settings = settings or Settings()
        self.checkpoint = checkpoint or CheckpointConfiguration()
        self.diagnostics = diagnostics or DiagnosticsConfiguration()

    @abstractmethod
    def fit(
        self,
        dataset: Any,
        *,
        on_epoch: Callable[[TrainingState], None] | None = None,
        progress: bool = False,
    ) -> TrainingArtifacts:
        """Train on a data set, and keep the weights of the best sound epoch.

        Args:
            dataset: A reader whose ``iter_batches`` yields `PosteriorBatch`, parameters in physical
                units.
            on_epoch: Called after every epoch with the state; one that raises ends the training.
            progress: Whether to show a bar on the terminal.

        Raises:
            ConfigurationError: Data that cannot be learned from, or a space without its prior.
            ParameterError: A prior that does not fit.
        """

    def _train(
        self,
        dataset: Any,
        objective: Objective,
        on_epoch: Callable[[TrainingState], None] | None,
        progress: bool,
    ) -> TrainingArtifacts:
        gathered = gather(dataset, seed=self.seed)
        if gathered.parameters.shape[1] != self.parameter_dim:
            raise ConfigurationError(
                f"The data set has {gathered.parameters.shape[1]} parameters "
                f"({', '.join(gathered.names)}), and parameter_dim is {self.parameter_dim}; give "
                "the same number."
            )
        prior = gathered.space if self.prior is None else self.prior
        prepared = prepare(
            gathered, space=self.parameter_space, prior=prior, raw=objective.needs_raw
        )
        trainer = Trainer(self.recipe(prepared.schema), objective, (self.settings,))
        with EpochReporter(self.diagnostics, self.settings, on_epoch, progress) as report:
            state = train(
                trainer,
                prepared.data,
                key_data(self.seed),
                checkpoint=self.checkpoint,
                identity=self._identity(objective, prepared, gathered, prior),
                on_epoch=report,
            )
        self.prior = prior
        return self.take_over(state, prepared, gathered)

    def take_over(
        self, state: TrainingState, prepared: PreparedData, gathered: GatheredData
    ) -> TrainingArtifacts:
        """Take the weights that a training of one arm keeps, and all that it learned beside them.

        Args:
            state: At the end of the training, of one arm.
            prepared: What it was trained on.
            gathered: The same as it was read.
        """
        self._learn(prepared, gathered)
        self._density = Density(self.recipe(prepared.schema), kept_weights(state))
        found = training_artifacts(state, prepared.data, gathered)
        measured = {**found.validation_metrics, **self._measure(prepared)}
        self.training_artifacts = dataclasses.replace(found, validation_metrics=measured)
        return self.training_artifacts

    def _measure(self, prepared: PreparedData) -> dict[str, Any]:
        """Return what else is to be known of the kept weights, as plain JSON."""
        return {}

    def _learn(self, prepared: PreparedData, gathered: GatheredData) -> None:
        self.schema, self.preprocessing = prepared.schema, prepared.preprocessing
        self.coordinates = prepared.coordinates
        self.adopt_manifest({**dict(gathered.manifest or {}), "fingerprint": gathered.fingerprint})
        self.observation_schema = prepared.schema.describe()
        self.preprocessing_metadata_payload = {
            "observations": prepared.preprocessing.describe(),
            "parameters": prepared.coordinates.describe(),
            "data_set": dict(gathered.preprocessing_metadata or {}),
        }

    def _identity(
        self,
        objective: Objective,
        prepared: PreparedData,
        gathered: GatheredData,
        prior: ParameterSpace | None,
    ) -> dict[str, Any]:
        """Return what decides the weights after each epoch, as plain JSON."""
        return {
            "estimator": self._model_description(),
            **settings_identity(self.settings),
            "objective": objective.describe(),
            "observations": prepared.schema.describe(),
            "parameter_space": self.parameter_space,
            "prior": None if prior is None else prior.describe(),
            "seed": self.seed,
            "data": gathered.fingerprint,
            "validation": int(np.flatnonzero(gathered.is_validation).sum()),
        }

    @abstractmethod
    def _model_description(self) -> dict[str, Any]:
        """Return what decides the model, as plain JSON."""
