"""Synthetic learning curves: noisy exponential decays towards an asymptote.

    loss(t) = asymptote + offset * exp(-t / time_constant) + noise,  t = 1 .. steps

They are what rules for early stopping can be compared on: curves cross, since a slow one with a
low asymptote begins above a fast one with a high one, and the best at the end is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.problems.base import Problem
from ax_jax_runners.tasks.stepwise import StepwiseTask

SPACE = ParameterSpace(
    [
        Parameter("asymptote", lower=0.0, upper=1.0),
        Parameter("offset", lower=0.5, upper=2.0),
        Parameter("time_constant", lower=5.0, upper=50.0, log_scale=True),
    ]
)


@dataclass(frozen=True)
class LearningCurve:
    """One curve, advanced by some steps a slice.

    Attributes:
        steps: Length of a whole curve.
        steps_per_slice: Steps of one slice; the last one may be shorter.
        noise_sd: Standard deviation of the noise of one reported loss.
    """

    steps: int = 100
    steps_per_slice: int = 5
    noise_sd: float = 0.02

    def begin(self, parameters: Mapping[str, Any], key: Array) -> dict[str, Any]:
        """Return the curve before its first step."""
        return {**parameters, "key": key, "step": 0}

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        """Go on by one slice, at most to the last step."""
        return {**state, "step": jnp.minimum(state["step"] + self.steps_per_slice, self.steps)}

    def report(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the loss with the noise of its step, which only key and step decide."""
        step = state["step"]
        noise = jax.random.normal(jax.random.fold_in(state["key"], step))
        loss = exact_loss(state, step) + self.noise_sd * noise
        return {
            "step": step,
            "done": step >= self.steps,
            "outputs": {"loss": (loss, self.noise_sd)},
        }


def exact_loss(parameters: Mapping[str, Any], step: Any) -> Array:
    """The loss without noise after ``step`` steps, from the three parameters by name."""
    decay = jnp.exp(-step / jnp.asarray(parameters["time_constant"]))
    return parameters["asymptote"] + parameters["offset"] * decay


def build(steps: int = 100, steps_per_slice: int = 5, noise_sd: float = 0.02) -> StepwiseTask:
    """The task of one learning curve for each arm.

    Raises:
        ConfigurationError: Steps that are not whole and positive, or a negative noise.
    """
    for name, value in (("steps", steps), ("steps_per_slice", steps_per_slice)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{name} is {value!r}; give a whole number of at least 1.")
    if isinstance(noise_sd, bool) or not isinstance(noise_sd, (int, float)) or not noise_sd >= 0:
        raise ConfigurationError(f"noise_sd is {noise_sd!r}; give a number of at least 0.")
    curve = LearningCurve(steps, steps_per_slice, float(noise_sd))
    return StepwiseTask(
        SPACE, outputs=("loss",), begin=curve.begin, advance=curve.advance, report=curve.report
    )


PROBLEM = Problem(
    name="learning-curve",
    summary="Noisy exponential learning curves, to compare rules for early stopping on",
    build=build,
    objective="-loss",
    options={
        "steps": "length of a curve; default 100",
        "steps_per_slice": "steps between two reports; default 5",
        "noise_sd": "standard deviation of the noise of a reported loss; default 0.02",
    },
)
