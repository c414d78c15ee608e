"""What decides a posterior estimator, grouped by subject; frozen, hashable and plain JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.checks import (
    check_choice,
    check_flag,
    check_numbers,
    check_share,
    check_whole,
)

FAMILIES = ("spline", "affine", "autoregressive", "neural_autoregressive")
SPACES = ("physical", "cube", "unconstrained")
BASES = ("gaussian", "logistic", "student_t")
OBJECTIVES = ("npe", "elbo")
SPECTRUM_ENCODERS = ("conv1d", "patch")
CHECKPOINT_BACKENDS = ("auto", "equinox", "orbax")


@dataclass(frozen=True, kw_only=True)
class FlowConfiguration:
    """The conditional flow.

    Attributes:
        family: "spline" (rational-quadratic coupling), "affine" (coupling), "autoregressive"
            (masked affine) or "neural_autoregressive" (masked monotone networks).
        layers: How many transforms.
        width: Of the hidden layers of their conditioners.
        depth: Hidden layers of a conditioner.
        bins: Of a spline.
        bound: A spline is the identity outside [-bound, bound].
        base: "gaussian", "logistic" or "student_t" (5 degrees of freedom).
        base_affine: Whether a shift and a scale that depend on the observation stand in front of
            the base.
        regression: Whether a linear regression on the observation is taken off the parameters
            before the transforms. It is learned at once, where the observation is a vector with no
            network in front of it; elsewhere there is none.
        transform_units: Units of a monotone network.
        min_slope: Least slope of a monotone network.
        min_residual: Least weight of its linear part.
        bisection_steps: To invert it.
    """

    family: str = "spline"
    layers: int = 5
    width: int = 64
    depth: int = 2
    bins: int = 12
    bound: float = 6.0
    base: str = "gaussian"
    base_affine: bool = True
    regression: bool = True
    transform_units: int = 16
    min_slope: float = 1e-3
    min_residual: float = 0.05
    bisection_steps: int = 48

    def __post_init__(self) -> None:
        check_choice("family", self.family, FAMILIES)
        check_choice("base", self.base, BASES)
        check_whole(self, {"layers": 1, "width": 1, "depth": 0, "bins": 2})
        check_whole(self, {"transform_units": 1, "bisection_steps": 1})
        check_numbers(self, above=("bound",), at_least=("min_slope",))
        check_share("min_residual", self.min_residual)
        check_flag("base_affine", self.base_affine)
        check_flag("regression", self.regression)


@dataclass(frozen=True, kw_only=True)
class EncoderConfiguration:
    """The network between an observation and the flow.

    Attributes:
        embedding_dim: Length of what the flow is given.
        spectrum: "conv1d" or "patch", for spectra and time series.
        n_wavelengths: Length of a spectrum; another one is refused when a data set has spectra.
            None: that of the data.
        spectrum_embedding_dim: Length of what becomes of a spectrum or a time series.
        photometry_embedding_dim: The same for photometry and auxiliary blocks.
        hidden_dim: Width of the hidden layers.
        patch_size: Wavelengths in one patch.
        vector_depth: Hidden layers for plain vectors; 0: the embedding is the standardised vector
            itself, whatever ``embedding_dim`` says.
    """

    embedding_dim: int = 128
    spectrum: str = "conv1d"
    n_wavelengths: int | None = None
    spectrum_embedding_dim: int = 64
    photometry_embedding_dim: int = 64
    hidden_dim: int = 128
    patch_size: int = 32
    vector_depth: int = 1

    def __post_init__(self) -> None:
        check_choice("spectrum", self.spectrum, SPECTRUM_ENCODERS)
        check_whole(self, {"embedding_dim": 1, "spectrum_embedding_dim": 1, "hidden_dim": 1})
        check_whole(self, {"photometry_embedding_dim": 1, "patch_size": 1, "vector_depth": 0})
        if self.n_wavelengths is not None:
            check_whole(self, {"n_wavelengths": 1})


@dataclass(frozen=True, kw_only=True)
class OptimiserConfiguration:
    """Adam with decoupled weight decay, its schedule, and when training ends.

    The defaults are those with which a campaign learned four inference benchmarks of 2 to 10
    parameters best from 10,000 simulations each (``tests/benchmarks/posterior_quality.py``).

    Attributes:
        learning_rate: Its largest.
        batch_size: Rows in a step.
        epochs: Passes through the training rows, at most.
        weight_decay: 0 for plain Adam.
        average_decay: What a step leaves of the running mean of the weights, which is what is
            scored and kept; 0: the last weights are.
        gradient_clip_norm: Largest global norm of a gradient; None: any.
        cosine: Whether the rate falls along a cosine after the warm-up; else it stays.
        warmup_fraction: Share of the schedule in which the rate rises linearly.
        warmup_epochs: The same in epochs; goes before the share.
        min_learning_rate: At the end of the cosine.
        schedule_epochs: Length of the schedule; None: ``epochs``.
        patience: Epochs without improvement after which training ends; None: never.
        min_delta: By how much an epoch must be better than the best, in nats.
    """

    learning_rate: float = 8e-3
    batch_size: int = 200
    epochs: int = 100
    weight_decay: float = 0.05
    average_decay: float = 0.995
    gradient_clip_norm: float | None = 1.0
    cosine: bool = True
    warmup_fraction: float = 0.02
    warmup_epochs: float | None = None
    min_learning_rate: float = 1e-6
    schedule_epochs: float | None = None
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_whole(self, {"batch_size": 1, "epochs": 1})
        check_numbers(
            self,
            above=("learning_rate", "gradient_clip_norm", "schedule_epochs"),
            at_least=("weight_decay", "warmup_epochs", "min_learning_rate", "min_delta"),
        )
        check_share("warmup_fraction", self.warmup_fraction)
        check_share("average_decay", self.average_decay)
        if self.average_decay == 1:
            raise ConfigurationError(
                "average_decay is 1, with which the mean never changes; give a number below 1."
            )
        check_flag("cosine", self.cosine)
        if self.patience is not None:
            check_whole(self, {"patience": 1})
        if self.min_learning_rate > self.learning_rate:
            raise ConfigurationError(
                f"min_learning_rate {self.min_learning_rate} is above learning_rate "
                f"{self.learning_rate}; lower it."
            )


@dataclass(frozen=True, kw_only=True)
class RegularisationConfiguration:
    """What is added to the data and to the loss while training; validation knows nothing of it.

    Attributes:
        observation_noise: Standard deviation of noise on the observations, as a multiple of their
            uncertainties; of standardised values where a block has none.
        observation_noise_floor: Least noise, as a share of the block's typical uncertainty.
        parameter_noise: Standard deviation of noise on the parameters, in logits of the cube (in
            standardised units in the physical space).
        auxiliary_scale_weight: Of the loss of a head that tells the observation's scale.
        auxiliary_parameter_weight: Of the loss of a head that tells the parameters.
        small_bin_weight: Of the penalty on spline bins narrower than ``min_bin_ratio``.
        min_bin_ratio: Of the width of equal bins.
        entropy_weight: Of the penalty on bin widths and heights of less entropy than
            ``entropy_floor``.
        entropy_floor: Share of the entropy of equal bins.
        derivative_weight: Of the penalty on derivatives outside their range.
        min_derivative: Its lower end.
        max_derivative: Its upper end.
    """

    observation_noise: float = 0.0
    observation_noise_floor: float = 0.0
    parameter_noise: float = 0.0
    auxiliary_scale_weight: float = 0.0
    auxiliary_parameter_weight: float = 0.0
    small_bin_weight: float = 0.0
    min_bin_ratio: float = 0.2
    entropy_weight: float = 0.0
    entropy_floor: float = 0.6
    derivative_weight: float = 0.0
    min_derivative: float = 0.25
    max_derivative: float = 5.0

    def __post_init__(self) -> None:
        check_numbers(self, at_least=tuple(f.name for f in dataclasses.fields(self)))
        if self.min_derivative > self.max_derivative:
            raise ConfigurationError(
                f"min_derivative {self.min_derivative} is above max_derivative "
                f"{self.max_derivative}; swap them."
            )


@dataclass(frozen=True, kw_only=True)
class StabilityConfiguration:
    """Below which errors the weights of an epoch may be kept as the best; None: whatever it is.

    Attributes:
        inverse_error: Largest difference between a point and the image of its image.
        log_det_closure: Largest sum of the log determinants there and back.
        edge_hit_rate: Share of draws on an edge of the cube.
    """

    inverse_error: float | None = 1e-4
    log_det_closure: float | None = 1e-4
    edge_hit_rate: float | None = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, at_least=tuple(f.name for f in dataclasses.fields(self)))


@dataclass(frozen=True, kw_only=True)
class CheckpointConfiguration:
    """Where training is saved after every epoch, so that a killed run goes on.

    Attributes:
        directory: A folder, as text; None: nowhere.
        backend: "equinox" (also "auto"): this package's own frozen-state files; or "orbax".
        resume: Whether to go on from what is there; else it is replaced.
    """

    directory: str | None = None
    backend: str = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        if self.directory is not None:
            object.__setattr__(self, "directory", str(Path(self.directory)))
        check_choice("backend", self.backend, CHECKPOINT_BACKENDS)
        check_flag("resume", self.resume)
        if self.resume and self.directory is None:
            raise ConfigurationError("resume is asked for without a directory; give the directory.")


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfiguration:
    """Pictures of a training while it runs.

    Attributes:
        directory: Where they go, as text; None: no pictures.
        interval: Epochs between two.
    """

    directory: str | None = None
    interval: int = 1

    def __post_init__(self) -> None:
        if self.directory is not None:
            object.__setattr__(self, "directory", str(Path(self.directory)))
        check_whole(self, {"interval": 1})
