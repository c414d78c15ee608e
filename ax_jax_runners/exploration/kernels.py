"""How a particle proposes its next point, and when an iteration is over.

A proposal that lies inside is taken, else the particle stays: with a proposal density that is
symmetric in both points this leaves the uniform law on the region as it is. ``redraw`` is the
exception. It is what explorations by random walk used to do, and samples a density proportional to
the probability that a proposal from there lies in the search box: half at a face, 2**-n in a corner
of n faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.state import Line, WalkState

#: Says which proposals (k, P) may be evaluated after the points of a state.
Allowance = Callable[[WalkState, Array], Array]


@dataclass(frozen=True)
class Noise:
    """Random numbers of one tick for C candidates of P particles.

    Attributes:
        normals: (C, k, P), standard normal.
        uniforms: (2, C, P), uniform on [0, 1).
    """

    normals: Array
    uniforms: Array


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
        uniform: Whether it samples the region uniformly.
        diagonal: Whether only axis-parallel shapes keep its proposals symmetric.
    """

    @property
    def name(self) -> str: ...

    @property
    def candidates(self) -> int: ...

    @property
    def lockstep(self) -> bool: ...

    @property
    def uniform(self) -> bool: ...

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


def _one(state: WalkState) -> Array:
    return jnp.ones(state.tick.shape, dtype=jnp.uint32)


@dataclass(frozen=True)
class SelfLoop:
    """A proposal outside the search box is a rejection."""

    name: str = "self_loop"
    candidates: int = 1
    lockstep: bool = True
    uniform: bool = True
    diagonal: bool = False

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose the point one step away."""
        step = movement(state, noise.normals[0], noise.uniforms[0, 0], course)
        proposal = state.unit + step
        return Suggestion(proposal, allows(state, proposal), _one(state))

    def settle(
        self, state: WalkState, suggestion: Suggestion, inside: Array
    ) -> tuple[Array, Line | None]:
        """Every tick is an iteration."""
        return jnp.ones_like(inside), None


@dataclass(frozen=True)
class Reflect:
    """A proposal outside the search box is folded back at its faces.

    Folding changes signs of single coordinates, so a step must be as probable with any of its
    signs: isotropic, or with a diagonal shape.
    """

    name: str = "reflect"
    candidates: int = 1
    lockstep: bool = True
    uniform: bool = True
    diagonal: bool = True

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose the point one step away, folded into the box."""
        step = movement(state, noise.normals[0], noise.uniforms[0, 0], course)
        beyond = state.unit + step
        proposal = jnp.abs(beyond - 2 * jnp.round(beyond / 2))
        return Suggestion(proposal, allows(state, proposal), _one(state))

    def settle(
        self, state: WalkState, suggestion: Suggestion, inside: Array
    ) -> tuple[Array, Line | None]:
        """Every tick is an iteration."""
        return jnp.ones_like(inside), None


@dataclass(frozen=True)
class Redraw:
    """Steps are drawn until one is admissible; only that one is evaluated.

    Several are drawn in one tick, since particles near the faces need many where others need one.
    """

    name: str = "redraw"
    candidates: int = 8
    lockstep: bool = False
    uniform: bool = False
    diagonal: bool = False

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose the first admissible one of the candidates."""
        proposal = state.unit
        found = jnp.zeros(state.tick.shape, dtype=bool)
        count = jnp.zeros(state.tick.shape, dtype=jnp.uint32)
        for c in range(self.candidates):
            step = movement(state, noise.normals[c], noise.uniforms[0, c], course)
            candidate = state.unit + step
            count = count + (~found).astype(jnp.uint32)
            good = ~found & allows(state, candidate)
            proposal = jnp.where(good, candidate, proposal)
            found = found | good
        return Suggestion(proposal, found, count)

    def settle(
        self, state: WalkState, suggestion: Suggestion, inside: Array
    ) -> tuple[Array, Line | None]:
        """An iteration is over when a proposal was evaluated."""
        return suggestion.admissible, None


@dataclass(frozen=True)
class HitAndRun:
    """A point of the chord through the particle, from a bracket that shrinks until it is inside.

    The direction is random, the bracket is the chord of the search box or, with a largest step
    size, an interval of that length laid at random over the particle. A point that is outside
    becomes the bracket's end on its side (the shrinking of slice sampling, Neal 2003), which keeps
    the uniform law on regions of any shape.
    """

    name: str = "hit_and_run"
    candidates: int = 1
    lockstep: bool = False
    uniform: bool = True
    diagonal: bool = False

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose a point of the bracket; a new move begins with a new direction."""
        line = self._line(state, noise)
        where = line.lower + noise.uniforms[0, 0] * (line.upper - line.lower)
        proposal = state.unit + where * line.direction
        return Suggestion(
            proposal,
            allows(state, proposal),
            _one(state),
            Line(
                line.direction,
                jnp.where(where < 0, where, line.lower),
                jnp.where(where < 0, line.upper, where),
                line.open,
            ),
        )

    def settle(
        self, state: WalkState, suggestion: Suggestion, inside: Array
    ) -> tuple[Array, Line | None]:
        """An iteration is over at an inside point, or when the bracket has shrunk to nothing."""
        line = suggestion.line
        resolution = 4 * jnp.finfo(state.unit.dtype).eps
        length = jnp.sqrt(jnp.sum(line.direction**2, axis=0))
        complete = inside | ((line.upper - line.lower) * length < resolution)
        return complete, Line(line.direction, line.lower, line.upper, ~complete)

    def _line(self, state: WalkState, noise: Noise) -> Line:
        new = direction(state, noise.normals[0])
        slope = jnp.where(new == 0, jnp.finfo(new.dtype).tiny, new)
        to_zero, to_one = -state.unit / slope, (1 - state.unit) / slope
        longest = state.step[1]
        start = -noise.uniforms[1, 0] * longest
        lower = jnp.maximum(jnp.max(jnp.minimum(to_zero, to_one), axis=0), start)
        upper = jnp.minimum(jnp.min(jnp.maximum(to_zero, to_one), axis=0), start + longest)
        old = state.line
        if old is None:
            return Line(new, lower, upper, jnp.ones_like(lower, dtype=bool))
        return Line(
            jnp.where(old.open, old.direction, new),
            jnp.where(old.open, old.lower, lower),
            jnp.where(old.open, old.upper, upper),
            jnp.ones_like(old.open),
        )


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel for kernel in (SelfLoop(), Reflect(), Redraw(), HitAndRun())
}


def choose_kernel(name: str, course: Course, *, adapt: bool) -> Kernel:
    """Return the kernel of a name; ``"auto"``: one that is uniform on the region.

    Raises:
        ConfigurationError: An unknown name, or a kernel that cannot follow the course.
    """
    if name == "auto":
        # Reflection wastes nothing at the faces, but follows no correlations and no course.
        name = "reflect" if course.free and not adapt else "self_loop"
    if not isinstance(name, str) or name not in KERNELS:
        raise ConfigurationError(
            f"kernel is {name!r}; choose 'auto' or one of {', '.join(map(repr, KERNELS))}."
        )
    if name == "hit_and_run" and course.aims:
        raise ConfigurationError(
            "hit_and_run takes any point of a chord and cannot be aimed; walk to aim_params with "
            "'self_loop', 'reflect' or 'redraw'."
        )
    return KERNELS[name]
