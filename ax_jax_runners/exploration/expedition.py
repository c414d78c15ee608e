"""One run of a walk: warm-up, checkpoints and the way back in after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.exploration.archive import Checkpoint, WalkArchive
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
        with reporting(total, len(self.theta), progress) as report:
            if directory is None:
                kept: list[Segment] = []
                state = self._go(self.begin(), kept.append, report)
                return WalkResult(walk, self.seed_points, self.particles, state, tuple(kept))
            with self._open(directory) as archive:
                state = self._resume(archive)
                saver = _Saver(self, archive, state)
                state = self._go(state, saver.take, report, saver.note)
                saver.save(state)
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
    ) -> WalkState:
        """Walk from checkpoint to checkpoint to the end."""
        walk = self.walk
        at = iteration_of(state)
        while at is not None and at < walk.n_iterations:
            target = self._next(at)
            if at < 0:
                state = warm_up(walk.program, state, walk.plan, target)
            else:
                state, segment = advance(walk.program, state, target, thin=walk.thin)
                if segment is not None:
                    take(segment)
            state = finish(state, walk.n_iterations)
            note(state)
            report(target + walk.warm_up_iterations)
            at = iteration_of(state)
        return state

    def _next(self, at: int) -> int:
        """Return where the piece that begins at an iteration ends."""
        every = min(self.walk.checkpoint_every, self._affordable)
        if at < 0:
            return min(0, at + every)
        thin = self.walk.thin
        every = thin if at % thin else -(-every // thin) * thin
        return min(self.walk.n_iterations, (at // every + 1) * every)

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
