"""The ring-slot antenna measured in WR-10 waveguide that ships with scikit-rf, and its model.

The one-port is read as a shunt lossy resonator across the guide, in front of a slightly mismatched
load, seen through a short piece of guide:

    y = g + j b (f / f0 - f0 / f) + (1 - GL) / (1 + GL),   GL = rho exp(-2j beta l2)
    s11 = (1 - y) / (1 + y) exp(-2j beta l1)

with beta the propagation constant of the guide's lowest mode. Data: scikit-rf, "ring slot
measured.s1p", 101 points from 75 to 110 GHz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.problems.measured import Measured
from ax_jax_runners.problems.misfit import measured_curves, misfit_outputs
from ax_jax_runners.problems.rf import SPEED_OF_LIGHT, reflection_of_admittance
from ax_jax_runners.problems.touchstone import TouchstoneData, read_touchstone
from ax_jax_runners.tasks import FeatureTask

GUIDE_WIDTH = 2.54e-3  # m, the broad side of WR-10
CUTOFF = SPEED_OF_LIGHT / (2.0 * GUIDE_WIDTH)  # Hz

# Search boxes: frequencies in GHz, lengths in mm, the rest normalised to the guide.
_FOUR = {"f0": (80.0, 95.0), "b": (0.5, 20.0), "g": (0.0, 1.0), "l1": (0.0, 1.0)}
_SIX = {**_FOUR, "rho": (0.0, 0.5), "l2": (0.0, 1.0)}
BOXES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "four": _FOUR,
    "six": _SIX,
    "six-hard": {**_SIX, "l1": (0.0, 5.0), "l2": (0.0, 30.0)},
    "six-centred": {**_SIX, "l1": (-2.3, 2.9), "l2": (-13.0, 17.0)},
}


@dataclass(frozen=True)
class RingSlot:
    """Reflection of the ring slot at the frequencies of a measured one-port.

    Called with f0 [GHz], b, g, l1 [mm] and, for the mismatched load, rho and l2 [mm].
    """

    data: TouchstoneData

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """The feature ``s11``, complex, shape (F,)."""
        frequency = self.data.frequency
        # rad/mm
        beta = 2e-3 * np.pi * np.sqrt(frequency**2 - CUTOFF**2) / SPEED_OF_LIGHT
        ratio = frequency / 1e9 / values["f0"]
        y = values["g"] + 1j * values["b"] * (ratio - 1.0 / ratio)
        if "rho" in values:
            mismatch = values["rho"] * jnp.exp(-2j * beta * values["l2"])
            y = y + (1.0 - mismatch) / (1.0 + mismatch)
        else:
            y = y + 1.0
        return {"s11": reflection_of_admittance(y, 1.0) * jnp.exp(-2j * beta * values["l1"])}

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The measured reflection."""
        return measured_curves(self.data)


def ring_slot_space(variant: str = "four") -> ParameterSpace:
    """The search box of a variant: "four", "six", "six-hard" or "six-centred".

    Raises:
        ConfigurationError: There is no such variant.
    """
    if variant not in BOXES:
        known = ", ".join(map(repr, BOXES))
        raise ConfigurationError(f"ring-slot has no variant {variant!r}; choose one of {known}.")
    return ParameterSpace(
        [Parameter(name, lower=low, upper=high) for name, (low, high) in BOXES[variant].items()]
    )


def ring_slot_data(path: str | Path | None = None) -> TouchstoneData:
    """A one-port measured above the guide's cut-off; without a path, the file in scikit-rf.

    Raises:
        ConfigurationError: scikit-rf is not installed.
        DataFileError: The file cannot be read, or is not such a measurement.
    """
    if path is None:
        package = find_spec("skrf")
        folder = package.submodule_search_locations if package else None
        # Without scikit-rf the reader is what says so.
        root = Path(folder[0]) if folder else Path()
        path = root / "data" / "ring slot measured.s1p"
    data = read_touchstone(path)
    if data.ports != 1:
        raise DataFileError(
            f"{data.path}: has {data.ports} ports, and ring-slot fits a one-port; "
            "use the problem 'touchstone' for a two-port."
        )
    if data.frequency[0] <= CUTOFF:
        raise DataFileError(
            f"{data.path}: begins at {data.frequency[0] / 1e9:g} GHz, below the cut-off "
            f"{CUTOFF / 1e9:.2f} GHz of WR-10 waveguide; use the problem 'touchstone'."
        )
    return data


def build(variant: str = "four", data: str | Path | None = None) -> FeatureTask:
    """The task of fitting the ring-slot model to a measured one-port."""
    space = ring_slot_space(variant)
    measurement = ring_slot_data(data)
    evaluator = FeatureEvaluator(RingSlot(measurement), space)
    return FeatureTask(evaluator, outputs=misfit_outputs(measurement))


PROBLEM = Problem(
    name="ring-slot",
    summary="Resonator model of a ring-slot antenna measured from 75 to 110 GHz (one-port)",
    build=build,
    objective="-log10_cost",
    options={
        "variant": "model and search box: " + ", ".join(map(repr, BOXES)) + "; default 'four'",
        "data": "another one-port Touchstone file measured in WR-10 waveguide",
    },
    reference=3.9614811e-3,
)
