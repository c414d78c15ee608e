"""The estimator with a velocity field, over grouped configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.amortised import AmortisedEstimator
from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    DiagnosticsConfiguration,
    EncoderConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
)
from ax_jax_runners.posterior.encoders import ObservationSchema
from ax_jax_runners.posterior.flow_matching.configuration import (
    OPTIMISER,
    FlowMatchingConfiguration,
)
from ax_jax_runners.posterior.flow_matching.model import FlowMatchingRecipe
from ax_jax_runners.posterior.flow_matching.objective import VelocityRegression
from ax_jax_runners.posterior.persistence import prior_of
from ax_jax_runners.posterior.records import TrainingArtifacts
from ax_jax_runners.posterior.training.preparation import PreparedData
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings

#: Standard deviation of the logits of uniform numbers.
_LOGISTIC = math.pi / math.sqrt(3.0)


class FlowMatching(AmortisedEstimator):
    """An amortised posterior that carries noise to parameters along a learned velocity field.

    Attributes:
        field: The velocity field.
        encoder: The network in front of it.
    """

    estimator_family: ClassVar[str] = "velocity_field"

    def __init__(
        self,
        parameter_dim: int,
        *,
        parameter_space: str = "unconstrained",
        prior: ParameterSpace | None = None,
        field: FlowMatchingConfiguration | None = None,
        encoder: EncoderConfiguration | None = None,
        optimiser: OptimiserConfiguration | None = None,
        regularisation: RegularisationConfiguration | None = None,
        checkpoint: CheckpointConfiguration | None = None,
        diagnostics: DiagnosticsConfiguration | None = None,
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Check what is given; nothing is compiled yet.

        Args:
            parameter_dim: Number of parameters.
            parameter_space: "physical", "cube" or "unconstrained".
            prior: Of the parameters; None: the data set's own.
            field: The velocity field.
            encoder: The network in front of it.
            optimiser: How it is trained; None: in smaller batches than a flow.
            regularisation: Noise that training adds; penalties on splines and heads play no part.
            checkpoint: Where training is saved.
            diagnostics: Where pictures of it go.
            seed: Of the weights, of training, and of draws.
            task_metadata: What was simulated, as plain JSON.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        super().__init__(
            parameter_dim,
            parameter_space,
            seed,
            task_metadata,
            prior=prior,
            settings=Settings(
                optimiser or OPTIMISER,
                regularisation or RegularisationConfiguration(),
            ),
            checkpoint=checkpoint,
            diagnostics=diagnostics,
        )
        self.field = field or FlowMatchingConfiguration()
        self.encoder = encoder or EncoderConfiguration()

    def recipe(self, schema: ObservationSchema | None) -> FlowMatchingRecipe:
        """Return the structure of the model for some observations."""
        scale = 1.0 if self.parameter_space == "physical" else _LOGISTIC
        return FlowMatchingRecipe(self.parameter_dim, schema, self.field, self.encoder, scale)

    def fit(
        self,
        dataset: Any,
        *,
        on_epoch: Callable[[TrainingState], None] | None = None,
        progress: bool = False,
    ) -> TrainingArtifacts:
        """Train on a data set, and keep the weights of the best epoch.

        Epochs are compared by the regression loss. The log density in physical units is that of
        128 validation rows after every epoch, and of all of them in the validation metrics.

        Args:
            dataset: A reader whose ``iter_batches`` yields `PosteriorBatch`, parameters in physical
                units.
            on_epoch: Called after every epoch with the state; one that raises ends the training.
            progress: Whether to show a bar on the terminal.

        Raises:
            ConfigurationError: Data that cannot be learned from, or a space without its prior.
            ParameterError: A prior that does not fit.
        """
        return self._train(dataset, self.objective(), on_epoch, progress)

    def objective(self) -> VelocityRegression:
        """Return what training minimises."""
        return VelocityRegression(self.field.time_exponent)

    def _measure(self, prepared: PreparedData) -> dict[str, Any]:
        rows = prepared.data.validation
        embeddings = self.density.embed(rows.observation)
        score = -self.density.log_prob(np.asarray(rows.y), embeddings) - prepared.data.log_slope
        spread = score.std(ddof=1) / math.sqrt(len(score)) if len(score) > 1 else math.nan
        found = {"validation_nll": float(score.mean()), "validation_sem": float(spread)}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    def _model_description(self) -> dict[str, Any]:
        return {
            "field": dataclasses.asdict(self.field),
            "encoder": dataclasses.asdict(self.encoder),
        }

    def _build_estimator_config(self) -> dict[str, Any]:
        return {
            **self._model_description(),
            "optimiser": dataclasses.asdict(self.settings.optimiser),
            "regularisation": dataclasses.asdict(self.settings.regularisation),
        }

    @classmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the estimator that metadata describe, with untrained weights."""
        given = metadata["estimator_config"]
        estimator = cls(
            metadata["parameter_dim"],
            parameter_space=metadata["parameter_space"],
            prior=prior_of(metadata),
            field=FlowMatchingConfiguration(**given["field"]),
            encoder=EncoderConfiguration(**given["encoder"]),
            optimiser=OptimiserConfiguration(**given["optimiser"]),
            regularisation=RegularisationConfiguration(**given["regularisation"]),
            seed=metadata["seed"],
            task_metadata=metadata["task"]["metadata"],
        )
        estimator.hydrate_loaded_metadata(metadata)
        return estimator
