"""The estimator with a conditional normalising flow, over grouped configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.amortised import AmortisedEstimator
from ax_jax_runners.posterior.configuration import (
    OBJECTIVES,
    CheckpointConfiguration,
    DiagnosticsConfiguration,
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.encoders import ObservationSchema
from ax_jax_runners.posterior.flow_model import FlowRecipe
from ax_jax_runners.posterior.objectives import EvidenceLowerBound, NeuralPosterior, Objective
from ax_jax_runners.posterior.objectives.evidence import LogLikelihood
from ax_jax_runners.posterior.persistence import prior_of
from ax_jax_runners.posterior.records import TrainingArtifacts
from ax_jax_runners.posterior.training.state import TrainingState
from ax_jax_runners.posterior.training.trainer import Settings


class FlowPosterior(AmortisedEstimator):
    """An amortised posterior whose density is a conditional normalising flow.

    Example::

        estimator = FlowPosterior(2, prior=space)
        estimator.fit(ArrayDataset(theta, x))
        draws = estimator.draw(x_observed[None], 10_000)[0]

    Attributes:
        flow: The flow.
        encoder: The network in front of it.
        training_objective: "npe" or "elbo".
    """

    estimator_family: ClassVar[str] = "flow"

    def __init__(
        self,
        parameter_dim: int,
        *,
        parameter_space: str = "unconstrained",
        prior: ParameterSpace | None = None,
        flow: FlowConfiguration | None = None,
        encoder: EncoderConfiguration | None = None,
        training_objective: str = "npe",
        optimiser: OptimiserConfiguration | None = None,
        regularisation: RegularisationConfiguration | None = None,
        stability: StabilityConfiguration | None = None,
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
            flow: The flow.
            encoder: The network in front of it.
            training_objective: "npe" or "elbo"; the second in the cube only.
            optimiser: How it is trained.
            regularisation: What training adds to data and loss.
            stability: When an epoch may be kept.
            checkpoint: Where training is saved.
            diagnostics: Where pictures of it go.
            seed: Of the weights, of training, and of draws.
            task_metadata: What was simulated, as plain JSON.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        if training_objective not in OBJECTIVES:
            raise ConfigurationError(
                f"training_objective is {training_objective!r}; choose one of "
                f"{', '.join(OBJECTIVES)}."
            )
        if training_objective == "elbo" and parameter_space != "cube":
            raise ConfigurationError(
                f"The 'elbo' objective works on the cube, where the prior is uniform; "
                f"parameter_space is {parameter_space!r}, give 'cube'."
            )
        super().__init__(
            parameter_dim,
            parameter_space,
            seed,
            task_metadata,
            prior=prior,
            settings=Settings(
                optimiser or OptimiserConfiguration(),
                regularisation or RegularisationConfiguration(),
                stability or StabilityConfiguration(),
            ),
            checkpoint=checkpoint,
            diagnostics=diagnostics,
        )
        self.flow = flow or FlowConfiguration()
        self.encoder = encoder or EncoderConfiguration()
        self.training_objective = training_objective

    @property
    def effective_flow_family(self) -> str:
        """The family of the flow's transforms."""
        return self.flow.family

    def recipe(self, schema: ObservationSchema | None) -> FlowRecipe:
        """Return the structure of the model for some observations."""
        weights = self.settings.regularisation
        return FlowRecipe(
            self.parameter_dim,
            schema,
            self.flow,
            self.encoder,
            scale_head=weights.auxiliary_scale_weight > 0,
            parameter_head=weights.auxiliary_parameter_weight > 0,
        )

    def fit(
        self,
        dataset: Any,
        *,
        elbo_log_likelihood_fn: LogLikelihood | None = None,
        elbo_num_samples: int = 1,
        on_epoch: Callable[[TrainingState], None] | None = None,
        progress: bool = False,
    ) -> TrainingArtifacts:
        """Train on a data set, and keep the weights of the best sound epoch.

        Args:
            dataset: A reader whose ``iter_batches`` yields `PosteriorBatch`, parameters in physical
                units.
            elbo_log_likelihood_fn: For the 'elbo' objective: cube coordinates (batch, d) and the
                batch's observations as the data set gives them -> (batch,), differentiable.
            elbo_num_samples: Draws for each observation.
            on_epoch: Called after every epoch with the state; one that raises ends the training.
            progress: Whether to show a bar on the terminal.

        Raises:
            ConfigurationError: Data that cannot be learned from, a space without its prior, or the
                'elbo' objective without a likelihood.
            ParameterError: A prior that does not fit.
        """
        objective = self.objective(elbo_log_likelihood_fn, elbo_num_samples)
        return self._train(dataset, objective, on_epoch, progress)

    def objective(self, log_likelihood: LogLikelihood | None = None, draws: int = 1) -> Objective:
        """Return what training minimises.

        Raises:
            ConfigurationError: The 'elbo' objective without a likelihood.
        """
        weights = self.settings.regularisation
        names = ("small_bin", "entropy", "derivative")
        recipe = self.recipe(None)
        neural = NeuralPosterior(
            penalties=tuple(name for name in names if getattr(weights, f"{name}_weight") > 0),
            scale_head=recipe.scale_head,
            parameter_head=recipe.parameter_head,
        )
        if self.training_objective == "npe":
            return neural
        if log_likelihood is None:
            raise ConfigurationError(
                "The 'elbo' objective needs a likelihood; call fit(dataset, "
                "elbo_log_likelihood_fn=...)."
            )
        return EvidenceLowerBound(log_likelihood, draws, neural)

    def _model_description(self) -> dict[str, Any]:
        return {
            "flow": dataclasses.asdict(self.flow),
            "encoder": dataclasses.asdict(self.encoder),
            "objective": self.training_objective,
        }

    def _build_estimator_config(self) -> dict[str, Any]:
        return {
            **self._model_description(),
            "optimiser": dataclasses.asdict(self.settings.optimiser),
            "regularisation": dataclasses.asdict(self.settings.regularisation),
            "stability": dataclasses.asdict(self.settings.stability),
        }

    @classmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the estimator that metadata describe, with untrained weights."""
        estimator = cls(metadata["parameter_dim"], **cls._groups(metadata))
        estimator.hydrate_loaded_metadata(metadata)
        return estimator

    @classmethod
    def _groups(cls, metadata: Mapping[str, Any]) -> dict[str, Any]:
        given = metadata["estimator_config"]
        return {
            "parameter_space": metadata["parameter_space"],
            "prior": prior_of(metadata),
            # Files of before have no regression.
            "flow": FlowConfiguration(**{"regression": False, **given["flow"]}),
            "encoder": EncoderConfiguration(**given["encoder"]),
            "training_objective": given["objective"],
            "optimiser": OptimiserConfiguration(**given["optimiser"]),
            "regularisation": RegularisationConfiguration(**given["regularisation"]),
            "stability": StabilityConfiguration(**given["stability"]),
            "seed": metadata["seed"],
            "task_metadata": metadata["task"]["metadata"],
        }
