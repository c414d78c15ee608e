"""What a walk learns in its warm-up: the step size, and the shape of its proposals.

Each particle learns from its own path alone, so that its path depends on no other. Nothing is
learned once sampling has begun: a kernel that goes on learning does not sample uniformly.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.exploration.state import Tuning, WalkState

#: The step of a fresh warm-up, in units of the search box.
FIRST_STEP = 0.2
#: Gains of the stochastic approximation: ``GAIN * n ** -DECAY`` (Robbins & Monro 1951).
GAIN, DECAY = 2.0, 0.6
#: Parts of a warm-up that learns the shape: settle, learn it twice, tune the step to it.
_PARTS = (0.15, 0.2, 0.4, 0.25)
_LEARNING = (False, True, True, False)


@dataclass(frozen=True)
class StepTuning:
    """What a step size is tuned to.

    Attributes:
        acceptance: Share of steps that are to be taken.
        largest: What the largest step never exceeds.
        smallest: What the smallest step never falls below.
        ratio: The smallest step as a share of the largest.
    """

    acceptance: float
    largest: float
    smallest: float
    ratio: float

    def sizes(self, largest: Any) -> Any:
        """Return smallest and largest step, stacked, for a largest one (P,); also traced."""
        xp = np if isinstance(largest, np.ndarray) else jnp
        smallest = xp.minimum(xp.maximum(largest * self.ratio, self.smallest), largest)
        return xp.stack([smallest, largest])


@dataclass(frozen=True)
class Stage:
    """A part of a warm-up.

    Attributes:
        last: The iteration at which it ends; those of a warm-up count up to 0.
        length: Its iterations.
        shape: Whether the shape of proposals is learned from it.
    """

    last: int
    length: int
    shape: bool


def stages(iterations: int, *, adapt: bool) -> tuple[Stage, ...]:
    """Divide a warm-up of so many iterations."""
    if iterations == 0:
        return ()
    if not adapt:
        return (Stage(0, iterations, False),)
    ends = [round(iterations * part) for part in np.cumsum(_PARTS)]
    begins = [0, *ends[:-1]]
    return tuple(
        Stage(end - iterations, end - begin, shape)
        for begin, end, shape in zip(begins, ends, _LEARNING, strict=True)
        if end > begin
    )


def begin_stage(state: WalkState, stage: Stage, *, diagonal: bool) -> WalkState:
    """Return a state (on the host) that is ready to learn."""
    k, particles = np.shape(state.unit)
    kind = np.asarray(state.unit).dtype
    shape = (k, particles) if diagonal else (k, k, particles)
    return dataclasses.replace(
        state,
        tuning=Tuning(
            np.log(np.asarray(state.step[1])).astype(kind),
            np.zeros(particles, kind),
            np.zeros(particles, np.int32),
            np.zeros((k, particles), kind) if stage.shape else None,
            np.zeros(shape, kind) if stage.shape else None,
        ),
    )


def learn(
    before: WalkState,
    after: WalkState,
    complete: Array,
    half: Array,
    *,
    tune: StepTuning | None,
) -> WalkState:
    """Return the state after a tick, with what its completed iterations teach; traced.

    Args:
        before: The state before the tick.
        after: The state after it.
        complete: (P,), which iterations it completed.
        half: Iterations after which the mean of the step is taken.
        tune: How the step is tuned; None: it is given.
    """
    tuning = after.tuning
    if tuning is None:
        return after
    kind = after.unit.dtype
    count = tuning.count + complete.astype(jnp.int32)
    number = jnp.maximum(count, 1).astype(kind)
    log_step, mean_log_step, step = tuning.log_step, tuning.mean_log_step, after.step
    if tune is not None:
        moved = (after.moves > before.moves).astype(kind)
        stepped = log_step + GAIN * number ** (-DECAY) * (moved - tune.acceptance)
        stepped = jnp.minimum(stepped, math.log(tune.largest))
        log_step = jnp.where(complete, stepped, log_step)
        weight = 1 / jnp.maximum(count - half, 1).astype(kind)
        gap = jnp.where(complete & (count > half), log_step - mean_log_step, 0)
        mean_log_step = mean_log_step + gap * weight
        step = tune.sizes(jnp.exp(log_step))
    mean, scatter = tuning.mean, tuning.scatter
    if mean is not None and scatter is not None:
        deviation = after.unit - mean
        mean = mean + jnp.where(complete, deviation / number, 0)
        from_new = jnp.where(complete, after.unit - mean, 0)
        product = from_new if scatter.ndim == 2 else from_new[None]
        scatter = scatter + (deviation if scatter.ndim == 2 else deviation[:, None]) * product
    return dataclasses.replace(
        after,
        step=step,
        tuning=Tuning(log_step, mean_log_step, count, mean, scatter),
    )


def end_stage(state: WalkState, stage: Stage, *, tune: StepTuning | None) -> WalkState:
    """Return a state (on the host) that uses what a stage has taught.

    Args:
        state: At the end of the stage.
        stage: The stage.
        tune: How the step is tuned; None: it stays as it is.
    """
    tuning = state.tuning
    if tuning is None:
        return state
    kind = np.asarray(state.unit).dtype
    step, factor = np.asarray(state.step), state.factor
    if tune is not None:
        step = tune.sizes(np.exp(np.asarray(tuning.mean_log_step, np.float64))).astype(kind)
    if stage.shape:
        factor = _factor(np.asarray(tuning.scatter, np.float64), np.asarray(tuning.count))
        factor = factor.astype(kind)
    return dataclasses.replace(state, step=step, factor=factor, tuning=None)


def _factor(scatter: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return factors (k, k, P) or (k, P) of the shrunk covariances, of mean square 1 a coordinate.

    A particle has seen few independent points, so its covariance is drawn towards its diagonal, and
    the diagonal towards its mean.
    """
    k = scatter.shape[0]
    number = np.maximum(count, 2).astype(np.float64)
    diagonal = scatter if scatter.ndim == 2 else np.einsum("iip->ip", scatter)
    variance = diagonal / (number - 1)
    level = variance.mean(axis=0)
    moved = level > 0
    level = np.where(moved, level, 1.0)
    trust = number / (number + 5.0)
    variance = trust * variance + (1 - trust) * 1e-2 * level
    if scatter.ndim == 2:
        return np.where(moved, np.sqrt(variance / variance.mean(axis=0)), 1.0)
    # Covariances are drawn in at least as far as variances, or the sum were not positive definite.
    shrunk = scatter / (number - 1) * trust * (number / (number + k))
    matrices = np.moveaxis(shrunk, -1, 0).copy()
    places = np.arange(k)
    matrices[:, places, places] = variance.T
    matrices[~moved] = np.eye(k)
    matrices /= np.trace(matrices, axis1=1, axis2=2)[:, None, None] / k
    # One matrix at a time: the same bits whoever else is there.
    return np.stack([np.linalg.cholesky(matrix) for matrix in matrices], axis=-1)


def largest_step(dimension: int) -> float:
    """Return the largest step that makes a difference: it crosses the box in every coordinate."""
    return 2.0 * math.sqrt(dimension)
