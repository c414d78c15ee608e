"""What decides a velocity field."""

from __future__ import annotations

from dataclasses import dataclass

from ax_jax_runners.posterior.checks import check_numbers, check_whole
from ax_jax_runners.posterior.configuration import OptimiserConfiguration

#: Like the field's defaults chosen by a campaign on two moons with 10,000 simulations.
OPTIMISER = OptimiserConfiguration(learning_rate=2e-3, batch_size=64, weight_decay=0.02)


@dataclass(frozen=True, kw_only=True)
class FlowMatchingConfiguration:
    """The network of a velocity field, and how it is followed.

    Attributes:
        width: Of its hidden layers.
        layers: Their number.
        integration_steps: Midpoint steps from noise to parameters, and back.
        time_exponent: Times are drawn with a density that grows like ``t**time_exponent``: late
            times, where a posterior's shape is decided, more often (Wildberger et al. 2023).
    """

    width: int = 128
    layers: int = 4
    integration_steps: int = 64
    time_exponent: float = 2.0

    def __post_init__(self) -> None:
        check_whole(self, {"width": 1, "layers": 1, "integration_steps": 1})
        check_numbers(self, at_least=("time_exponent",))
