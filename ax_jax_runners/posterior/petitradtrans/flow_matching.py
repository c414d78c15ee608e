"""Flow matching with one keyword for everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    EncoderConfiguration,
    OptimiserConfiguration,
)
from ax_jax_runners.posterior.flow_matching import FlowMatchingConfiguration
from ax_jax_runners.posterior.flow_matching.estimator import FlowMatching
from ax_jax_runners.posterior.petitradtrans.keywords import (
    from_flat,
    keep_keywords,
    kept_config,
    known_config,
)


class FlowMatchingPosterior(FlowMatching):
    """`FlowMatching` with one keyword for everything; each is also an attribute."""

    estimator_family: ClassVar[str] = "flow_matching"

    def __init__(
        self,
        parameter_dim: int,
        embedding_dim: int = 128,
        hidden_dim: int = 128,
        num_velocity_layers: int = 3,
        learning_rate: float = 0.001,
        batch_size: int = 32,
        num_epochs: int = 5,
        parameter_space: str = "unconstrained",
        integration_steps: int = 32,
        early_stopping_patience: int | None = None,
        early_stopping_min_delta: float = 0.0,
        checkpoint_directory: str | None = None,
        checkpoint_backend: str = "auto",
        resume_from_checkpoint: bool = False,
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
        *,
        prior: ParameterSpace | None = None,
    ) -> None:
        """Check what is given; nothing is compiled yet.

        Args:
            parameter_dim: Number of parameters.
            embedding_dim: Length of what the field is given of an observation.
            hidden_dim: Width of the hidden layers, of field and encoder.
            num_velocity_layers: Hidden layers of the field.
            learning_rate: Of Adam.
            batch_size: Rows in a step.
            num_epochs: At most.
            parameter_space: "physical", "cube" or "unconstrained".
            integration_steps: Midpoint steps from noise to parameters.
            early_stopping_patience: Epochs without improvement; None: any number.
            early_stopping_min_delta: What counts as improvement of the regression loss.
            checkpoint_directory: Where training is saved, or None.
            checkpoint_backend: "auto", "equinox" or "orbax".
            resume_from_checkpoint: Whether to go on from there.
            seed: Of weights, training and draws.
            task_metadata: What was simulated, as plain JSON.
            prior: Of the parameters; None: the data set's own.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        keep_keywords(self, FlowMatchingPosterior, locals())
        super().__init__(
            parameter_dim,
            parameter_space=parameter_space,
            prior=prior,
            field=FlowMatchingConfiguration(
                width=hidden_dim,
                layers=num_velocity_layers,
                integration_steps=integration_steps,
                time_exponent=0.0,
            ),
            encoder=EncoderConfiguration(embedding_dim=embedding_dim, hidden_dim=hidden_dim),
            optimiser=OptimiserConfiguration(
                learning_rate=learning_rate,
                batch_size=batch_size,
                epochs=num_epochs,
                average_decay=0.0,
                cosine=False,
                patience=early_stopping_patience,
                min_delta=early_stopping_min_delta,
            ),
            checkpoint=CheckpointConfiguration(
                directory=checkpoint_directory,
                backend=checkpoint_backend,
                resume=resume_from_checkpoint,
            ),
            seed=seed,
            task_metadata=task_metadata,
        )

    def _build_estimator_config(self) -> dict[str, Any]:
        return kept_config(self, FlowMatchingPosterior)

    @classmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the estimator that metadata describe, with untrained weights."""
        return from_flat(cls, metadata, cls._resolve_estimator_config(metadata))

    @staticmethod
    def _resolve_estimator_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords that metadata hold; those of a later version are passed over."""
        return known_config(metadata, FlowMatchingPosterior)
