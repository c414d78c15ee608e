"""The walk of one arm: its options, its state, and its way through a budget of ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.counters import threefry
from ax_jax_runners.exploration.expedition import iteration_of
from ax_jax_runners.exploration.running import advance, begin, warm_up
from ax_jax_runners.exploration.state import WalkState
from ax_jax_runners.tasks.random_walk.packing import pack, unpack

#: Where the names of the packed walk's arrays begin, among those of the arm's state.
_WALK = "walk"


@dataclass(frozen=True)
class WalkArm:
    """One arm.

    Attributes:
        walk: With the arm's kernel, steps and adaptation.
        seed_point: (d,), physical units.
        particles: How many walk.
        ticks: Budget of each particle: in every tick all of them evaluate one point.
    """

    walk: RandomWalk
    seed_point: tuple[float, ...]
    particles: int
    ticks: int

    @property
    def rows(self) -> int:
        """Most states that a particle can record."""
        return self.ticks // self.walk.thin

    def begin(self, key: Array) -> dict[str, np.ndarray]:
        """Return the arm's state before any work.

        Args:
            key: A typed PRNG key.

        Raises:
            SeedPointOutside: The seed point is not inside.
        """
        walk = self.walk
        theta = np.tile(np.asarray(self.seed_point, dtype=np.float64), (self.particles, 1))
        state = begin(
            walk.program,
            theta,
            _particle_keys(np.asarray(jax.random.key_data(key)), self.particles),
            iteration=-walk.warm_up_iterations,
            step=(walk.min_step_size, walk.largest_step),
        )
        shape = (self.rows, *np.shape(state.unit))
        history = np.full(shape, np.nan, np.asarray(state.unit).dtype)
        return {
            "unit": history,
            "violation": history[:, 0].copy(),
            **{f"{_WALK}{name}": leaf for name, leaf in pack(state).items()},
        }

    def advance(self, arrays: Mapping[str, np.ndarray], tick: int) -> dict[str, np.ndarray]:
        """Return the arm's state when every particle is at a tick, or has stopped."""
        state = self.state(arrays)
        walk = self.walk
        unit, violation = arrays["unit"].copy(), arrays["violation"].copy()
        state = self._warmed(state, tick)
        at = iteration_of(state)
        if at is not None and at >= 0:
            # No particle does more iterations than ticks.
            behind = tick - int(np.asarray(state.tick).min())
            target = int(np.asarray(state.iteration).max()) + behind
            state, segment = advance(walk.program, state, target, thin=walk.thin, last_tick=tick)
            if segment is not None:
                first = segment.start // walk.thin
                count = min(segment.rows, self.rows - first)
                there = np.isfinite(segment.violation[:count])
                piece = slice(first, first + count)
                violation[piece] = np.where(there, segment.violation[:count], violation[piece])
                unit[piece] = np.where(there[:, None], segment.unit[:count], unit[piece])
        packed = {f"{_WALK}{name}": leaf for name, leaf in pack(state).items()}
        return {"unit": unit, "violation": violation, **packed}

    def state(self, arrays: Mapping[str, np.ndarray]) -> WalkState:
        """Return the walk's state."""
        packed = {
            name.removeprefix(_WALK): leaf
            for name, leaf in arrays.items()
            if name.startswith(_WALK)
        }
        return unpack(packed, self.walk.program.features)

    def _warmed(self, state: WalkState, tick: int) -> WalkState:
        at = iteration_of(state)
        if at is None or at >= 0:
            return state
        return warm_up(self.walk.program, state, self.walk.plan, 0, last_tick=tick)


def _particle_keys(words: np.ndarray, particles: int) -> np.ndarray:
    """Return keys (2, P) of the particles of an arm's key (its last two words)."""
    number = np.arange(particles, dtype=np.uint32)
    first, second = (np.full(particles, word, np.uint32) for word in words[-2:])
    made = threefry((first, second), (number, np.zeros_like(number)))
    return np.stack([np.asarray(word) for word in made])
