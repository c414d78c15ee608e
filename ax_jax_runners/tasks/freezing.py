"""States of tasks as named arrays and back, and batches of arms cut and joined.

A state is a pytree with the arm axis first on every leaf. Its tree structure is never stored: a
freshly begun state of the same arm says what a frozen one looks like, so nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, EvaluationError, ResultNotStorable
from ax_jax_runners.tasks.protocol import State


def freeze(state: State) -> dict[str, np.ndarray]:
    """Return every leaf of a batch's state as a NumPy array on the host, by its path.

    Typed PRNG keys are given as their data; `thaw` learns from its template what they are.

    Raises:
        ResultNotStorable: A leaf that has no arm axis.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    frozen = {}
    for path, leaf in leaves:
        array = _host(leaf)
        if array.ndim == 0:
            raise ResultNotStorable(
                f"Leaf {_name(path)} of the task's state is {leaf!r}, without an arm axis; "
                "every leaf needs one entry for each arm."
            )
        frozen[_name(path)] = array
    return frozen


def thaw(arrays: Mapping[str, np.ndarray], template: State) -> State:
    """Return the state of which `freeze` gave these arrays.

    Args:
        arrays: One entry for each leaf.
        template: A state of the same arms that was just begun.

    Raises:
        ArtifactCorrupt: The template has other leaves: the task's state changes its structure
            between slices, or is that of another task.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(path) for path, _ in leaves]
    if set(names) != set(arrays):
        raise ArtifactCorrupt(
            f"A frozen state has the leaves {sorted(arrays)}, a state that was just begun has "
            f"{sorted(names)}; the trial begins again."
        )
    thawed = [
        _like(leaf, np.asarray(arrays[name])) for name, (_, leaf) in zip(names, leaves, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, thawed)


def take(state: State, rows: Sequence[int], *, arms: int) -> State:
    """Return the state of some arms of a batch, in this order.

    Args:
        state: The batch's state.
        rows: Their places in it.
        arms: How many arms the batch has.

    Raises:
        EvaluationError: A leaf that does not have one entry for each arm.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        if np.shape(leaf)[:1] != (arms,):
            raise EvaluationError(
                f"Leaf {_name(path)} of the task's state has the shape {np.shape(leaf)} for {arms} "
                "arms; every leaf needs the arm axis first."
            )
    chosen = np.asarray(rows, dtype=int)
    return jax.tree.map(lambda leaf: _like(leaf, _host(leaf)[chosen]), state)


def join(states: Sequence[State]) -> State:
    """Return one state of all arms of several batches, in this order."""
    if len(states) == 1:
        return states[0]

    def joined(*leaves: Any) -> Any:
        # A thawed leaf may be on the host where a live one is on a device.
        like = next((leaf for leaf in leaves if isinstance(leaf, jax.Array)), leaves[0])
        return _like(like, np.concatenate([_host(leaf) for leaf in leaves]))

    return jax.tree.map(joined, *states)


def static_shape(state: State) -> Hashable | None:
    """Return what batches must share to be joined: structure, dtypes, shapes without the arm axis.

    None where a state cannot be joined with any other.
    """
    leaves, structure = jax.tree.flatten(state)
    if any(np.ndim(leaf) == 0 for leaf in leaves):
        return None
    shape = (structure, tuple((np.shape(leaf)[1:], str(_dtype(leaf))) for leaf in leaves))
    try:
        hash(shape)
    except TypeError:
        return None
    return shape


def _like(leaf: Any, array: np.ndarray) -> Any:
    """Return ``array`` as what ``leaf`` is: a typed key, a JAX or a NumPy array."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=str(jax.random.key_impl(leaf)))
    if isinstance(leaf, jax.Array):
        # Outside this context 64-bit values would lose half of their bits.
        with jax.enable_x64(True):
            return jnp.asarray(array)
    return array


def _host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path) or "state"
