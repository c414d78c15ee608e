"""FitzHugh-Nagumo model of an excitable cell, in its dimensionless form.

    dv/dt = v - v^3 / 3 - w + I,   dw/dt = eps (v + a - b w)

(FitzHugh 1961, Biophysical Journal 1, 445-466; Nagumo, Arimoto and Yoshizawa 1962, Proceedings of
the IRE 50, 2061-2070). For b <= 1 it has one fixed point, and it oscillates where that has lost its
stability in a Hopf bifurcation: where 1 - v^2 > eps b there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.constraints import Constraint
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.neurons.spikes import (
    observed,
    silent_train,
    train_features,
    upstroke,
)

CURRENT = 0.5
DT = 0.1
TRANSIENT, DURATION = 200.0, 200.0  # before, and while the oscillation is observed
BLOCK = 4  # steps observed together

SPACE = ParameterSpace(
    [
        Parameter("a", lower=0.0, upper=1.2),
        Parameter("b", lower=0.1, upper=1.0),
        Parameter("eps", lower=0.01, upper=0.5, log_scale=True),
    ]
)
SEED_POINT = {"a": 0.7, "b": 0.8, "eps": 0.08}
CONSTRAINTS = (
    Constraint("frequency", mean=0.0253, sd=0.0005, cutoff=2.0),
    Constraint("amplitude", mean=1.91, sd=0.02, cutoff=2.0),
    Constraint("maximum", mean=1.85, sd=0.02, cutoff=2.0),
)


@dataclass(frozen=True)
class FitzHughNagumo:
    """Oscillation of one cell under a constant current of 0.5. Called as a simulator."""

    @property
    def space(self) -> ParameterSpace:
        """The three parameters and the box in which they are searched."""
        return SPACE

    def evaluator(self, dtype: str = "float64", chunk: int = 64) -> FeatureEvaluator:
        """The features as functions of the parameters."""
        return FeatureEvaluator(self, SPACE, dtype=dtype, chunk=chunk)

    @property
    def seed_point(self) -> dict[str, float]:
        """The parameters of FitzHugh's neuron, which meet the constraints."""
        return dict(SEED_POINT)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """A full oscillation with the period of FitzHugh's neuron.

        Inside is 0.0024 of the box (60,000 uniform points; standard error 0.0002). A cell at rest
        is judged by where it rests.
        """
        return CONSTRAINTS

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Features of one parameter set after the transient, scalars that are always finite.

        Returns:
            ``oscillations``: upward crossings of v = 0; ``period``: their mean interval, the
            observed duration for fewer than two; ``frequency``: its inverse, and the number of
            crossings over the duration for fewer than two; ``period_cv``: the intervals'
            coefficient of variation, 0 for fewer than two; ``maximum`` and ``minimum`` of v, the
            minimum since the first crossing; and ``amplitude``, half the difference of these two.
        """
        a, b, eps = values["a"], values["b"], values["eps"]

        def slopes(v: Array, w: Array) -> tuple[Array, Array]:
            return v - v * v * v * (1.0 / 3.0) - w + CURRENT, eps * (v + a - b * w)

        def advance(state: tuple[Array, Array]) -> tuple[Array, Array]:
            """One step of the classical Runge-Kutta method of fourth order."""
            v, w = state
            v1, w1 = slopes(v, w)
            v2, w2 = slopes(v + 0.5 * DT * v1, w + 0.5 * DT * w1)
            v3, w3 = slopes(v + 0.5 * DT * v2, w + 0.5 * DT * w2)
            v4, w4 = slopes(v + DT * v3, w + DT * w3)
            v = v + (DT / 6.0) * (v1 + 2.0 * (v2 + v3) + v4)
            return v, w + (DT / 6.0) * (w1 + 2.0 * (w2 + w3) + w4)

        def settle(state: tuple[Array, Array], none: None) -> tuple[tuple[Array, Array], None]:
            return advance(state), none

        def block(carry: tuple[Any, ...], none: None) -> tuple[Any, None]:
            number, state, train = carry
            before, voltages = state[0], []
            for _ in range(BLOCK):
                state = advance(state)
                voltages.append(state[0])
            spiked, since = upstroke(before, voltages, 0.0, DT)
            time = number.astype(before.dtype) * (BLOCK * DT) + since
            return (number + 1, state, observed(train, spiked, time, voltages)), none

        start = (jnp.full_like(a, -1.0), jnp.full_like(a, -0.5))
        length = round(TRANSIENT / DT)
        state, _ = jax.lax.scan(settle, start, None, length=length, unroll=BLOCK)
        carry = (jnp.zeros((), jnp.int32), state, silent_train(state[0], DURATION))
        length = round(DURATION / (BLOCK * DT))
        (_, _, train), _ = jax.lax.scan(block, carry, None, length=length)
        features = train_features(train, DURATION)
        return {
            "oscillations": train.spikes,
            "period": features["mean_isi"],
            "frequency": 1e-3 * features["rate"],
            "period_cv": features["isi_cv"],
            "maximum": train.peak,
            "minimum": train.trough,
            "amplitude": 0.5 * (train.peak - train.trough),
        }
