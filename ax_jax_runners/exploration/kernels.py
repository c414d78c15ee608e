"""How a particle proposes its next point, and when an iteration is over.

A proposal that lies inside is taken, else the particle stays: with a proposal density that is
symmetric in both points this leaves the uniform law on the region as it is. ``redraw`` is the
exception. It is what explorations by random walk used to do, and samples a density proportional to
the probability that a proposal from there lies in the search box: half at a face, 2**-n in a corner
of n faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.hit_and_run import HitAndRun
from ax_jax_runners.exploration.noise import Noise
from ax_jax_runners.exploration.proposals import (
    Allowance,
    Kernel,
    Suggestion,
    movement,
    one_each,
)
from ax_jax_runners.exploration.state import Line, WalkState


@dataclass(frozen=True)
class Step:
    """A proposal is one step away; outside the search box it is a rejection, or folded back.

    Folding at the faces changes signs of single coordinates, so a step must then be as probable
    with any of its signs: isotropic, or with a diagonal shape.

    Attributes:
        folds: Whether it is folded back.
    """

    name: str
    folds: bool
    candidates: int = 1
    lockstep: bool = True

    @property
    def diagonal(self) -> bool:
        """Only a folded step must keep to the axes."""
        return self.folds

    def suggest(
        self, state: WalkState, noise: Noise, course: Course, allows: Allowance
    ) -> Suggestion:
        """Propose the point one step away."""
        step = movement(state, noise.normals[0], noise.uniforms[0, 0], course)
        proposal = state.unit + step
        if self.folds:
            proposal = jnp.abs(proposal - 2 * jnp.round(proposal / 2))
        return Suggestion(proposal, allows(state, proposal), one_each(state))

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


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Step("self_loop", folds=False),
        Step("reflect", folds=True),
        Redraw(),
        HitAndRun(),
    )
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
