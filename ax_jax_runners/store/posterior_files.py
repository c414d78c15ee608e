"""The files of one saved posterior estimator, read from a folder and written to another.

A folder has ``metadata.json``, whose ``state`` names a folder beside it and the digests of the
files in that; nothing else is looked at. No link is followed, and no path leads out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError
from ax_jax_runners.files import write_atomically
from ax_jax_runners.files.whole import open_file

_METADATA = "metadata.json"


def read_estimator(directory: Path, digest: str) -> dict[str, bytes]:
    """Return the content of every file of a saved estimator by its path in the folder.

    Raises:
        ConfigurationError: Another estimator than the one of that digest is there.
        ArtifactCorrupt: A file is missing, damaged or a link, or the metadata are none.
    """
    about = _read(directory, _METADATA)
    try:
        document = json.loads(about)
        found = (document.get("artifact") or {}).get("digest")
        state: Mapping[str, Any] = document["state"]
        expected = {
            f"{state['folder']}/{name}": entry["sha256"] for name, entry in state["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactCorrupt(
            f"{directory / _METADATA} does not tell of a saved posterior "
            f"({type(error).__name__}: {error}); save the estimator again."
        ) from error
    if found != digest:
        raise ConfigurationError(
            f"{directory} holds the posterior with the digest {found!r}, not {digest!r}; give the "
            "folder that it was saved to."
        )
    contents = {_METADATA: about}
    for path, sha256 in expected.items():
        contents[path] = _read(directory, path)
        if hashlib.sha256(contents[path]).hexdigest() != sha256:
            raise ArtifactCorrupt(
                f"{directory / path} does not have its digest: its content changed. Save the "
                "estimator again."
            )
    return contents


def write_estimator(directory: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files by their paths to a folder, the metadata last; return the folder.

    Raises:
        ConfigurationError: Another estimator is in the folder.
        ArtifactCorrupt: A path leads out of the folder, or through a link.
        OSError: The folder cannot be written.
    """
    metadata = directory / _METADATA
    if os.path.lexists(metadata) and _read(directory, _METADATA) != contents[_METADATA]:
        raise ConfigurationError(
            f"Another posterior is in {directory}; name a folder that is empty or not there."
        )
    for path in sorted(contents, key=lambda path: (path == _METADATA, path)):
        target = _inside(directory, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, contents[path])
    return directory


def _read(directory: Path, path: str) -> bytes:
    with open_file(_inside(directory, path), advice="save the estimator again") as stream:
        return stream.read()


def _inside(directory: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\0" in path:
        raise ArtifactCorrupt(
            f"{path!r} is no file of a posterior in {directory}; restore it from a copy."
        )
    place = directory
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise ArtifactCorrupt(f"{place} is a symbolic link; a posterior has plain files only.")
    return place
