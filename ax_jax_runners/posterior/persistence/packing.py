"""A whole saved estimator as one array of bytes, for where a result is arrays by name."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.posterior.persistence.document import read_document, write_document
from ax_jax_runners.posterior.persistence.persistent import PersistentPosteriorEstimator


def pack_estimator(estimator: PersistentPosteriorEstimator) -> np.ndarray:
    """Return an estimator as bytes, (n,) uint8: the files that `save` writes, one after another.

    Raises:
        ResultNotStorable: Something that has no place in the metadata.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        estimator.save(folder)
        document = read_document(folder)
        # Equal estimators have equal bytes, whenever they were packed.
        document["artifact"]["created_at"] = None
        write_document(folder, document)
        files = {
            PurePosixPath(path.relative_to(folder)).as_posix(): np.frombuffer(
                path.read_bytes(), np.uint8
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in (".json", ".npz")
        }
    return np.frombuffer(encode_arrays(files), np.uint8)


def unpack_estimator(array: Any) -> Any:
    """Return the estimator of which `pack_estimator` gave these bytes.

    Raises:
        ArtifactCorrupt: Other bytes.
        SchemaTooNew: A newer version of this package packed it.
    """
    found = np.asarray(array)
    if found.dtype != np.uint8 or found.ndim != 1:
        raise ArtifactCorrupt(
            f"The packed estimator is {found.dtype} of the shape {found.shape}; give the bytes "
            "that pack_estimator returned."
        )
    files = decode_arrays(found.tobytes())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in files.items():
            relative = PurePosixPath(path)
            if relative.is_absolute() or ".." in relative.parts:
                raise ArtifactCorrupt(
                    f"The packed estimator names the file {path!r} outside its folder; it was not "
                    "packed by this package."
                )
            place = folder.joinpath(*relative.parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.tobytes())
        return PersistentPosteriorEstimator.load(folder)
