"""What a walk recorded between two checkpoints: dense, with one row for each kept iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.exploration.recording import Record, on_host


@dataclass(frozen=True)
class Segment:
    """n rows of P particles: the chain's state at every kept iteration, repeated where it stayed.

    Attributes:
        start: The iteration before the first; row i is iteration ``start + (i + 1) * thin``.
        thin: Iterations from row to row.
        done: (P,), row at which a particle's end; those that it does not have are NaN.
        unit: (n, k, P), in the search box.
        violation: (n, P).
        features: The simulator's structure, (n, ..., P).
        moves: (n, P) int32, moves so far.
        suggestions: (n, P) uint32, suggestions so far.
    """

    start: int
    thin: int
    done: np.ndarray
    unit: np.ndarray
    violation: np.ndarray
    features: Any
    moves: np.ndarray
    suggestions: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.unit)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        leaves = jax.tree.leaves(
            (self.unit, self.violation, self.features, self.moves, self.suggestions)
        )
        return sum(leaf.nbytes for leaf in leaves)

    @property
    def iterations(self) -> np.ndarray:
        """(n,), the iteration of each row."""
        return self.start + self.thin * np.arange(1, self.rows + 1)


class SegmentBuilder:
    """Takes the records of calls and puts their rows where they belong."""

    def __init__(self, start: int, target: int, thin: int, particles: int) -> None:
        """Prepare for the iterations after ``start`` up to ``target``."""
        self._start, self._thin, self._particles = start, thin, particles
        self._rows = max(0, target - start) // thin
        self._leaves: list[np.ndarray] | None = None
        self._tree: Any = None
        self._done = np.zeros(particles, dtype=np.int64)
        self._first = np.full(particles, self._rows, dtype=np.int64)

    def add(self, record: Record, before: np.ndarray, after: np.ndarray, at: slice) -> None:
        """Add what one call recorded.

        Args:
            record: The rows.
            before: (p,), the iterations of its p particles before it.
            after: (p,), and after it.
            at: Which particles they are; the record may have lanes beyond them.
        """
        if self._rows == 0:
            return
        count = at.stop - at.start
        contents = (
            record.unit,
            record.violation,
            record.features,
            record.moves,
            record.suggestions,
        )
        leaves, tree = jax.tree.flatten(contents)
        leaves = [on_host(leaf)[..., :count] for leaf in leaves]
        if self._leaves is None:
            self._tree = tree
            self._leaves = [
                np.empty((self._rows, *leaf.shape[1:-1], self._particles), leaf.dtype)
                for leaf in leaves
            ]
        first = np.maximum(0, before - self._start) // self._thin
        self._first[at] = np.minimum(self._first[at], first)
        self._done[at] = np.maximum(0, after - self._start) // self._thin
        if record.complete is None:
            self._put_lockstep(leaves, before, after, at)
        else:
            self._put_scattered(leaves, on_host(record.complete)[:, :count], before, at)

    def finish(self) -> Segment | None:
        """Return the segment; None where it has no row."""
        if self._leaves is None:
            return None
        for lane in np.flatnonzero(self._done < self._rows).tolist():
            for leaf in self._leaves:
                leaf[self._done[lane] :, ..., lane] = nothing(leaf.dtype)
        for lane in np.flatnonzero(self._first > 0).tolist():
            for leaf in self._leaves:
                leaf[: self._first[lane], ..., lane] = nothing(leaf.dtype)
        unit, violation, features, moves, suggestions = jax.tree.unflatten(self._tree, self._leaves)
        return Segment(
            self._start, self._thin, self._done, unit, violation, features, moves, suggestions
        )

    def _put_lockstep(
        self, leaves: Sequence[np.ndarray], before: np.ndarray, after: np.ndarray, at: slice
    ) -> None:
        # Particles that go on are all at the same iteration; those that stopped have fewer rows.
        begun, ended = int(before[np.argmax(after)]), int(after.max())
        first = (begun - self._start) // self._thin
        new = (ended - self._start) // self._thin - first
        for target, leaf in zip(self._leaves or [], leaves, strict=True):
            target[first : first + new, ..., at] = leaf[:new]

    def _put_scattered(
        self, leaves: Sequence[np.ndarray], complete: np.ndarray, before: np.ndarray, at: slice
    ) -> None:
        iteration = before + np.cumsum(complete, axis=0)
        kept = complete & (iteration % self._thin == 0)
        tick, lane = np.nonzero(kept)
        row = (iteration[tick, lane] - self._start) // self._thin - 1
        for target, leaf in zip(self._leaves or [], leaves, strict=True):
            moved = np.moveaxis(target, -1, 1)
            moved[row, at.start + lane] = np.moveaxis(leaf, -1, 1)[tick, lane]


def nothing(dtype: Any) -> Any:
    """Return what stands where a particle has no row: NaN, or 0 where there is no NaN."""
    if np.issubdtype(dtype, np.complexfloating):
        return complex(np.nan, np.nan)
    return np.nan if np.issubdtype(dtype, np.inexact) else 0


def concatenate(segments: Sequence[Segment]) -> Segment:
    """Return consecutive segments as one."""
    first = segments[0]
    if len(segments) == 1:
        return first

    def joined(*leaves: np.ndarray) -> np.ndarray:
        return np.concatenate(leaves)

    parts = [(s.unit, s.violation, s.features, s.moves, s.suggestions) for s in segments]
    return Segment(
        first.start,
        first.thin,
        np.sum([segment.done for segment in segments], axis=0),
        *jax.tree.map(joined, *parts),
    )
