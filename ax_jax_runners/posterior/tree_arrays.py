"""Pytrees of arrays as named arrays and back; the structure comes from a template, never a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """Return every leaf as a NumPy array, by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def with_leaves(template: Any, arrays: Mapping[str, Any]) -> Any:
    """Return the tree of which `named_leaves` gave these arrays.

    Args:
        template: A tree of the same structure, shapes and dtypes.
        arrays: By path.

    Raises:
        ArtifactCorrupt: Names the first leaf that is missing, unknown or of another shape or type.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(path) for path, _ in leaves]
    for name in (*names, *arrays):
        if name not in arrays or name not in names:
            side = "lacks" if name not in arrays else "has an unknown"
            raise ArtifactCorrupt(
                f"The stored state {side} array {name!r}; it belongs to another configuration."
            )
    found = []
    for name, (_, leaf) in zip(names, leaves, strict=True):
        array = np.asarray(arrays[name])
        if array.shape != np.shape(leaf) or array.dtype != np.asarray(leaf).dtype:
            raise ArtifactCorrupt(
                f"The stored array {name!r} is {array.dtype} {array.shape}, and "
                f"{np.asarray(leaf).dtype} {np.shape(leaf)} is wanted; it belongs to another "
                "configuration."
            )
        found.append(array)
    return jax.tree_util.tree_unflatten(structure, found)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path) or "state"
