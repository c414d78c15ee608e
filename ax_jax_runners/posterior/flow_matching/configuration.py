"""What decides a velocity field."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ax_jax_runners.errors import ConfigurationError
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
        for name in ("width", "layers", "integration_steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name} is {value!r}; give a whole number from 1.")
        exponent = self.time_exponent
        number = isinstance(exponent, (int, float)) and not isinstance(exponent, bool)
        if not number or not math.isfinite(exponent) or exponent < 0:
            raise ConfigurationError(f"time_exponent is {exponent!r}; give a number of at least 0.")
