"""Checkpoints of a walk as files: arrays and plain facts at one iteration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.exploration.archive.files import Named, open_whole
from ax_jax_runners.exploration.archive.manifest import canonical
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays

_ABOUT, _ARRAYS = "about", "arrays/"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """From where a walk goes on.

    Attributes:
        iteration: The last one that is done, from 0.
        arrays: Whatever the walk needs, by name; see `encode_arrays` for what they may hold.
        facts: What else it needs to know or to show, as plain finite JSON.
    """

    iteration: int
    arrays: Mapping[str, Any]
    facts: Mapping[str, Any]


def encode_state(checkpoint: Checkpoint) -> tuple[Named, bytes]:
    """Return a checkpoint as a file's name and bytes.

    Raises:
        ResultNotStorable: Arrays or facts that have no place in a file.
    """
    try:
        about = canonical({"iteration": checkpoint.iteration, "facts": dict(checkpoint.facts)})
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultNotStorable(
            f"The facts of a checkpoint are not plain finite JSON ({error}); "
            "keep Python numbers, texts, lists and mappings in it."
        ) from error
    named = {f"{_ARRAYS}{name}": array for name, array in checkpoint.arrays.items()}
    data = encode_arrays({**named, _ABOUT: np.frombuffer(about.encode(), dtype=np.uint8)})
    digest = hashlib.sha256(data).hexdigest()
    name = f"state-{checkpoint.iteration:012d}-{digest[:16]}.npz"
    return Named(name, digest, len(data)), data


def read_state(folder: Path, file: Named) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ArtifactCorrupt: The file is missing or not what it was.
    """
    with open_whole(folder, file) as stream:
        arrays = decode_arrays(stream.read())
    try:
        about = json.loads(arrays.pop(_ABOUT).tobytes())
        named = {name.removeprefix(_ARRAYS): array for name, array in arrays.items()}
        return Checkpoint(about["iteration"], named, about["facts"])
    except (KeyError, ValueError) as error:
        raise ArtifactCorrupt(f"{folder / file.name} holds no checkpoint ({error}).") from error
