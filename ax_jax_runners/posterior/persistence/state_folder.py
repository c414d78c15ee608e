"""The weights of a saved estimator: a folder of files beside its metadata, named by its digest.

A state is written under a temporary name, flushed, and takes its final name by a rename. It counts
once the metadata name it: a writer killed at any moment leaves the old estimator or the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.posterior.persistence.document import canonical

_PREFIX = "state-"
_PARTIAL = ".partial-"
_NAME = re.compile(r"state-[0-9a-f]{64}\Z")


@contextmanager
def written_state(
    directory: Path, save: Callable[[Path], None]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Let ``save`` write its files to a new temporary folder, which is gone at the end.

    Yields:
        The folder, to be published, and what the metadata say of it: ``folder`` (its final name)
        and ``files`` (SHA-256 and length by path).
    """
    temporary = directory / f"{_PARTIAL}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        save(temporary)
        files = _describe_files(temporary)
        _flush(temporary)
        digest = hashlib.sha256(canonical(files)).hexdigest()
        yield temporary, {"folder": f"{_PREFIX}{digest}", "files": files}
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_state(temporary: Path, state: Mapping[str, Any]) -> None:
    """Give a written state its final name; one that is there and whole already stays."""
    final = temporary.with_name(state["folder"])
    if final.is_symlink() or final.exists():
        if _is_whole(final, state):
            return
        # The same weights, damaged: what is being written heals them.
        os.rename(final, temporary.with_name(f"{temporary.name}-damaged"))
    os.rename(temporary, final)
    _flush_folder(final.parent)


def remove_other_states(directory: Path, state: Mapping[str, Any]) -> None:
    """Remove states that the metadata do not name, and what killed writers left.

    Only for who holds the folder's lock: another writer's work would be taken away.
    """
    for path in directory.iterdir():
        leftover = path.name.startswith(_PARTIAL)
        if not leftover and (path.name == state["folder"] or not _NAME.match(path.name)):
            continue
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def open_state(directory: Path, state: Mapping[str, Any]) -> Path:
    """Return the folder of a state after checking every file of it.

    Args:
        directory: The estimator's folder.
        state: What its metadata say; without ``files`` (older than digests) the files are only
            looked at for links.

    Raises:
        ArtifactCorrupt: A file is missing, damaged, a link, or one that the metadata do not name.
    """
    name, expected = state.get("folder"), state.get("files")
    if expected is None:
        _describe_files(directory)
        return directory
    if not isinstance(name, str) or not _NAME.match(name) or not isinstance(expected, Mapping):
        raise ArtifactCorrupt(
            f"The metadata in {directory} name the state {name!r}, which is none; restore them "
            "from a copy."
        )
    folder = directory / name
    if folder.is_symlink() or not folder.is_dir():
        raise ArtifactCorrupt(
            f"{folder} is {'a symbolic link' if folder.is_symlink() else 'missing'}; restore the "
            "estimator from a copy or save it again."
        )
    found = _describe_files(folder)
    for path in sorted({*expected, *found}):
        if path not in found or path not in expected or found[path] != expected[path]:
            what = "missing" if path not in found else "not what was saved"
            raise ArtifactCorrupt(
                f"File {path} in {folder} is {what}: restore the estimator from a copy or save it "
                "again."
            )
    return folder


def _describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        PurePosixPath(path.relative_to(folder)).as_posix(): {
            "sha256": _digest(path),
            "bytes": path.stat().st_size,
        }
        for path in _files(folder)
    }


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        for name in sorted([*folders, *names]):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ArtifactCorrupt(
                    f"{path} is a symbolic link or a device; an estimator has plain files only."
                )
        yield from (Path(place, name) for name in sorted(names))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(folder: Path, state: Mapping[str, Any]) -> bool:
    try:
        return open_state(folder.parent, state) == folder
    except (ArtifactCorrupt, OSError):
        return False


def _flush(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    for place, _, _ in os.walk(folder):
        _flush_folder(Path(place))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
