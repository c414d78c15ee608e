"""Rows of states that one call of a compiled walk writes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ax_jax_runners.exploration.state import WalkState


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Record:
    """R rows of what a call recorded, the row axis first and the particle axis last.

    Attributes:
        unit: (R, k, P).
        violation: (R, P).
        features: The simulator's structure, (R, ..., P).
        moves: (R, P) int32, moves so far.
        suggestions: (R, P) uint32, suggestions so far.
        complete: (R, P) bool, whether an iteration ended here; None where every row ends one.
    """

    unit: Any
    violation: Any
    features: Any
    moves: Any
    suggestions: Any
    complete: Any


def blank_record(state: WalkState, rows: int, *, lockstep: bool) -> Record:
    """Return a record without anything in it, on the device.

    Args:
        state: What is to be recorded.
        rows: How many.
        lockstep: Whether every row ends an iteration.
    """

    def row(leaf: Any) -> Array:
        return jnp.zeros((rows, *leaf.shape), leaf.dtype)

    return Record(
        row(state.unit),
        row(state.violation),
        jax.tree.map(row, state.features),
        row(state.moves),
        row(state.suggestions),
        None if lockstep else jnp.zeros((rows, *state.tick.shape), dtype=bool),
    )


def clear(record: Record) -> Record:
    """Return a record of which no row ends an iteration unless it is written; traced."""
    if record.complete is None:
        return record
    return dataclasses.replace(record, complete=jnp.zeros_like(record.complete))


def on_host(leaf: Array) -> np.ndarray:
    """Return a leaf's numbers on the host, to be copied before the leaf is given away.

    On a processor they are read where they are: what ``np.asarray`` returns would be kept by the
    leaf, whose memory could then not be written anew.
    """
    if leaf.dtype.isbuiltin == 1 and next(iter(leaf.devices())).platform == "cpu":
        return np.from_dlpack(cast(Any, leaf))
    return np.asarray(leaf)


def write_row(record: Record, place: Array, state: WalkState, complete: Array | None) -> Record:
    """Return a record with a state in the row ``place``; traced."""

    def put(rows: Array, leaf: Array) -> Array:
        return lax.dynamic_update_index_in_dim(rows, leaf, place, 0)

    return Record(
        put(record.unit, state.unit),
        put(record.violation, state.violation),
        jax.tree.map(put, record.features, state.features),
        put(record.moves, state.moves),
        put(record.suggestions, state.suggestions),
        None if complete is None else put(record.complete, complete),
    )
