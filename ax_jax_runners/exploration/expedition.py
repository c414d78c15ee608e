"""One run of a walk: warm-up, checkpoints and the way back in after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.archive import Checkpoint, WalkArchive
from ax_jax_runners.exploration.pace import Pace
from ax_jax_runners.exploration.progress import Report, reporting
from ax_jax_runners.exploration.result import WalkResult
from ax_jax_runners.exploration.rows import chain_rows
from ax_jax_runners.exploration.running import advance, begin, finish, particle_keys, warm_up
from ax_jax_runners.exploration.segment import Segment, concatenate
from ax_jax_runners.exploration.state import FINISHED, RUNNING, WalkState, from_arrays, to_arrays
from ax_jax_runners.exploration.walk import RandomWalk, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes of recorded states between two checkpoints, whatever the options say.
_MOST_BYTES = 64 * 2**20
#: Ticks of a particle, and suggestions: evaluations and moves are counted in an int32, suggestions
#: in a uint32.
_MOST_TICKS, _MOST_SUGGESTIONS = 2**31 - 1, 2**32 - 1


@dataclass(frozen=True)
class Expedition:
    """A walk with its seed points and its number of particles.

    Attributes:
        walk: The options.
        seed_points: (n, d), physical units.
        particles: How many begin at each.
    """

    walk: RandomWalk
    seed_points: np.ndarray
    particles: int

    @functools.cached_property
    def theta(self) -> np.ndarray:
        """(P, d), the seed point of every particle."""
        return np.repeat(self.seed_points, self.particles, axis=0)

    def begin(self) -> WalkState:
        """Return all particles at their seed points.

        Raises:
            SeedPointOutside: A seed point that is not inside.
        """
        numbers = seed_sequence(len(self.seed_points), self.particles)
        return begin(
            self.walk.program,
            self.theta,
            particle_keys(self.walk.seed, numbers),
            iteration=-self.walk.warm_up_iterations,
            step=(self.walk.min_step_size, self.walk.largest_step),
        )

    def run(self, directory: str | Path | None, *, progress: bool | None) -> WalkResult:
        """Walk to the end; see `RandomWalk.run`."""
        walk = self.walk
        total = walk.n_iterations + walk.warm_up_iterations
        if total > self._most_ticks:
            raise ConfigurationError(
                f"n_iterations and the warm-up are {total} together; a particle can make at most "
                f"{self._most_ticks} steps. Give fewer, and more particles."
            )
        with reporting(total, len(self.theta), progress) as report:
            if directory is None:
                kept: list[Segment] = []
                state = self._go(self.begin(), kept.append, report)
                self._check_ended(state)
                return WalkResult(walk, self.seed_points, self.particles, state, tuple(kept))
            with self._open(directory) as archive:
                state = self._resume(archive)
                saver = _Saver(self, archive, state)
                state = self._go(
                    state, saver.take, report, saver.note, Pace.between(walk.checkpoint_by_time)
                )
                saver.save(state)
                self._check_ended(state)
                view = archive.view
            return WalkResult(walk, self.seed_points, self.particles, state, view)

    def _open(self, directory: str | Path) -> WalkArchive:
        identity = {
            **self.walk.describe(),
            "seed_points": self.seed_points.tolist(),
            "particles": self.particles,
        }
        return WalkArchive.open(
            directory,
            identity=identity,
            concat_every=self.walk.concat_every_n_save,
            thin=self.walk.thin,
        )

    def _resume(self, archive: WalkArchive) -> WalkState:
        latest = archive.latest
        if latest is None:
            return self.begin()
        restored = from_arrays(latest.arrays, self.walk.program.features)
        return unfinished(restored, self.walk.n_iterations)

    def _go(
        self,
        state: WalkState,
        take: Callable[[Segment], None],
        report: Report,
        note: Callable[[WalkState], None] = lambda state: None,
        pace: Pace | None = None,
    ) -> WalkState:
        """Walk from checkpoint to checkpoint to the end, or until all ticks are used up."""
        walk, last_tick = self.walk, self._most_ticks
        at = iteration_of(state)
        while at is not None and at < walk.n_iterations and not self._exhausted(state).any():
            begun = time.monotonic()
            target = self._next(at, walk.checkpoint_every if pace is None else pace.length)
            if at < 0:
                state = warm_up(walk.program, state, walk.plan, target, last_tick=last_tick)
            else:
                state, segment = advance(
                    walk.program, state, target, thin=walk.thin, last_tick=last_tick
                )
                if segment is not None:
                    take(segment)
            state = finish(state, walk.n_iterations)
            if pace is not None:
                pace.note(time.monotonic() - begun)
            note(state)
            report(target + walk.warm_up_iterations)
            at = iteration_of(state)
        return state

    def _next(self, at: int, every: int) -> int:
        """Return where the piece that begins at an iteration ends."""
        every = min(every, self._affordable)
        if at < 0:
            return min(0, at + every)
        thin = self.walk.thin
        every = thin if at % thin else -(-every // thin) * thin
        return min(self.walk.n_iterations, (at // every + 1) * every)

    @property
    def _most_ticks(self) -> int:
        return min(_MOST_TICKS, _MOST_SUGGESTIONS // self.walk.chosen_kernel.candidates)

    def _exhausted(self, state: WalkState) -> np.ndarray:
        """Say which particles have used up their ticks before their end."""
        going = np.asarray(state.status) == RUNNING
        return going & (np.asarray(state.tick) >= self._most_ticks)

    def _check_ended(self, state: WalkState) -> None:
        """Check that all particles came to their ends.

        Raises:
            ConfigurationError: One that used up its ticks.
        """
        exhausted = np.flatnonzero(self._exhausted(state))
        if len(exhausted):
            first = int(exhausted[0])
            raise ConfigurationError(
                f"Particle {first % self.particles} of seed point {first // self.particles} was at "
                f"iteration {int(np.asarray(state.iteration)[first])} of {self.walk.n_iterations} "
                f"when it had made {self._most_ticks} groups of suggestions, all that are counted. "
                "Give fewer n_iterations, and more particles."
            )

    @functools.cached_property
    def _affordable(self) -> int:
        """Iterations whose recorded states take not more memory than is meant for them."""
        program = self.walk.program
        size = program.row_bytes * len(self.theta)
        return max(1, _MOST_BYTES // size) * self.walk.thin


class _Saver:
    """Saves what was recorded when a checkpoint is due."""

    def __init__(self, expedition: Expedition, archive: WalkArchive, state: WalkState) -> None:
        self._expedition, self._archive, self._state = expedition, archive, state
        self._segments: list[Segment] = []
        self._saved = time.monotonic()
        self._unsaved = archive.latest is None

    def take(self, segment: Segment) -> None:
        """Keep a segment for the next checkpoint."""
        self._segments.append(segment)

    def note(self, state: WalkState) -> None:
        """Take note that the walk is here, and save if it is time."""
        self._unsaved = True
        minutes = self._expedition.walk.checkpoint_by_time
        waiting = sum(segment.size for segment in self._segments)
        due = minutes is None or time.monotonic() - self._saved >= 60.0 * minutes
        if due or waiting >= _MOST_BYTES:
            self.save(state)

    def save(self, state: WalkState) -> None:
        """Write what is not written yet."""
        if not self._unsaved:
            return
        given = self._expedition
        iteration = max(0, int(np.asarray(state.iteration).max()))
        finished = iteration_of(state) is None
        facts = {"n_iterations": given.walk.n_iterations, "finished": finished}
        checkpoint = Checkpoint(iteration, to_arrays(state), facts)
        if self._segments:
            segment = concatenate(self._segments)
            rows = chain_rows(segment, given.walk.region.box, given.theta, given.particles)
            self._archive.save(
                rows.columns, checkpoint, parameters=rows.parameters, features=rows.features
            )
        else:
            self._archive.save({}, checkpoint)
        self._segments, self._unsaved, self._saved = [], False, time.monotonic()


def iteration_of(state: WalkState) -> int | None:
    """Return the iteration of the particles that run, at most; None where none does."""
    running = np.asarray(state.status) == RUNNING
    return int(np.asarray(state.iteration)[running].min()) if running.any() else None


def unfinished(state: WalkState, n_iterations: int) -> WalkState:
    """Return a state in which finished particles that have iterations left run again."""
    status = np.asarray(state.status)
    again = (status == FINISHED) & (np.asarray(state.iteration) < n_iterations)
    return dataclasses.replace(state, status=np.where(again, RUNNING, status).astype(np.int32))
