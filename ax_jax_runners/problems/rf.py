"""One- and two-port networks in JAX: lumped elements, lossy lines, cascades, S-parameters.

A two-port is its chain (ABCD) matrix, one array for each of the four entries, so that a grid of
frequencies stays contiguous and everything can be jitted, vmapped and differentiated. All networks
built here are reciprocal (a d - b c = 1) and passive for non-negative element values.

Frequencies are in hertz, impedances in ohms, admittances in siemens, lengths in metres. Arrays that
depend on the frequency have the shape of ``frequency``, usually (F,).
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

SPEED_OF_LIGHT = 299792458.0  # m/s, exact


class TwoPort(NamedTuple):
    """Chain matrix of a two-port: v1 = a v2 + b i2, i1 = c v2 + d i2, with i2 leaving port 2."""

    a: Array
    b: Array
    c: Array
    d: Array

    def __matmul__(self, other: TwoPort) -> TwoPort:  # type: ignore[override]
        """This two-port followed by another one."""
        return TwoPort(
            self.a * other.a + self.b * other.c,
            self.a * other.b + self.b * other.d,
            self.c * other.a + self.d * other.c,
            self.c * other.b + self.d * other.d,
        )


class SParameters(NamedTuple):
    """Scattering parameters of a two-port, complex, one array an entry."""

    s11: Array
    s12: Array
    s21: Array
    s22: Array

    def matrix(self) -> Array:
        """The same values with shape (..., 2, 2)."""
        rows = [jnp.stack([self.s11, self.s12], -1), jnp.stack([self.s21, self.s22], -1)]
        return jnp.stack(rows, -2)


def _imaginary(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return jax.lax.complex(jnp.zeros_like(x), x)


def _complex(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return x if jnp.iscomplexobj(x) else x + 0j


def angular(frequency: ArrayLike) -> Array:
    """Angular frequency [rad/s] of a frequency [Hz]."""
    return 2.0 * jnp.pi * jnp.asarray(frequency)


def resistor(frequency: ArrayLike, resistance: ArrayLike) -> Array:
    """Impedance of a resistance [ohm] at every frequency."""
    return jnp.asarray(resistance) + _imaginary(jnp.zeros_like(angular(frequency)))


def inductor(frequency: ArrayLike, inductance: ArrayLike) -> Array:
    """Impedance j w L of an inductance [H]."""
    return _imaginary(angular(frequency) * inductance)


def capacitor(frequency: ArrayLike, capacitance: ArrayLike) -> Array:
    """Admittance j w C of a capacitance [F]; finite also for a capacitance of zero."""
    return _imaginary(angular(frequency) * capacitance)


def series_rlc(
    frequency: ArrayLike, resistance: ArrayLike, inductance: ArrayLike, capacitance: ArrayLike
) -> Array:
    """Impedance R + j w L + 1 / (j w C) of a series circuit; C and the frequency positive."""
    w = angular(frequency)
    return resistor(frequency, resistance) + _imaginary(w * inductance - 1.0 / (w * capacitance))


def parallel_rlc(
    frequency: ArrayLike, resistance: ArrayLike, inductance: ArrayLike, capacitance: ArrayLike
) -> Array:
    """Admittance 1 / R + j w C + 1 / (j w L) of a parallel circuit; R, L, frequency positive."""
    w = angular(frequency)
    conductance = 1.0 / jnp.asarray(resistance)
    return resistor(frequency, conductance) + _imaginary(w * capacitance - 1.0 / (w * inductance))


def series(impedance: ArrayLike) -> TwoPort:
    """A two-port with an impedance between its ports."""
    z = _complex(impedance)
    return TwoPort(jnp.ones_like(z), z, jnp.zeros_like(z), jnp.ones_like(z))


def shunt(admittance: ArrayLike) -> TwoPort:
    """A two-port with an admittance to ground across both ports."""
    y = _complex(admittance)
    return TwoPort(jnp.ones_like(y), jnp.zeros_like(y), y, jnp.ones_like(y))


def line(
    attenuation: ArrayLike, phase: ArrayLike, impedance: ArrayLike, length: ArrayLike
) -> TwoPort:
    """A uniform transmission line.

    Args:
        attenuation: Real part of the propagation constant [Np/m].
        phase: Imaginary part of the propagation constant [rad/m].
        impedance: Characteristic impedance [ohm], real or complex, not zero.
        length: Length [m].
    """
    # Real exponentials, cosines and sines: half the time of XLA's complex cosh and sinh.
    grow = jnp.exp(jnp.asarray(attenuation) * length)
    decay = 1.0 / grow
    angle = jnp.asarray(phase) * length
    even, odd = 0.5 * (grow + decay), 0.5 * (grow - decay)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    cosh = jax.lax.complex(even * cosine, odd * sine)
    sinh = jax.lax.complex(odd * cosine, even * sine)
    z = _complex(impedance)
    return TwoPort(cosh, z * sinh, sinh / z, cosh)


def lossy_line(
    frequency: ArrayLike,
    *,
    impedance: ArrayLike,
    length: ArrayLike,
    permittivity: ArrayLike = 1.0,
    conductor_loss: ArrayLike = 0.0,
    loss_frequency: ArrayLike = 1e9,
    loss_tangent: ArrayLike = 0.0,
) -> TwoPort:
    """A line with skin-effect and dielectric losses, from its distributed R, L, G and C.

    The length, permittivity and conductor loss are not identifiable together from S-parameters:
    (l / k, k^2 er, k A) is the same line for every k.

    Args:
        frequency: Frequencies [Hz], positive.
        impedance: Characteristic impedance of the lossless line [ohm].
        length: Length [m].
        permittivity: Relative permittivity.
        conductor_loss: Attenuation by the conductors [dB/m] at ``loss_frequency``; it grows with
            the square root of the frequency.
        loss_frequency: Frequency [Hz] at which the conductor loss is given.
        loss_tangent: Loss tangent of the dielectric.
    """
    f = jnp.asarray(frequency)
    w = angular(f)
    root = jnp.sqrt(jnp.asarray(permittivity))
    neper = jnp.log(10.0) / 20.0
    conductor = jnp.asarray(conductor_loss) * jnp.sqrt(f / loss_frequency) * neper
    dielectric = jnp.pi * f * root * loss_tangent / SPEED_OF_LIGHT
    r, x = 2.0 * impedance * conductor, w * impedance * root / SPEED_OF_LIGHT
    g, b = 2.0 * dielectric / impedance, w * root / (impedance * SPEED_OF_LIGHT)
    # Principal root of (r + jx)(g + jb), whose imaginary part is the larger one on any usable line.
    real, imaginary = r * g - x * b, r * b + x * g
    phase = jnp.sqrt(0.5 * (jnp.hypot(real, imaginary) - real))
    attenuation = imaginary / (2.0 * phase)
    propagation = jax.lax.complex(attenuation, phase)
    return line(attenuation, phase, jax.lax.complex(r, x) / propagation, length)


def cascade(*networks: TwoPort) -> TwoPort:
    """Two-ports one after the other, port 2 of each joined to port 1 of the next."""
    return reduce(TwoPort.__matmul__, networks)


def s_parameters(network: TwoPort, z0: ArrayLike = 50.0) -> SParameters:
    """S-parameters of a reciprocal two-port between real port impedances z0 [ohm]."""
    a, b, c, d = network.a, network.b / z0, network.c * z0, network.d
    whole = a + b + c + d
    through = 2.0 / whole
    return SParameters((a + b - c - d) / whole, through, through, (-a + b - c + d) / whole)


def input_impedance(network: TwoPort, load: ArrayLike) -> Array:
    """Impedance [ohm] seen at port 1 with an impedance [ohm] at port 2."""
    return (network.a * load + network.b) / (network.c * load + network.d)


def reflection_of_impedance(impedance: ArrayLike, z0: ArrayLike = 50.0) -> Array:
    """Reflection coefficient of an impedance [ohm] against a real z0 [ohm]."""
    z = _complex(impedance)
    return (z - z0) / (z + z0)


def reflection_of_admittance(admittance: ArrayLike, z0: ArrayLike = 50.0) -> Array:
    """Reflection coefficient of an admittance [S] against a real z0 [ohm]."""
    y = _complex(admittance) * z0
    return (1.0 - y) / (1.0 + y)
