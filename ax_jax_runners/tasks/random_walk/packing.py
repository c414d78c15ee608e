"""States of walks as arrays of one structure, whatever the kernel and however far they are.

Arms of one batch stand side by side on the first axis of every leaf, so all of them need the same
leaves: what a walk does not have is filled with zeros, and flags say that it is not there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ax_jax_runners.exploration.state import Line, Tuning, WalkState, from_arrays, to_arrays

_FLAGS = ("factor", "line", "tuning", "shape")


def pack(state: WalkState) -> dict[str, np.ndarray]:
    """Return a state as named arrays; `unpack` returns the state."""
    k, particles = np.shape(state.unit)
    kind = np.asarray(state.unit).dtype
    tuning = state.tuning
    there = {
        "factor": state.factor is not None,
        "line": state.line is not None,
        "tuning": tuning is not None,
        "shape": tuning is not None and tuning.scatter is not None,
        "diagonal": _is_flat(state.factor) or (tuning is not None and _is_flat(tuning.scatter)),
    }
    none = np.zeros(particles, kind)
    matrix = np.zeros((k, k, particles), kind)
    line = state.line or Line(np.zeros((k, particles), kind), none, none, np.zeros(particles, bool))
    tuning = tuning or Tuning(none, none, np.zeros(particles, np.int32))
    full = dataclasses.replace(
        state,
        factor=_square(state.factor, matrix),
        line=line,
        tuning=dataclasses.replace(
            tuning,
            mean=np.zeros((k, particles), kind) if tuning.mean is None else tuning.mean,
            scatter=_square(tuning.scatter, matrix),
        ),
    )
    return {**to_arrays(full), **{f".has_{name}": np.asarray(there[name]) for name in there}}


def unpack(arrays: Mapping[str, Any], features: Any) -> WalkState:
    """Return the state that was packed.

    Args:
        arrays: What `pack` returned.
        features: Something of the structure of the simulator's features.
    """
    there = {name: bool(arrays[f".has_{name}"]) for name in (*_FLAGS, "diagonal")}
    state = from_arrays({name: a for name, a in arrays.items() if name.startswith(".")}, features)
    tuning = state.tuning
    if tuning is not None:
        scatter = tuning.scatter if there["shape"] else None
        tuning = dataclasses.replace(
            tuning,
            mean=tuning.mean if there["shape"] else None,
            scatter=_flat(scatter) if there["diagonal"] else scatter,
        )
    factor = state.factor if there["factor"] else None
    return dataclasses.replace(
        state,
        factor=_flat(factor) if there["diagonal"] else factor,
        line=state.line if there["line"] else None,
        tuning=tuning if there["tuning"] else None,
    )


def _is_flat(matrix: Any) -> bool:
    return matrix is not None and np.ndim(matrix) == 2


def _square(matrix: Any, none: np.ndarray) -> np.ndarray:
    """Return (k, k, P): a matrix, a diagonal put into one, or zeros."""
    if matrix is None:
        return none
    if np.ndim(matrix) == 3:
        return np.asarray(matrix)
    full = none.copy()
    places = np.arange(len(full))
    full[places, places] = matrix
    return full


def _flat(matrix: Any) -> Any:
    """Return the diagonal (k, P) of (k, k, P)."""
    return None if matrix is None else np.einsum("iip->ip", matrix).copy()


def stack(arms: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the state of a batch from those of its arms."""
    return {name: np.stack([np.asarray(arm[name]) for arm in arms]) for name in arms[0]}


def unstack(batch: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return the state of every arm of a batch."""
    leaves = {name: np.asarray(leaf) for name, leaf in batch.items()}
    return [{name: leaf[i] for name, leaf in leaves.items()} for i in range(len(leaves["slice"]))]
