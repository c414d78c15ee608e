"""Gradient training of strategies: several parameter sets side by side, every step a checkpoint.

One trial begins at a starting point and at copies of it that are shifted in the raw coordinates of
the parameters, and follows the gradient of the train measure with Adam in these coordinates. Every
step evaluates all sets, and every evaluation is a checkpoint: the best one by the train measure
among those whose validation measure is high enough is what the trial found. The gradient never
sees the validation window, and neither sees the test window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Parameter, ParameterSpace

RATE = "learning_rate"
EVALUATIONS = "evaluations"
_BEST = "best_"


def _adam() -> Any:
    import optax

    return optax.scale_by_adam()


@dataclass(frozen=True)
class GradientTraining:
    """A training as functions of one arm, for a stepwise task; equal by its contents.

    An arm is a starting point and ``learning_rate``, the step of Adam in raw coordinates.

    Attributes:
        measures: JAX function of the parameters by name to measures by name.
        parameters: What is trained; every free parameter has a bijector.
        names: Measures that are reported of the best checkpoint.
        objective: The measure that is maximised.
        constraint: The measure that must be at least ``threshold`` in the checkpoint chosen.
        threshold: See there.
        sets: Parameter sets of one arm; the first begins at the arm itself.
        jitter: Standard deviation of the others' shifts in raw coordinates.
        steps: Gradient steps of an arm.
        steps_per_slice: Of them between two reports.
        patience: Slices without a better validation measure after which an arm ends early; None:
            it goes on.
    """

    measures: Callable[[Mapping[str, Any]], Mapping[str, Array]]
    parameters: ParameterSpace
    names: tuple[str, ...]
    objective: str = "train_sharpe"
    constraint: str = "validation_sharpe"
    threshold: float = 0.0
    sets: int = 4
    jitter: float = 1.0
    steps: int = 100
    steps_per_slice: int = 10
    patience: int | None = 4

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigurationError: One that cannot be used.
        """
        counts = {"sets": self.sets, "steps": self.steps, "steps_per_slice": self.steps_per_slice}
        if self.patience is not None:
            counts["patience"] = self.patience
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigurationError(f"{name} is {count!r}; give a whole number from 1.")
        if isinstance(self.jitter, bool) or not 0 <= self.jitter < np.inf:
            raise ConfigurationError(f"jitter is {self.jitter!r}; give a number of at least 0.")
        for name in (self.objective, self.constraint):
            if name not in self.names:
                raise ConfigurationError(
                    f"{name!r} is not among the measures that are reported, "
                    f"{', '.join(self.names)}; report it too."
                )

    @property
    def space(self) -> ParameterSpace:
        """What an arm gives: a starting point and a learning rate."""
        rate = Parameter(RATE, lower=0.01, upper=1.0, log_scale=True)
        return ParameterSpace([*self.parameters.parameters, rate])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The measures of the best checkpoint, its parameters, and the evaluations until now."""
        return (*self.names, *(_BEST + name for name in self.parameters.names), EVALUATIONS)

    def begin(self, values: Mapping[str, Any], key: Array) -> dict[str, Any]:
        """Return the state of one arm before its first step; traceable."""
        theta = jnp.stack([jnp.asarray(values[name]) for name in self.parameters.names])
        start = self.parameters.to_raw(theta)
        shifts = self.jitter * jax.random.normal(key, (self.sets, *start.shape), start.dtype)
        raw = start + shifts.at[0].set(0.0)
        unknown = jnp.full((), jnp.nan, start.dtype)
        slices = -(-self.steps // self.steps_per_slice)
        return {
            "raw": raw,
            "optimiser": _adam().init(raw),
            "rate": jnp.asarray(values[RATE], start.dtype),
            "step": jnp.zeros((), jnp.int32),
            "slice": jnp.zeros((), jnp.int32),
            "waited": jnp.zeros((), jnp.int32),
            "highest": jnp.full((), -jnp.inf, start.dtype),
            "best": {
                "feasible": jnp.zeros((), bool),
                "score": jnp.full((), -jnp.inf, start.dtype),
                "raw": start,
                "measures": dict.fromkeys(self.names, unknown),
            },
            # Objective and constraint of every set at the last step of every slice.
            "curve": jnp.full((slices, self.sets, 2), jnp.nan, start.dtype),
        }

    def advance(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state after one slice more; traceable."""
        steps = jnp.minimum(self.steps_per_slice, self.steps - state["step"])
        last = jnp.zeros(state["curve"].shape[1:], state["curve"].dtype)
        highest = state["highest"]
        state, last = jax.lax.fori_loop(0, steps, lambda _, now: self._step(now[0]), (state, last))
        return {
            **state,
            "slice": state["slice"] + 1,
            "waited": jnp.where(state["highest"] > highest, 0, state["waited"] + 1),
            "curve": state["curve"].at[state["slice"]].set(last),
        }

    def report(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of one arm; traceable."""
        best, step = state["best"], state["step"]
        theta = self.parameters.to_value(best["raw"])
        found = {name: best["measures"][name] for name in self.names}
        chosen = {_BEST + name: theta[i] for i, name in enumerate(self.parameters.names)}
        spent = {EVALUATIONS: (step * self.sets).astype(theta.dtype)}
        done = step >= self.steps
        if self.patience is not None:
            done = done | (state["waited"] >= self.patience)
        return {
            "step": step,
            "done": done,
            # Nothing in a training is random but its beginning.
            "outputs": {name: (value, 0.0) for name, value in {**found, **chosen, **spent}.items()},
            "arrays": {"curve": state["curve"], "theta": self.parameters.to_value(state["raw"])},
        }

    def _measured(self, raw: Array) -> tuple[Array, dict[str, Array]]:
        found = self.measures(self.parameters.traced(self.parameters.to_value(raw)))
        return found[self.objective], {name: found[name] for name in self.names}

    def _step(self, state: dict[str, Any]) -> tuple[dict[str, Any], Array]:
        """Evaluate all sets, keep the best, move them; with objective and constraint of each."""
        gradient_of = jax.vmap(jax.value_and_grad(self._measured, has_aux=True))
        (_, measures), gradient = gradient_of(state["raw"])
        objective, constraint = measures[self.objective], measures[self.constraint]
        best = self._better(state["best"], state["raw"], measures)
        # A set that left the region where the gradient is a number stays where it is.
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        moves, optimiser = _adam().update(gradient, state["optimiser"])
        state = {
            **state,
            "raw": state["raw"] + state["rate"] * moves,
            "optimiser": optimiser,
            "step": state["step"] + 1,
            "best": best,
            # A maximum would pass a NaN on.
            "highest": jnp.fmax(
                state["highest"], jnp.max(jnp.nan_to_num(constraint, nan=-jnp.inf))
            ),
        }
        return state, jnp.stack([objective, constraint], axis=-1)

    def _better(self, best: dict[str, Any], raw: Array, measures: dict[str, Array]) -> Any:
        """The best of what was best and all sets; the earliest of equal ones, never a NaN.

        Sets that keep the constraint go by the objective and before all others, which go by the
        constraint.
        """
        objective, constraint = measures[self.objective], measures[self.constraint]
        known = jnp.isfinite(jnp.stack(list(measures.values()))).all(axis=0)
        feasible = known & (constraint >= self.threshold)
        some = feasible.any()
        eligible = jnp.where(some, feasible, known)
        score = jnp.where(eligible, jnp.where(some, objective, constraint), -jnp.inf)
        place = jnp.argmax(score)
        higher = score[place] > best["score"]
        wins = eligible[place] & (
            (some & ~best["feasible"]) | ((some == best["feasible"]) & higher)
        )
        found = {
            "feasible": some,
            "score": score[place],
            "raw": raw[place],
            "measures": {name: values[place] for name, values in measures.items()},
        }
        return jax.tree.map(lambda new, old: jnp.where(wins, new, old), found, best)
