"""What a kernel is, and what kernels make their proposals from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.noise import Noise
from ax_jax_runners.exploration.state import Line, WalkState

#: Says which proposals (k, P) may be evaluated after the points of a state.
Allowance = Callable[[WalkState, Array], Array]


@dataclass(frozen=True)
class Suggestion:
    """What a kernel proposes in one tick.

    Attributes:
        proposal: (k, P).
        admissible: (P,) bool: whether it may be evaluated.
        count: (P,), suggestions that it took.
        line: The move that it belongs to, for the hit-and-run kernel.
    """

    proposal: Array
    admissible: Array
    count: Array
    line: Any = None


class Kernel(Protocol):
    """A law of proposals; frozen and without state of its own.

    Attributes:
        name: What a user calls it.
        candidates: Proposals drawn in one tick.
        lockstep: Whether every tick completes an iteration.
        diagonal: Whether only axis-parallel shapes keep its proposals symmetric.
    """

    @property
    def name(self) -> str: ...

    @property
    def candidates(self) -> int: ...

    @property
    def lockstep(self) -> bool: ...

    @property
    def diagonal(self) -> bool: ...

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose one point for every particle."""
        ...

    def settle(
        self, state: WalkState, suggestion: Suggestion, inside: Array
    ) -> tuple[Array, Line | None]:
        """Say which iterations (P,) are over, and what remains of those that are not."""
        ...


def direction(state: WalkState, normals: Array) -> Array:
    """Return isotropic unit vectors (k, P), or those shaped by the state's factor."""
    length = jnp.sqrt(jnp.sum(normals * normals, axis=0))
    # One pair of normal numbers in 2**24 is (0, 0): no step, rather than none for ever.
    unit = normals / jnp.where(length > 0, length, 1)
    if state.factor is None:
        return unit
    if state.factor.ndim == 2:
        return state.factor * unit
    return jnp.sum(state.factor * unit[None], axis=1)


def movement(state: WalkState, normals: Array, uniforms: Array, course: Course) -> Array:
    """Return steps (k, P): of uniform size between the smallest and the largest."""
    size = state.step[0] + uniforms * (state.step[1] - state.step[0])
    return course.steer(state.unit, direction(state, normals) * size)


def one_each(state: WalkState) -> Array:
    """Return the count of kernels that make one suggestion a tick."""
    return jnp.ones(state.tick.shape, dtype=jnp.uint32)
