"""Moves along random lines through the region."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.noise import Noise
from ax_jax_runners.exploration.proposals import Allowance, Suggestion, direction, one_each
from ax_jax_runners.exploration.state import Line, WalkState


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
            one_each(state),
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
