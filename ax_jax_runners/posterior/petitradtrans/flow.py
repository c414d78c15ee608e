"""Flows with one keyword for everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.configuration import (
    CheckpointConfiguration,
    DiagnosticsConfiguration,
    EncoderConfiguration,
    FlowConfiguration,
    OptimiserConfiguration,
    RegularisationConfiguration,
    StabilityConfiguration,
)
from ax_jax_runners.posterior.flow_posterior import FlowPosterior
from ax_jax_runners.posterior.petitradtrans.keywords import (
    from_flat,
    keep_keywords,
    kept_config,
    known_config,
)

#: Where pictures go when none is named.
_DIAGNOSTICS = "posterior-diagnostics"


class ConditionalFlowPosterior(FlowPosterior):
    """`FlowPosterior` with one keyword for everything; each is also an attribute.

    ``spline_small_bin_regularization_weight=None`` is no penalty, ``encoder_hidden_dim=None`` is
    ``hidden_dim``, and ``verbose_diagnostics`` without a folder writes to "posterior-diagnostics".
    """

    estimator_family: ClassVar[str] = "conditional_flow"

    def __init__(
        self,
        parameter_dim: int,
        embedding_dim: int = 128,
        num_coupling_layers: int = 4,
        hidden_dim: int = 128,
        conditioner_depth: int = 2,
        autoregressive_transform_units: int = 16,
        neural_autoregressive_min_slope: float = 0.001,
        neural_autoregressive_min_residual: float = 0.05,
        neural_autoregressive_inverse_bisection_steps: int = 48,
        learning_rate: float = 0.001,
        batch_size: int = 32,
        num_epochs: int = 5,
        parameter_space: str = "unconstrained",
        flow_family: str = "spline",
        num_spline_bins: int = 8,
        spline_bound: float = 10.0,
        base_distribution: str = "gaussian",
        use_base_affine: bool = False,
        training_objective: str = "npe",
        early_stopping_patience: int | None = None,
        early_stopping_min_delta: float = 0.0,
        checkpoint_directory: str | None = None,
        checkpoint_backend: str = "auto",
        resume_from_checkpoint: bool = False,
        gradient_clip_norm: float | None = 1.0,
        embedding_noise_std: float = 0.0,
        embedding_noise_min_scale: float = 0.0,
        aux_scale_loss_weight: float = 0.0,
        aux_parameter_loss_weight: float = 0.0,
        parameter_noise_floor: float = 0.0,
        spline_small_bin_regularization_weight: float | None = None,
        spline_min_bin_ratio_target: float = 0.2,
        spline_entropy_regularization_weight: float = 0.0,
        spline_derivative_regularization_weight: float = 0.0,
        spline_entropy_floor: float = 0.6,
        spline_min_derivative_target: float = 0.25,
        spline_max_derivative_target: float = 5.0,
        weight_decay: float = 0.0,
        use_cosine_schedule: bool = False,
        warmup_fraction: float = 0.02,
        warmup_epochs: float | None = None,
        min_learning_rate: float = 1e-06,
        lr_schedule_total_epochs: float | None = None,
        stable_inverse_forward_max_abs_error_threshold: float | None = 0.0001,
        stable_inverse_forward_logdet_closure_max_abs_error_threshold: float | None = 0.0001,
        stable_cube_edge_hit_rate_threshold: float | None = 0.0,
        spectrum_encoder_type: str = "conv1d",
        n_wavelengths: int = 233,
        spectrum_embedding_dim: int = 64,
        photometry_embedding_dim: int = 64,
        encoder_hidden_dim: int | None = None,
        encoder_patch_size: int = 32,
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
        verbose_diagnostics: bool = False,
        diagnostics_output_directory: str | None = None,
        diagnostics_plot_interval: int = 1,
        *,
        prior: ParameterSpace | None = None,
    ) -> None:
        """Check what is given; nothing is compiled yet.

        Args:
            parameter_dim: Number of parameters.
            embedding_dim: Length of what the flow is given of an observation.
            num_coupling_layers: Transforms of the flow, of any family.
            hidden_dim: Width of the conditioners' hidden layers.
            conditioner_depth: Their number.
            autoregressive_transform_units: Units of a monotone network.
            neural_autoregressive_min_slope: Its least slope.
            neural_autoregressive_min_residual: Least weight of its linear part.
            neural_autoregressive_inverse_bisection_steps: To invert it.
            learning_rate: Of Adam, its largest.
            batch_size: Rows in a step.
            num_epochs: At most.
            parameter_space: "physical", "cube" or "unconstrained".
            flow_family: "spline", "affine", "autoregressive" or "neural_autoregressive".
            num_spline_bins: Bins of a spline.
            spline_bound: Outside which it is the identity.
            base_distribution: "gaussian", "logistic" or "student_t".
            use_base_affine: Whether the observation shifts and scales the base.
            training_objective: "npe" or "elbo".
            early_stopping_patience: Epochs without improvement; None: any number.
            early_stopping_min_delta: What counts as improvement, in nats.
            checkpoint_directory: Where training is saved, or None.
            checkpoint_backend: "auto", "equinox" or "orbax".
            resume_from_checkpoint: Whether to go on from there.
            gradient_clip_norm: Largest global norm, or None.
            embedding_noise_std: Noise on observations, in their uncertainties.
            embedding_noise_min_scale: Its least size, in the block's typical uncertainty.
            aux_scale_loss_weight: Of the head that tells an observation's scale.
            aux_parameter_loss_weight: Of the head that tells the parameters.
            parameter_noise_floor: Noise on parameters, in logits of the cube.
            spline_small_bin_regularization_weight: Of the penalty on narrow bins.
            spline_min_bin_ratio_target: What is narrow.
            spline_entropy_regularization_weight: Of the penalty on uneven bins.
            spline_derivative_regularization_weight: Of the penalty on derivatives.
            spline_entropy_floor: What is uneven.
            spline_min_derivative_target: Least derivative without penalty.
            spline_max_derivative_target: Largest one.
            weight_decay: Of AdamW.
            use_cosine_schedule: Whether the learning rate falls, after a warm-up.
            warmup_fraction: Of the schedule.
            warmup_epochs: Goes before the fraction.
            min_learning_rate: At the schedule's end.
            lr_schedule_total_epochs: Its length; None: ``num_epochs``.
            stable_inverse_forward_max_abs_error_threshold: For an epoch to be kept, or None.
            stable_inverse_forward_logdet_closure_max_abs_error_threshold: The same.
            stable_cube_edge_hit_rate_threshold: The same.
            spectrum_encoder_type: "conv1d" or "patch".
            n_wavelengths: Length of a spectrum, where observations have one.
            spectrum_embedding_dim: Length of what becomes of a spectrum.
            photometry_embedding_dim: The same for photometry.
            encoder_hidden_dim: Width of the encoder's layers.
            encoder_patch_size: Wavelengths in one patch.
            seed: Of weights, training and draws.
            task_metadata: What was simulated, as plain JSON.
            verbose_diagnostics: Whether to draw pictures of the training.
            diagnostics_output_directory: Where they go.
            diagnostics_plot_interval: Epochs between two.
            prior: Of the parameters; None: the data set's own.

        Raises:
            ConfigurationError: A value that cannot be used.
            ParameterError: A prior of another dimension, or one that the space cannot have.
        """
        keep_keywords(self, ConditionalFlowPosterior, locals())
        width = hidden_dim if encoder_hidden_dim is None else encoder_hidden_dim
        shown = diagnostics_output_directory or _DIAGNOSTICS
        small_bin = spline_small_bin_regularization_weight
        super().__init__(
            parameter_dim,
            parameter_space=parameter_space,
            prior=prior,
            flow=FlowConfiguration(
                family=flow_family,
                layers=num_coupling_layers,
                width=hidden_dim,
                depth=conditioner_depth,
                bins=num_spline_bins,
                bound=spline_bound,
                base=base_distribution,
                base_affine=use_base_affine,
                transform_units=autoregressive_transform_units,
                min_slope=neural_autoregressive_min_slope,
                min_residual=neural_autoregressive_min_residual,
                bisection_steps=neural_autoregressive_inverse_bisection_steps,
            ),
            encoder=EncoderConfiguration(
                embedding_dim=embedding_dim,
                spectrum=spectrum_encoder_type,
                n_wavelengths=n_wavelengths,
                spectrum_embedding_dim=spectrum_embedding_dim,
                photometry_embedding_dim=photometry_embedding_dim,
                hidden_dim=width,
                patch_size=encoder_patch_size,
            ),
            training_objective=training_objective,
            optimiser=OptimiserConfiguration(
                learning_rate=learning_rate,
                batch_size=batch_size,
                epochs=num_epochs,
                weight_decay=weight_decay,
                gradient_clip_norm=gradient_clip_norm,
                average_decay=0.0,
                cosine=use_cosine_schedule,
                warmup_fraction=warmup_fraction,
                warmup_epochs=warmup_epochs,
                min_learning_rate=min_learning_rate,
                schedule_epochs=lr_schedule_total_epochs,
                patience=early_stopping_patience,
                min_delta=early_stopping_min_delta,
            ),
            regularisation=RegularisationConfiguration(
                observation_noise=embedding_noise_std,
                observation_noise_floor=embedding_noise_min_scale,
                parameter_noise=parameter_noise_floor,
                auxiliary_scale_weight=aux_scale_loss_weight,
                auxiliary_parameter_weight=aux_parameter_loss_weight,
                small_bin_weight=0.0 if small_bin is None else small_bin,
                min_bin_ratio=spline_min_bin_ratio_target,
                entropy_weight=spline_entropy_regularization_weight,
                entropy_floor=spline_entropy_floor,
                derivative_weight=spline_derivative_regularization_weight,
                min_derivative=spline_min_derivative_target,
                max_derivative=spline_max_derivative_target,
            ),
            stability=StabilityConfiguration(
                inverse_error=stable_inverse_forward_max_abs_error_threshold,
                log_det_closure=stable_inverse_forward_logdet_closure_max_abs_error_threshold,
                edge_hit_rate=stable_cube_edge_hit_rate_threshold,
            ),
            checkpoint=CheckpointConfiguration(
                directory=checkpoint_directory,
                backend=checkpoint_backend,
                resume=resume_from_checkpoint,
            ),
            diagnostics=DiagnosticsConfiguration(
                directory=shown if verbose_diagnostics else None,
                interval=diagnostics_plot_interval,
            ),
            seed=seed,
            task_metadata=task_metadata,
        )

    def _build_estimator_config(self) -> dict[str, Any]:
        return kept_config(self, ConditionalFlowPosterior)

    @classmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the estimator that metadata describe, with untrained weights."""
        return from_flat(cls, metadata, cls._resolve_estimator_config(metadata))

    @staticmethod
    def _resolve_estimator_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords that metadata hold; those of a later version are passed over."""
        return known_config(metadata, ConditionalFlowPosterior)
