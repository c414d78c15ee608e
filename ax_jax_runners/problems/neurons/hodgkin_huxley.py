"""Responses of a regular-spiking cortical neuron to current steps, and what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.neurons.membrane import MembraneState, integrator, steady_state
from ax_jax_runners.problems.neurons.spikes import (
    SpikeTrain,
    observed,
    silent_train,
    train_features,
    upstroke,
)

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


@dataclass(frozen=True)
class HodgkinHuxley:
    """The membrane of Pospischil et al. 2008 under current steps. Called as a simulator.

    Each step of 400 ms follows the same 100 ms of rest. The integration is exponential Euler.

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

        For the default currents. Inside is 0.0010 of the box (62 of 61,440 uniform points; standard
        error 0.00013). A silent cell is judged by how far its voltage stays below a spike's peak, a
        blocked one by how far it does not come down: the violation has a slope where a count has
        none.
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
        advance = integrator(values, self.dt)
        state, base = _rested(advance, steady_state(values, self.dt), self.dt)
        steps = jnp.asarray(self.currents, dtype=base.dtype)
        # One after the other: a batch's state of one step fits into the first cache.
        trains = jax.lax.map(lambda current: _response(advance, state, current, self.dt), steps)
        found = {"voltage_base": base}
        for i, current in enumerate(self.currents):
            train = jax.tree.map(lambda leaf, i=i: leaf[i], trains)
            features = train_features(train, STEP)
            found.update({f"{name}_{current:g}": value for name, value in features.items()})
        return found


def _rested(advance: Any, state: MembraneState, dt: float) -> tuple[MembraneState, Array]:
    """The state after the rest, and the mean voltage of its last tenth, both ends included."""
    start = round(0.9 * REST / dt)
    zero = jnp.zeros_like(state.voltage)

    def step(carry: tuple[Array, MembraneState, Array], none: None) -> tuple[Any, None]:
        number, state, total = carry
        state = advance(state, 0.0)
        total = total + jnp.where(number >= start - 1, state.voltage, 0.0)
        return (number + 1, state, total), none

    carry = (jnp.zeros((), jnp.int32), state, zero)
    length = round(REST / dt)
    (_, state, total), _ = jax.lax.scan(step, carry, None, length=length)
    return state, total / (length - start + 1)


def _response(advance: Any, state: MembraneState, current: Array, dt: float) -> SpikeTrain:
    """The spike train during a step of current."""

    def block(carry: tuple[Array, MembraneState, SpikeTrain], none: None) -> tuple[Any, None]:
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
