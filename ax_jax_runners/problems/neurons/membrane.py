"""The membrane of a regular-spiking cortical neuron, one time step of it.

    C dV/dt = I - gNa m^3 h (V - ENa) - gKd n^4 (V - EK) - gM p (V - EK) - gL (V - EL)

with C = 1 uF/cm^2, ENa = 50 mV, EK = -90 mV and the rates of Pospischil et al. 2008, "Minimal
Hodgkin-Huxley type models for different classes of cortical and thalamic neurons", Biological
Cybernetics 99, 427-441. Voltages are in mV, times in ms, conductances in mS/cm^2, currents in
uA/cm^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

SODIUM, POTASSIUM = 50.0, -90.0  # mV, reversal potentials


class MembraneState(NamedTuple):
    """Voltage, and the open fractions of the gates."""

    voltage: Array
    m: Array
    h: Array
    n: Array
    p: Array


class Rates(NamedTuple):
    """Opening rate, and opening plus closing rate, of each gate, times the time step."""

    m: tuple[Array, Array]
    h: tuple[Array, Array]
    n: tuple[Array, Array]
    p: tuple[Array, Array]


def steady_state(values: Mapping[str, Any], dt: float) -> MembraneState:
    """The leak's reversal potential with every gate at its steady state."""
    voltage = jnp.asarray(values["EL"])
    rates = gate_rates(voltage, values, dt)
    return MembraneState(voltage, *(opening / total for opening, total in rates))


def _relaxation() -> tuple[float, ...]:
    """Coefficients of a polynomial for (1 - exp(-z)) / z, within 1.3e-7 on [0, 2.5].

    It saves a gate its exponential and its division. With a step of 0.05 ms the fastest gate's z
    stays below 1.8 for every voltage that the box of parameters lets occur.
    """
    z = 1.25 + 1.25 * np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    fit = np.polynomial.Polynomial.fit(z, -np.expm1(-z) / z, 7).convert()
    return tuple(float(c) for c in fit.coef)


RELAXATION = _relaxation()


def _relaxed(gate: Array, opening: Array, total: Array) -> Array:
    """A gate after one step of exponential Euler, from its rates times the step."""
    share = jnp.full_like(total, RELAXATION[-1])
    for coefficient in RELAXATION[-2::-1]:
        share = share * total + coefficient
    return gate + share * (opening - total * gate)


def gate_rates(voltage: Array, values: Mapping[str, Any], dt: float) -> Rates:
    """All rates, from two exponentials of the voltage: the others are powers of the first."""
    u = voltage - values["VT"]
    # Computed once and stored: every gate would compute it again otherwise.
    q = jax.lax.optimization_barrier(jnp.exp(u * (-1.0 / 40.0)))
    q2 = q * q
    q4 = q2 * q2
    q8 = q4 * q4
    close = 0.05  # relative distance from a removable singularity, within which a series holds
    a, b, c = u - 13.0, 40.0 - u, u - 15.0
    near_a, near_b, near_c = (jnp.abs(x) < close * s for x, s in ((a, 4.0), (b, 5.0), (c, 5.0)))
    y = math.exp(8.0) * q8
    of_a = jnp.where(near_a, 1.0, 1.0 - math.exp(3.25) * (q8 * q2))
    of_b = jnp.where(near_b, 1.0, y - 1.0)
    of_c = jnp.where(near_c, 1.0, 1.0 - math.exp(3.0) * q8)
    # One division for both rates of m.
    inverse = 1.0 / (of_a * of_b)
    m_opening = 0.32 * dt * jnp.where(near_a, _series(a, 4.0), a * of_b * inverse)
    m_closing = 0.28 * dt * jnp.where(near_b, _series(b, 5.0), b * y * of_a * inverse)
    h_opening = (0.128 * dt) * jnp.exp((17.0 - u) * (1.0 / 18.0))
    h_closing = (4.0 * dt) / (1.0 + y)
    n_opening = 0.032 * dt * jnp.where(near_c, _series(c, 5.0), c / of_c)
    n_closing = (0.5 * dt * math.exp(0.25)) * q
    w = q2 * jnp.exp((values["VT"] + 35.0) * (-1.0 / 20.0))
    w2 = w * w
    p_opening = (3.3 + w2) * (dt / values["tau_max"]) / (w * (1.0 + w2))
    return Rates(
        m=(m_opening, m_opening + m_closing),
        h=(h_opening, h_opening + h_closing),
        n=(n_opening, n_opening + n_closing),
        p=(p_opening, p_opening * (1.0 + w2)),
    )


def _series(x: Array, scale: float) -> Array:
    """The quotient x / (1 - exp(-x / scale)) near 0, where it would lose its digits."""
    y = x * (1.0 / scale)
    return scale * (1.0 + y * (0.5 + y * (1.0 / 12.0)))


def integrator(
    values: Mapping[str, Any], dt: float
) -> Callable[[MembraneState, Any], MembraneState]:
    """The function that takes a state one time step on, under a current.

    It is exponential Euler: first the gates relax at the old voltage, then the voltage with the new
    gates.
    """
    sodium, potassium, slow = values["gNa"], values["gKd"], values["gM"]
    leak = values["gL"]
    leaking = leak * values["EL"]

    def advance(state: MembraneState, current: Any) -> MembraneState:
        rates = gate_rates(state.voltage, values, dt)
        m, h, n, p = (_relaxed(gate, *pair) for gate, pair in zip(state[1:], rates, strict=True))
        inward = sodium * (m * m * m * h)
        n2 = n * n
        outward = potassium * (n2 * n2) + slow * p
        total = inward + outward + leak
        target = (inward * SODIUM + outward * POTASSIUM + leaking + current) / total
        voltage = target + (state.voltage - target) * jnp.exp(-dt * total)
        return MembraneState(voltage, m, h, n, p)

    return advance
