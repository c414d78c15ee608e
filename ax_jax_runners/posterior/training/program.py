"""The compiled programs of a training: one for the weights at the beginning, one for an epoch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.encoders import add_observation_noise
from ax_jax_runners.posterior.objectives.protocol import Objective
from ax_jax_runners.posterior.training.at_once import trained_leaves
from ax_jax_runners.posterior.training.averaging import Averaged, blend, evaluated
from ax_jax_runners.posterior.training.optimiser import first_moments, step
from ax_jax_runners.posterior.training.rows import Rows
from ax_jax_runners.posterior.training.schedule import learning_rate

KEY_IMPLEMENTATION = "threefry2x32"
#: What a key is folded with, so that its uses have nothing in common.
_WEIGHTS, _ORDER, _STEPS, _VALIDATION = range(4)
#: Validation rows that are scored at once, and those that the closure is looked at.
_SCORED, _LOOKED_AT = 1024, 256


class Recipe(Protocol):
    """What decides the structure of a model. Frozen and hashable."""

    def build(self, key: Array) -> Any:
        """Return the untrained model, an `equinox.Module`, of a typed key."""
        ...


@dataclass(frozen=True)
class Plan:
    """What of the optimisation decides the structure of a program.

    Attributes:
        batch_size: Rows in a step.
        observation_noise: Whether there is noise on the observations.
        parameter_noise: Whether there is noise on the parameters.
        averaging: Whether a running mean of the weights is kept.
    """

    batch_size: int
    observation_noise: bool = False
    parameter_noise: bool = False
    averaging: bool = False


class EpochRecord(NamedTuple):
    """What a program tells of an epoch of each arm.

    Attributes:
        train_loss: (A,), mean over the rows as their steps came.
        loss: (A, validation rows), what epochs are compared by.
        negative_log_prob: (A, scored rows), of y.
        closure: (A, 3), see `Objective.closure`: two maxima and a mean.
        rate: (A,), learning rate of the last step.
        norm: (A,), mean of the gradients' norms, of the steps that were taken.
        skipped: (A,), steps that were not.
    """

    train_loss: Any
    loss: Any
    negative_log_prob: Any
    closure: Any
    rate: Any
    norm: Any
    skipped: Any


class Weights(NamedTuple):
    """The arrays of a model.

    Attributes:
        trainable: Those that the optimiser steps change.
        fixed: The others.
    """

    trainable: Any
    fixed: Any


@dataclass(frozen=True, eq=False)
class TrainingProgram:
    """Programs of all trainings of one recipe, objective and plan, whatever their numbers.

    Attributes:
        recipe: The model's structure.
        objective: What is minimised.
        plan: The optimisation's structure.
    """

    recipe: Recipe
    objective: Objective
    plan: Plan

    def first_weights(self, key: np.ndarray) -> Weights:
        """Return the weights of arms before any step.

        Args:
            key: (A, 2) uint32, data of the arms' keys.
        """
        parts = [first_weights(self.recipe, row) for row in key]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)

    @functools.cached_property
    def epoch(self) -> Any:
        """Compiled: weights, moments, scales, key data, number of the epoch, data -> the next ones.

        All but the data have the arm axis; see `_epoch`.
        """
        return jax.jit(jax.vmap(self._epoch, in_axes=(0, 0, 0, 0, 0, 0, None, None, None)))

    @functools.cached_property
    def first_moments(self) -> Any:
        """Compiled: weights -> the optimiser's state, both with the arm axis."""
        return jax.jit(jax.vmap(self._first_moments))

    def _first_moments(self, trainable: Any) -> Any:
        moments = first_moments(trainable)
        return Averaged(moments, trainable) if self.plan.averaging else moments

    def _epoch(
        self,
        trainable: Any,
        fixed: Any,
        moments: Any,
        scales: Mapping[str, Array],
        key_data: Array,
        number: Array,
        training: Rows,
        validation: Rows,
        typical: Any,
    ) -> tuple[Any, Any, EpochRecord]:
        key = jax.random.wrap_key_data(key_data, impl=KEY_IMPLEMENTATION)
        rows, size = training.y.shape[0], self.plan.batch_size
        steps = -(-rows // size)
        # One sort where jax.random.permutation takes two, lest equal numbers keep their order; of
        # n rows about n^2 / 2^33 pairs do, which biases nothing that can be measured.
        order_key = jax.random.fold_in(jax.random.fold_in(key, _ORDER), number)
        order = jnp.argsort(jax.random.bits(order_key, (rows,), jnp.uint32))
        # The last batch is filled up with rows that do not count.
        index = jnp.zeros(steps * size, order.dtype).at[:rows].set(order).reshape(steps, size)
        counts = (jnp.arange(steps * size) < rows).astype(jnp.float32).reshape(steps, size)
        step_key = jax.random.fold_in(jax.random.fold_in(key, _STEPS), number)

        def advance(carry: Any, batch: Any) -> Any:
            weights, state = carry
            chosen, count, at = batch
            picked = jax.tree.map(lambda leaf: leaf[chosen], training)
            keys = jax.random.split(jax.random.fold_in(step_key, at), size)
            loss, gradient = jax.value_and_grad(self._batch_loss)(
                weights, fixed, picked, count, keys, scales, typical
            )
            rate = learning_rate(number + at / steps, scales)
            own = state.moments if isinstance(state, Averaged) else state
            weights, own, norm, taken = step(weights, own, gradient, rate, scales)
            if isinstance(state, Averaged):
                decay = scales["average_decay"]
                state = Averaged(own, blend(state.average, weights, own.count, decay))
            else:
                state = own
            told = jnp.where(taken, loss * count.sum(), 0.0), jnp.where(taken, norm, 0.0), taken
            return (weights, state), (told, rate)

        numbers = jnp.arange(steps, dtype=jnp.int32)
        (trainable, moments), ((losses, norms, taken), rates) = jax.lax.scan(
            advance, (trainable, moments), (index, counts, numbers)
        )
        loss, score, closure = self._validate(
            evaluated(trainable, moments), fixed, validation, jax.random.fold_in(key, _VALIDATION)
        )
        worked = jnp.maximum(taken.sum(), 1)
        counted = jnp.maximum(jnp.where(taken, counts.sum(axis=1), 0.0).sum(), 1.0)
        record = EpochRecord(
            losses.sum() / counted,
            loss,
            score,
            closure,
            rates[-1],
            norms.sum() / worked,
            steps - taken.sum(),
        )
        return trainable, moments, record

    def _batch_loss(
        self,
        trainable: Any,
        fixed: Any,
        rows: Rows,
        count: Array,
        keys: Array,
        scales: Mapping[str, Array],
        typical: Any,
    ) -> Array:
        model = assembled(self.recipe, Weights(trainable, fixed))

        def of_row(row: Rows, key: Array) -> Array:
            on_observation, on_parameters, of_loss = jax.random.split(key, 3)
            if self.plan.observation_noise:
                noisy = add_observation_noise(
                    row.observation,
                    on_observation,
                    multiplier=scales["observation_noise"],
                    floor=scales["observation_noise_floor"],
                    typical=typical,
                )
                row = row._replace(observation=noisy)
            if self.plan.parameter_noise:
                noise = jax.random.normal(on_parameters, row.y.shape, row.y.dtype)
                row = row._replace(y=row.y + scales["parameter_noise"] * noise)
            return self.objective.training_loss(model, row, of_loss, scales)

        losses = jax.vmap(of_row)(rows, keys)
        return (losses * count).sum() / count.sum()

    def _validate(
        self, trainable: Any, fixed: Any, validation: Rows, key: Array
    ) -> tuple[Array, Array, Array]:
        model = assembled(self.recipe, Weights(trainable, fixed))
        rows = validation.y.shape[0]
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows))

        def each(function: Callable[..., Array], count: int) -> Array:
            some = jax.tree.map(lambda leaf: leaf[:count], (validation, keys))
            return jax.lax.map(lambda pair: function(*pair), some, batch_size=min(count, _SCORED))

        scored = self.objective.scored_rows
        score = each(
            lambda row, _: -model.log_prob(row.y, model.embed(row.observation)),
            rows if scored is None else min(rows, scored),
        )
        loss = score
        if not self.objective.is_log_density:
            loss = each(lambda row, own: self.objective.validation_loss(model, row, own), rows)
        few = jax.tree.map(lambda leaf: leaf[:_LOOKED_AT], (validation, keys))
        found = jax.vmap(lambda row, own: self.objective.closure(model, row, own))(*few)
        worst = found[:, :2].max(axis=0)
        return loss, score, jnp.append(worst, found[:, 2].mean())


@functools.lru_cache(maxsize=64)
def training_program(recipe: Recipe, objective: Objective, plan: Plan) -> TrainingProgram:
    """Return the programs; equal arguments give the same ones, compiled once in a process."""
    return TrainingProgram(recipe, objective, plan)


def first_weights(recipe: Recipe, key_data: np.ndarray) -> Weights:
    """Return the weights of a model that is not trained.

    Args:
        recipe: Its structure.
        key_data: (2,) uint32, data of an arm's key.
    """
    with jax.enable_x64(False):
        key = jax.random.wrap_key_data(jnp.asarray(key_data), impl=KEY_IMPLEMENTATION)
        model = recipe.build(jax.random.fold_in(key, _WEIGHTS))
        arrays = jax.tree.map(np.asarray, eqx.filter(model, eqx.is_array))
    return Weights(*eqx.partition(arrays, trained_leaves(arrays)))


def assembled(recipe: Recipe, weights: Weights) -> Any:
    """Return the model of a recipe with some weights."""
    return eqx.combine(weights.trainable, weights.fixed, structure(recipe))


@functools.lru_cache(maxsize=64)
def structure(recipe: Recipe) -> Any:
    """Return the model of a recipe without its arrays."""
    # It is asked for while a program is traced, and weights are drawn on the host.
    with jax.ensure_compile_time_eval():
        built = recipe.build(jax.random.key(0, impl=KEY_IMPLEMENTATION))
    return eqx.filter(built, eqx.is_array, inverse=True)
