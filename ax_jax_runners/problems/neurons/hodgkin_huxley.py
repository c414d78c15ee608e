"""Hodgkin-Huxley model of a regular-spiking cortical neuron.

    C dV/dt = I - gNa m^3 h (V - ENa) - gKd n^4 (V - EK) - gM p (V - EK) - gL (V - EL)

with C = 1 uF/cm^2, ENa = 50 mV, EK = -90 mV and the rates of Pospischil et al. 2008, "Minimal
Hodgkin-Huxley type models for different classes of cortical and thalamic neurons", Biological
Cybernetics 99, 427-441. Voltages are in mV, times in ms, conductances in mS/cm^2, currents in
uA/cm^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.neurons.spikes import (
    SpikeTrain,
    observed,
    silent_train,
    train_features,
    upstroke,
)

SODIUM, POTASSIUM = 50.0, -90.0  # mV, reversal potentials
REST, STEP = 100.0, 400.0  # ms, before and during the current step
THRESHOLD = -20.0  # mV, crossed upwards by a spike
BLOCK = 8  # steps observed together, 0.4 ms: less than any spike takes

SPACE = ParameterSpace(
    [
        Parameter("gNa", lower=20.0, upper=120.0, log_scale=True),
        Parameter("gKd", lower=1.0, upper=15.0, log_scale=True),
        Parameter("gM", lower=0.0, upper=0.3),
        Parameter("gL", lower=0.02, upper=0.2, log_scale=True),
        Parameter("EL", lower=-80.0, upper=-60.0),
        Parameter("VT", lower=-65.0, upper=-45.0),
        Parameter("tau_max", lower=200.0, upper=1500.0, log_scale=True),
    ]
)

CONSTRAINTS = (
    Constraint("voltage_base", mean=-70.0, sd=1.0, cutoff=2.0),
    Constraint("maximum_voltage_2", mean=45.0, sd=2.5, cutoff=2.0),
    Constraint("trough_4", mean=-65.0, sd=1.25, cutoff=2.0),
    Constraint("rate_1", upper=3.0, sd=2.0),
    Constraint("rate_2", mean=12.0, sd=2.5, cutoff=2.0),
    Constraint("rate_4", mean=36.0, sd=3.0, cutoff=2.0),
    Constraint("isi_cv_4", mean=0.18, sd=0.035, cutoff=2.0),
    Constraint("latency_2", lower=10.0, upper=25.0, sd=60.0),
)
SEED_POINT = {
    "gNa": 40.0,
    "gKd": 3.2,
    "gM": 0.22,
    "gL": 0.06,
    "EL": -68.0,
    "VT": -61.0,
    "tau_max": 320.0,
}


class _State(NamedTuple):
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


@dataclass(frozen=True)
class HodgkinHuxley:
    """Responses of one neuron to current steps. Called as a simulator.

    Attributes:
        currents: Amplitudes of the steps [uA/cm^2].
        dt: Time step [ms], at most 0.05.
    """

    currents: tuple[float, ...] = (1.0, 2.0, 4.0)
    dt: float = 0.05

    def __post_init__(self) -> None:
        """Check the time step.

        Raises:
            ConfigurationError: It is too long, or does not divide the stimulus.
        """
        blocks = 0.1 * REST / (BLOCK * self.dt) if self.dt > 0.0 else 0.5
        if not 0.0 < self.dt <= 0.05 or abs(blocks - round(blocks)) > 1e-9:
            raise ConfigurationError(
                f"dt is {self.dt!r} ms; give 0.05 or a simple fraction of it, such as 0.025."
            )

    @property
    def space(self) -> ParameterSpace:
        """The seven parameters and the box in which they are searched."""
        return SPACE

    def evaluator(self, dtype: str = "float64", chunk: int = 64) -> FeatureEvaluator:
        """The features as functions of the parameters.

        Args:
            dtype: "float64", or "float32" for more than twice the speed; features differ by about
                1e-4 of their size then.
            chunk: Rows computed together. On a processor core 256 are the fastest, and 64 cost a
                sixth more each.
        """
        return FeatureEvaluator(self, SPACE, dtype=dtype, chunk=chunk)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """A regular-spiking cell: silent at 1, slow at 2 and adapting at 4 uA/cm^2.

        Inside is 0.0010 of the box (62 of 61440 uniform points; standard error 0.00013). They suit
        the default currents. A silent cell is judged by how far its voltage stays below a spike's
        peak, a blocked one by how far it does not come down, so that the violation has a slope
        where counts have none.
        """
        return CONSTRAINTS

    @property
    def seed_point(self) -> dict[str, float]:
        """Parameters of a cell that meets the constraints."""
        return dict(SEED_POINT)

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Features of one parameter set, scalars that are finite also where the neuron is silent.

        Args:
            values: The parameters of `space` by name.

        Returns:
            ``voltage_base``: mean voltage of the last tenth of the rest before the step [mV], as
            eFEL defines it. For each current I, as ``<feature>_<I>``: the features of
            `train_features` over the step, ``maximum_voltage`` as eFEL defines it, the others with
            names of their own: spikes are timed by their upstroke through -20 mV rather than by
            their peak, and the first interval counts.
        """
        advance = _integrator(values, self.dt)
        state, base = _rested(advance, _steady_state(values, self.dt), self.dt)
        steps = jnp.asarray(self.currents, dtype=base.dtype)
        # One after the other: a batch's state of one step fits into the first cache.
        trains = jax.lax.map(lambda current: _response(advance, state, current, self.dt), steps)
        found = {"voltage_base": base}
        for i, current in enumerate(self.currents):
            train = jax.tree.map(lambda leaf, i=i: leaf[i], trains)
            features = train_features(train, STEP)
            found.update({f"{name}_{current:g}": value for name, value in features.items()})
        return found


def _rested(advance: Any, state: _State, dt: float) -> tuple[_State, Array]:
    """The state after the rest, and the mean voltage of its last tenth, both ends included."""
    start = round(0.9 * REST / dt)
    zero = jnp.zeros_like(state.voltage)

    def step(carry: tuple[Array, _State, Array], none: None) -> tuple[Any, None]:
        number, state, total = carry
        state = advance(state, 0.0)
        total = total + jnp.where(number >= start - 1, state.voltage, 0.0)
        return (number + 1, state, total), none

    carry = (jnp.zeros((), jnp.int32), state, zero)
    length = round(REST / dt)
    (_, state, total), _ = jax.lax.scan(step, carry, None, length=length)
    return state, total / (length - start + 1)


def _response(advance: Any, state: _State, current: Array, dt: float) -> SpikeTrain:
    """The spike train during a step of current."""

    def block(carry: tuple[Array, _State, SpikeTrain], none: None) -> tuple[Any, None]:
        number, state, train = carry
        before = state.voltage
        voltages = []
        for _ in range(BLOCK):
            state = advance(state, current)
            voltages.append(state.voltage)
        spiked, since = jax.lax.optimization_barrier(upstroke(before, voltages, THRESHOLD, dt))
        time = number.astype(before.dtype) * (BLOCK * dt) + since
        return (number + 1, state, observed(train, spiked, time, voltages)), none

    start = (jnp.zeros((), jnp.int32), state, silent_train(state.voltage, STEP))
    (_, _, train), _ = jax.lax.scan(block, start, None, length=round(STEP / (BLOCK * dt)))
    return train


def _steady_state(values: Mapping[str, Any], dt: float) -> _State:
    """The leak's reversal potential with every gate at its steady state."""
    voltage = jnp.asarray(values["EL"])
    rates = gate_rates(voltage, values, dt)
    return _State(voltage, *(opening / total for opening, total in rates))


def _relaxation() -> tuple[float, ...]:
    """Coefficients of a polynomial for (1 - exp(-z)) / z, within 1.3e-7 on [0, 2.5]."""
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
    """X / (1 - exp(-x / scale)) near 0, where the quotient loses its digits."""
    y = x * (1.0 / scale)
    return scale * (1.0 + y * (0.5 + y * (1.0 / 12.0)))


def _integrator(values: Mapping[str, Any], dt: float) -> Callable[[_State, Any], _State]:
    """One step of exponential Euler: the gates first, then the voltage."""
    sodium, potassium, slow = values["gNa"], values["gKd"], values["gM"]
    leak = values["gL"]
    leaking = leak * values["EL"]

    def advance(state: _State, current: Any) -> _State:
        rates = gate_rates(state.voltage, values, dt)
        m, h, n, p = (_relaxed(gate, *pair) for gate, pair in zip(state[1:], rates, strict=True))
        inward = sodium * (m * m * m * h)
        n2 = n * n
        outward = potassium * (n2 * n2) + slow * p
        total = inward + outward + leak
        target = (inward * SODIUM + outward * POTASSIUM + leaking + current) / total
        voltage = target + (state.voltage - target) * jnp.exp(-dt * total)
        return _State(voltage, m, h, n, p)

    return advance
