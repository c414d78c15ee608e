"""Lumped and distributed models fitted to any one- or two-port Touchstone file of the user.

The search boxes follow from the band and the reference impedance of the file: reactances from a
hundredth to a hundred times the reference impedance at the geometric middle of the band, lines from
a hundredth of a wavelength to ten wavelengths. Each can be overridden by the campaign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError, DataFileError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems import rf
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.problems.measured import Measured
from ax_jax_runners.problems.misfit import feature_names, measured_curves, misfit_outputs
from ax_jax_runners.problems.ring_slot import RingSlot, ring_slot_data, ring_slot_space
from ax_jax_runners.problems.touchstone import TouchstoneData, read_touchstone
from ax_jax_runners.tasks import FeatureTask

SECTIONS = 3  # of the ladder

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Band:
    """The frequencies [Hz] and the reference impedance [ohm] from which search boxes follow."""

    lowest: float
    highest: float
    z0: float

    @property
    def centre(self) -> float:
        """Geometric middle of the band [Hz]."""
        return float(np.sqrt(self.lowest * self.highest))

    def resistance(self, name: str) -> Parameter:
        """A resistance from a hundredth to a hundred times the reference impedance."""
        return self._logarithmic(name, self.z0, 1e2)

    def inductance(self, name: str) -> Parameter:
        """An inductance whose reactance spans the same range at the centre."""
        return self._logarithmic(name, self.z0 / (2.0 * np.pi * self.centre), 1e2)

    def capacitance(self, name: str) -> Parameter:
        """A capacitance whose reactance spans the same range at the centre."""
        return self._logarithmic(name, 1.0 / (2.0 * np.pi * self.centre * self.z0), 1e2)

    @staticmethod
    def _logarithmic(name: str, middle: float, span: float) -> Parameter:
        return Parameter(
            name, lower=float(middle / span), upper=float(middle * span), log_scale=True
        )


def _rlc_box(band: Band) -> list[Parameter]:
    return [
        band.resistance("resistance"),
        band.inductance("inductance"),
        band.capacitance("capacitance"),
    ]


def _line_box(band: Band) -> list[Parameter]:
    wavelength = rf.SPEED_OF_LIGHT / band.centre
    end = 1.0 / (2.0 * np.pi * band.highest * band.z0)
    return [
        Parameter("impedance", lower=0.2 * band.z0, upper=5.0 * band.z0, log_scale=True),
        Parameter("length", lower=0.01 * wavelength, upper=10.0 * wavelength, log_scale=True),
        # Length, permittivity and conductor loss cannot be told apart: the length is that in air.
        Parameter("permittivity", fixed=1.0),
        Parameter(
            "conductor_loss", lower=1e-3 / wavelength, upper=10.0 / wavelength, log_scale=True
        ),
        Parameter("loss_tangent", lower=1e-5, upper=0.1, log_scale=True),
        Parameter("capacitance_1", lower=0.0, upper=end),
        Parameter("capacitance_2", lower=0.0, upper=end),
    ]


def _ladder_box(band: Band) -> list[Parameter]:
    box = [band.resistance("resistance")]
    for section in range(1, SECTIONS + 1):
        box.append(band.inductance(f"inductance_{section}"))
        box.append(band.capacitance(f"capacitance_{section}"))
    return box


def _rlc(values: Values) -> tuple[Any, Any, Any]:
    return values["resistance"], values["inductance"], values["capacitance"]


def _series_rlc(frequency: np.ndarray, values: Values, band: Band) -> rf.TwoPort:
    return rf.series(rf.series_rlc(frequency, *_rlc(values)))


def _shunt_rlc(frequency: np.ndarray, values: Values, band: Band) -> rf.TwoPort:
    return rf.shunt(rf.parallel_rlc(frequency, *_rlc(values)))


def _line(frequency: np.ndarray, values: Values, band: Band) -> rf.TwoPort:
    names = ("impedance", "length", "permittivity", "conductor_loss", "loss_tangent")
    middle = rf.lossy_line(
        frequency, loss_frequency=band.centre, **{name: values[name] for name in names}
    )
    ends = [rf.shunt(rf.capacitor(frequency, values[f"capacitance_{end}"])) for end in (1, 2)]
    return rf.cascade(ends[0], middle, ends[1])


def _ladder(frequency: np.ndarray, values: Values, band: Band) -> rf.TwoPort:
    parts = []
    for section in range(1, SECTIONS + 1):
        inductance, capacitance = values[f"inductance_{section}"], values[f"capacitance_{section}"]
        lossy = values["resistance"] / SECTIONS + rf.inductor(frequency, inductance)
        parts += [rf.series(lossy), rf.shunt(rf.capacitor(frequency, capacitance))]
    return rf.cascade(*parts)


@dataclass(frozen=True)
class _Model:
    summary: str
    ports: tuple[int, ...]
    box: Callable[[Band], list[Parameter]]
    network: Callable[[np.ndarray, Values, Band], rf.TwoPort]


_MODELS = {
    "shunt-rlc": _Model("parallel R, L, C to ground", (1, 2), _rlc_box, _shunt_rlc),
    "series-rlc": _Model("R, L, C in series", (1, 2), _rlc_box, _series_rlc),
    "lossy-line": _Model("lossy line, a capacitance at each end", (2,), _line_box, _line),
    "rlc-ladder": _Model(f"{SECTIONS} sections of series L, shunt C", (2,), _ladder_box, _ladder),
}
_NAMES = ("ring-slot", *_MODELS)


@dataclass(frozen=True)
class NetworkModel:
    """S-parameters of a named network at the frequencies of a measured one- or two-port.

    As a one-port, a series circuit ends in a short, and a shunt circuit in an open end.
    """

    data: TouchstoneData
    model: str
    band: Band

    def __call__(self, values: Values) -> dict[str, Array]:
        """The features ``s11`` or ``s11``, ``s12``, ``s21``, ``s22``: complex, shape (F,)."""
        network = _MODELS[self.model].network(self.data.frequency, values, self.band)
        if self.data.ports == 2:
            s = rf.s_parameters(network, self.band.z0)
            return dict(zip(feature_names(2), s, strict=True))
        if self.model == "series-rlc":
            return {"s11": rf.reflection_of_impedance(network.b, self.band.z0)}
        return {"s11": rf.reflection_of_admittance(network.c, self.band.z0)}

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The measured S-parameters."""
        return measured_curves(self.data)


def network_space(model: str, band: Band) -> ParameterSpace:
    """The search box of a named model in a band."""
    return ParameterSpace(_MODELS[model].box(band))


def build(data: str | Path | None = None, model: str | None = None) -> FeatureTask:
    """The task of fitting a named model to a Touchstone file.

    Raises:
        ConfigurationError: No file or an unknown model, or one for another number of ports.
        DataFileError: A file that is missing, cannot be read or cannot be fitted.
    """
    if not isinstance(data, str | Path):
        raise ConfigurationError(
            "Problem 'touchstone' needs a Touchstone file: give the option data = \"my.s2p\"."
        )
    if model is not None and model not in _NAMES:
        raise ConfigurationError(
            f"Problem 'touchstone' has no model {model!r}; "
            f"choose one of {', '.join(map(repr, _NAMES))}."
        )
    if model == "ring-slot":
        measurement = ring_slot_data(data)
        evaluator = FeatureEvaluator(RingSlot(measurement), ring_slot_space("six"))
        return FeatureTask(evaluator, outputs=misfit_outputs(measurement))
    measurement = read_touchstone(data)
    if measurement.ports > 2:
        raise DataFileError(
            f"{measurement.path}: has {measurement.ports} ports; the built-in models have one or "
            "two. Write your own task for this file."
        )
    name = model or ("shunt-rlc" if measurement.ports == 1 else "lossy-line")
    if measurement.ports not in _MODELS[name].ports:
        fitting = [key for key, entry in _MODELS.items() if measurement.ports in entry.ports]
        raise ConfigurationError(
            f"{measurement.path}: has {measurement.ports} port, and the model {name!r} needs two; "
            f"choose one of {', '.join(map(repr, ['ring-slot', *fitting]))}."
        )
    frequency = measurement.frequency
    if frequency[0] == 0.0:
        raise DataFileError(
            f"{measurement.path}: begins at 0 Hz, where these models are not defined; "
            "remove that row."
        )
    band = Band(float(frequency[0]), float(frequency[-1]), measurement.common_impedance())
    evaluator = FeatureEvaluator(NetworkModel(measurement, name, band), network_space(name, band))
    return FeatureTask(evaluator, outputs=misfit_outputs(measurement))


PROBLEM = Problem(
    name="touchstone",
    summary="A named network model fitted to any one- or two-port Touchstone file",
    build=build,
    objective="-log10_cost",
    options={
        "data": "the file (.s1p, .s2p, .ts); needed",
        "model": "'ring-slot' (one-port in WR-10 waveguide); "
        + "; ".join(f"{name!r} ({entry.summary})" for name, entry in _MODELS.items())
        + "; default 'shunt-rlc' for a one-port, 'lossy-line' for a two-port",
    },
)
