"""The float32 leaves of a model as one file of arrays, named by their paths in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.files.atomic import write_atomically
from ax_jax_runners.files.whole import open_file

STATE_FILE = "state.npz"

_Tree = TypeVar("_Tree")


def save_arrays(folder: Path, tree: Any) -> None:
    """Write the float32 arrays of a pytree to ``state.npz`` in a folder.

    Other leaves (functions, Python numbers, None) are not written: the configuration rebuilds
    them.

    Raises:
        ResultNotStorable: An array of another dtype; the message names the leaf.
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if _is_array(leaf):
            name = jax.tree_util.keystr(path) or "."
            if leaf.dtype != np.float32:
                raise ResultNotStorable(
                    f"Leaf {name} of the model is {leaf.dtype}; weights are float32 throughout."
                )
            leaves[name] = np.asarray(leaf)
    write_atomically(folder / STATE_FILE, encode_arrays(leaves))


def load_arrays(folder: Path, template: _Tree) -> _Tree:
    """Return a pytree like ``template`` with the arrays that `save_arrays` wrote, bit by bit.

    Args:
        folder: Where ``state.npz`` is.
        template: A pytree of the same structure, such as the untrained model; its arrays may be
            ``jax.ShapeDtypeStruct`` too. NumPy arrays stay NumPy's; leaves that are no arrays are
            kept.

    Raises:
        ArtifactCorrupt: The file is missing or damaged, or has other leaves or shapes than the
            template; the message names the first leaf that differs.
    """
    path = folder / STATE_FILE
    with open_file(path, advice="restore the estimator from a copy or save it again") as stream:
        stored = decode_arrays(stream.read())
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    wanted = {jax.tree_util.keystr(at) or ".": leaf for at, leaf in leaves if _is_array(leaf)}
    for name in sorted({*wanted, *stored}):
        if name not in stored or name not in wanted:
            where = f"{path} has no leaf" if name not in stored else f"{path} has a leaf too many,"
            raise ArtifactCorrupt(
                f"{where} {name}; the configuration in the metadata belongs to other weights."
            )
        found, expected = stored[name], wanted[name]
        if found.shape != tuple(expected.shape) or found.dtype != np.float32:
            raise ArtifactCorrupt(
                f"Leaf {name} in {path} is {found.dtype} of the shape {found.shape}, the model's "
                f"is float32 of {tuple(expected.shape)}; the configuration in the metadata "
                "belongs to other weights."
            )
    filled = [
        _like(leaf, stored[jax.tree_util.keystr(at) or "."]) if _is_array(leaf) else leaf
        for at, leaf in leaves
    ]
    return jax.tree_util.tree_unflatten(structure, filled)


def _like(leaf: Any, stored: np.ndarray) -> Any:
    return stored if isinstance(leaf, np.ndarray) else jax.numpy.asarray(stored)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, jax.ShapeDtypeStruct))
