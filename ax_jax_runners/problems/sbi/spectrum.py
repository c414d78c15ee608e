"""A transmission spectrum of a hot giant planet: five parameters, 233 wavelengths.

A toy in closed form, with the degeneracies of the real thing. In an isothermal atmosphere of scale
height H = k T / (mu g), where the chord has optical depth tau at the reference pressure,

    tau = sigma P0 / (k T) sqrt(2 pi R H),

the planet looks larger than R by H (gamma + ln tau + E1(tau)) (Lecavelier des Etangs et al. 2008,
A&A 481, L83; Heng and Kitzmann 2017, MNRAS 470, 2972); here by H ln(1 + e^gamma tau), equal for
large tau and positive for all. sigma holds Rayleigh scattering by hydrogen, water and carbon
dioxide with bands of round numbers; a grey cloud adds what makes the chord opaque at its top.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.records import ObservationBlock
from ax_jax_runners.problems.sbi.base import InferenceProblem
from ax_jax_runners.problems.sbi.tempering import sample_tempered

WAVELENGTHS = np.geomspace(0.6, 5.2, 233)  # um
UNCERTAINTIES = 70.0 * np.cosh(np.log(WAVELENGTHS / 1.3))  # ppm
STAR, JUPITER = 6.40e8, 7.149e7  # radii in m
GRAVITY = 4.3  # m / s^2
PARTICLE_MASS = 2.3 * 1.6605e-27  # kg
BOLTZMANN = 1.380649e-23  # J / K
REFERENCE_PRESSURE, BAR = 1e6, 1e5  # Pa
HYDROGEN = 0.85  # fraction of molecules
RAYLEIGH = 2.52e-32, 0.75  # m^2 at a wavelength in um
REFERENCE_TEMPERATURE = 1000.0  # K
# Centre in um, decimal logarithm of the peak in m^2, width in logarithmic wavelength.
WATER_BANDS = (
    (0.94, -27.4, 0.020),
    (1.13, -26.8, 0.022),
    (1.38, -25.5, 0.026),
    (1.87, -25.2, 0.028),
    (2.70, -23.7, 0.040),
    (6.27, -23.0, 0.060),
)
CARBON_DIOXIDE_BANDS = (
    (1.60, -27.5, 0.010),
    (2.01, -26.0, 0.011),
    (2.75, -24.2, 0.013),
    (4.30, -22.2, 0.018),
    (4.85, -25.6, 0.015),
)
SPACE = ParameterSpace(
    [
        Parameter("temperature", lower=500.0, upper=2000.0),
        Parameter("log_water", lower=-8.0, upper=-2.0),
        Parameter("log_carbon_dioxide", lower=-8.0, upper=-2.0),
        Parameter("log_cloud_pressure", lower=-5.0, upper=1.0),
        Parameter("radius", lower=1.1, upper=1.4),
    ]
)


@dataclass(frozen=True)
class TransmissionSpectrum(InferenceProblem):
    """Transit depths in ppm with known independent normal errors.

    Parameters: temperature in K, decimal logarithms of the abundances of water and carbon dioxide
    and of the cloud top's pressure in bar, and the radius at 10 bar in Jupiter's; uniform priors.
    """

    @property
    def space(self) -> ParameterSpace:
        """The five parameters."""
        return SPACE

    @property
    def observation_size(self) -> int:
        """233."""
        return WAVELENGTHS.size

    @property
    def wavelengths(self) -> np.ndarray:
        """(233,) in um, equally spaced in their logarithm."""
        return WAVELENGTHS.copy()

    @property
    def uncertainties(self) -> np.ndarray:
        """(233,) standard deviations in ppm, least at 1.3 um and about twice that at 5.2 um."""
        return UNCERTAINTIES.copy()

    def __call__(self, values: Mapping[str, Any], key: Array) -> dict[str, Array]:
        """A noisy spectrum, ``x``, and its ``uncertainties``, each (233,) in ppm."""
        depth = transit_depth(values)
        uncertainties = jnp.asarray(UNCERTAINTIES, depth.dtype)
        noise = jax.random.normal(key, depth.shape, depth.dtype)
        return {"x": depth + uncertainties * noise, "uncertainties": uncertainties}

    def blocks(self, x: ArrayLike) -> list[ObservationBlock]:
        """One observation (233,) as the blocks that a posterior estimator takes."""
        return [
            ObservationBlock(
                name="spectrum",
                modality="spectrum",
                values=self._observation(x),
                uncertainties=self.uncertainties,
                coordinates=self.wavelengths,
            )
        ]

    def spectrum(self, theta: ArrayLike) -> np.ndarray:
        """Depths without noise in ppm, (B, d) to (B, 233) float64."""
        with jax.enable_x64(True):
            return np.asarray(_spectra(jnp.asarray(theta, dtype=jnp.float64)))

    def _log_likelihood(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(_log_likelihoods(jnp.asarray(theta), jnp.asarray(x)))

    def _sample_posterior(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Particles tempered from the prior to the posterior: nearly, not exactly, independent."""

        def log_likelihood(theta: np.ndarray) -> np.ndarray:
            return self._log_likelihood(theta, x)

        return sample_tempered(log_likelihood, SPACE.lower, SPACE.upper, n, rng)


def transit_depth(values: Mapping[str, Any]) -> Array:
    """Depths (233,) in ppm under one set of parameters; traceable by JAX."""
    temperature = jnp.asarray(values["temperature"])
    radius = JUPITER * values["radius"]
    height = BOLTZMANN * temperature / (PARTICLE_MASS * GRAVITY)
    warmth = jnp.log(temperature / REFERENCE_TEMPERATURE)
    # Logarithm of molecules along the chord at the reference pressure, per m^2.
    column = jnp.log(REFERENCE_PRESSURE / (BOLTZMANN * temperature))
    column = column + 0.5 * jnp.log(2.0 * math.pi * radius * height)
    # e^gamma tau of the cloud is one at its top.
    cloud = REFERENCE_PRESSURE / BAR * 10.0 ** (-values["log_cloud_pressure"])
    rayleigh, *molecules = (jnp.asarray(table, temperature.dtype) for table in _opacities())
    depth_scaled = cloud + jnp.exp(np.euler_gamma + column + rayleigh)
    for name, level, slope in zip(
        ("log_water", "log_carbon_dioxide"), molecules[::2], molecules[1::2], strict=True
    ):
        abundance = math.log(10.0) * values[name]
        opacity = jnp.exp(np.euler_gamma + column + abundance + level + slope * warmth)
        depth_scaled = depth_scaled + opacity
    apparent = radius + height * jnp.log1p(depth_scaled)
    return 1e6 * (apparent / STAR) ** 2


@functools.cache
def _opacities() -> tuple[np.ndarray, ...]:
    """Logarithms of cross-sections in m^2: Rayleigh's, then level and slope of each molecule.

    The slope is that in the temperature's logarithm of bands that widen with its square root at a
    constant area.
    """
    strength, at = RAYLEIGH
    tables = [np.log(HYDROGEN * strength) - 4.0 * np.log(WAVELENGTHS / at)]
    for bands in (WATER_BANDS, CARBON_DIOXIDE_BANDS):
        centre, peak, width = (column[:, None] for column in np.array(bands).T)
        distance = np.log(WAVELENGTHS / centre) / width
        each = 10.0**peak / np.cosh(distance)
        slopes = 0.5 * (distance * np.tanh(distance) - 1.0)
        tables += [np.log(each.sum(axis=0)), (each * slopes).sum(axis=0) / each.sum(axis=0)]
    return tuple(tables)


@jax.jit
def _spectra(theta: Array) -> Array:
    return jax.vmap(lambda row: transit_depth(SPACE.traced(row)))(theta)


@jax.jit
def _log_likelihoods(theta: Array, x: Array) -> Array:
    residuals = (x - _spectra(theta)) / UNCERTAINTIES
    scales = np.log(UNCERTAINTIES * math.sqrt(2.0 * math.pi)).sum()
    return -0.5 * (residuals**2).sum(axis=1) - scales
