"""Izhikevich's simple model of spiking neurons.

    dv/dt = 0.04 v^2 + 5 v + 140 - u + I,   du/dt = a (b v - u);   at v >= 30: v = c, u = u + d

with v in mV and time in ms: Izhikevich 2003, "Simple model of spiking neurons", IEEE Transactions
on Neural Networks 14, 1569-1572.
"""

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
from ax_jax_runners.problems.neurons.spikes import (
    SpikeTrain,
    observed,
    silent_train,
    train_features,
)

REST, STEP = 100.0, 400.0  # ms, before and during the current step
CURRENT = 10.0
DT = 0.5  # ms
PEAK = 30.0  # mV, where a spike ends

SPACE = ParameterSpace(
    [
        Parameter("a", lower=0.01, upper=0.2, log_scale=True),
        Parameter("b", lower=0.1, upper=0.25),
        Parameter("c", lower=-70.0, upper=-45.0),
        Parameter("d", lower=0.5, upper=10.0, log_scale=True),
    ]
)
#: Parameters of the published firing classes: regular spiking, intrinsically bursting, chattering
#: and fast spiking.
FIRING_CLASSES: Mapping[str, Mapping[str, float]] = {
    "RS": {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0},
    "IB": {"a": 0.02, "b": 0.2, "c": -55.0, "d": 4.0},
    "CH": {"a": 0.02, "b": 0.2, "c": -50.0, "d": 2.0},
    "FS": {"a": 0.1, "b": 0.2, "c": -65.0, "d": 2.0},
}
# Mean and standard deviation of each feature; two of them are tolerated.
_TARGETS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "RS": {"rate": (23.0, 2.0), "isi_cv": (0.19, 0.04), "first_isi": (20.0, 4.0)},
    "IB": {"rate": (34.0, 2.0), "isi_cv": (0.37, 0.06), "first_isi": (3.4, 0.5)},
    "CH": {"rate": (90.0, 7.0), "isi_cv": (1.45, 0.15), "first_isi": (2.4, 0.3)},
    "FS": {"rate": (116.0, 7.0), "isi_cv": (0.07, 0.02), "first_isi": (5.5, 0.7)},
}
_COMMON = {"voltage_base": (-70.0, 1.0), "latency": (4.1, 0.5)}
CONSTRAINTS: Mapping[str, tuple[Constraint, ...]] = {
    name: tuple(
        Constraint(feature, mean=mean, sd=sd, cutoff=2.0)
        for feature, (mean, sd) in {**targets, **_COMMON}.items()
    )
    for name, targets in _TARGETS.items()
}


@dataclass(frozen=True)
class Izhikevich:
    """Response of one neuron to a step of current 10. Called as a simulator.

    Attributes:
        firing_class: What the constraints ask for: "RS", "IB", "CH" or "FS".
    """

    firing_class: str = "RS"

    def __post_init__(self) -> None:
        """Check the class.

        Raises:
            ConfigurationError: There is no such class.
        """
        if self.firing_class not in FIRING_CLASSES:
            known = ", ".join(map(repr, FIRING_CLASSES))
            raise ConfigurationError(
                f"There is no firing class {self.firing_class!r}; choose one of {known}."
            )

    @property
    def space(self) -> ParameterSpace:
        """The four parameters and the box in which they are searched."""
        return SPACE

    def evaluator(self, dtype: str = "float64", chunk: int = 256) -> FeatureEvaluator:
        """The features as functions of the parameters."""
        return FeatureEvaluator(self, SPACE, dtype=dtype, chunk=chunk)

    @property
    def seed_point(self) -> dict[str, float]:
        """The published parameters of the class, which meet its constraints."""
        return dict(FIRING_CLASSES[self.firing_class])

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What tells the class from the others.

        Inside is this part of the box, by 200,000 uniform points: RS 0.0024, IB 0.0030, CH 0.0044
        (standard errors below 0.00015), FS 0.0136 (0.0003).
        """
        return CONSTRAINTS[self.firing_class]

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Features of one parameter set, scalars that are finite also where the neuron is silent.

        Returns:
            ``voltage_base``: mean voltage of the last tenth of the rest before the step [mV];
            ``first_isi``: the first interspike interval [ms], the step's duration for fewer than
            two spikes; and those of `train_features`, timed by the crossing of the peak.
        """
        a, b = values["a"], values["b"]

        def advance(v: Array, u: Array, current: float) -> tuple[Array, Array, Array, Array]:
            slope = (0.04 * v + 5.0) * v + (140.0 + current) - u
            rising = v + DT * slope
            spiked = rising >= PEAK
            since = (PEAK - v) / slope
            u = u + DT * a * (b * v - u)
            u = jnp.where(spiked, u + values["d"], u)
            return jnp.where(spiked, values["c"], rising), u, spiked, since

        def rest(carry: tuple[Array, Array, Array], none: None) -> tuple[Any, None]:
            v, u, total = carry
            v, u, _, _ = advance(v, u, 0.0)
            return (v, u, total + v), none

        def step(carry: tuple[Any, ...], none: None) -> tuple[Any, None]:
            number, v, u, train, first_isi = carry
            v, u, spiked, since = advance(v, u, CURRENT)
            time = number.astype(v.dtype) * DT + since
            first_isi = jnp.where(spiked & (train.spikes == 1.0), time - train.first, first_isi)
            seen = jnp.where(spiked, PEAK, v), v
            return (number + 1, v, u, observed(train, spiked, time, seen), first_isi), none

        v = jnp.full_like(a, -65.0)
        zero = jnp.zeros_like(v)
        state = (v, b * v, zero)
        state, _ = jax.lax.scan(rest, state, None, length=round(0.9 * REST / DT), unroll=4)
        first = state[0]
        state = (state[0], state[1], first)
        tenth = round(0.1 * REST / DT)
        (v, u, total), _ = jax.lax.scan(rest, state, None, length=tenth, unroll=4)
        start = (jnp.zeros((), jnp.int32), v, u, silent_train(v, STEP), zero + STEP)
        carry, _ = jax.lax.scan(step, start, None, length=round(STEP / DT), unroll=4)
        train: SpikeTrain = carry[3]
        return {
            "voltage_base": total / (tenth + 1),
            "first_isi": carry[4],
            **train_features(train, STEP),
        }
