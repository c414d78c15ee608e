"""Opening an archive after anything may have happened: what is whole, and from where to go on."""

from __future__ import annotations

import logging
import os
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.exploration.archive.files import Named, open_whole
from ax_jax_runners.exploration.archive.identity import check_identity
from ax_jax_runners.exploration.archive.manifest import (
    CURRENT,
    PREVIOUS,
    Manifest,
    is_name,
    read_manifest,
)
from ax_jax_runners.exploration.archive.states import Checkpoint, read_state
from ax_jax_runners.files.atomic import write_atomically

_LOG = logging.getLogger("ax_jax_runners.exploration")


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        manifest: Names whole files only, of which the last is the newest checkpoint to go on from.
        damage: What was found instead of a whole file, by name; empty where all is as written.
        dropped: Files that were named, but that nothing can be made of without the damaged ones.
    """

    manifest: Manifest
    damage: dict[str, str]
    dropped: frozenset[str]


def begin(folder: Path, begun: Manifest) -> tuple[Manifest, Manifest | None]:
    """Make or mend an archive, and tidy it: only for the writer.

    Args:
        folder: The archive's.
        begun: An archive without rows, of the identity that is wanted.

    Returns:
        Its manifest and the one before, where there is one.

    Raises:
        ArtifactCorrupt: There are files, but neither generation of the manifest can be read.
        ConfigurationError: The archive is of another identity.
        SchemaTooNew: Written by a newer version of this package.
        OSError: The folder cannot be written.
    """
    found = find_whole(folder)
    if found is None:
        sweep(folder, ())
        write_atomically(folder / CURRENT, begun.encode())
        return begun, None
    manifest = found.manifest
    check_identity(manifest, begun, folder)
    if found.damage:
        set_aside(folder, found)
        for name in (PREVIOUS, CURRENT):
            write_atomically(folder / name, manifest.encode())
    try:
        previous = read_manifest(folder / PREVIOUS)
    except ArtifactCorrupt:
        # Missing before the first checkpoint; else whatever has its name gives way to the next.
        previous = None
        with suppress(FileNotFoundError):
            os.replace(folder / PREVIOUS, folder / f"{PREVIOUS}.damaged")
    sweep(folder, manifest.names | (previous.names if previous else frozenset()))
    return manifest, previous


def find_whole(folder: Path) -> Found | None:
    """Read every file and find the newest checkpoint from which a walk can go on.

    That is the newest one of either generation before which no shard is damaged. Nothing is
    changed.

    Returns:
        None where no archive was begun.

    Raises:
        ArtifactCorrupt: There are files, but neither generation of the manifest can be read.
        SchemaTooNew: Written by a newer version of this package.
    """
    damage: dict[str, str] = {}
    written: list[Manifest] = []
    whole: list[Manifest] = []
    for name in (CURRENT, PREVIOUS):
        try:
            written.append(read_manifest(folder / name))
        except ArtifactCorrupt as error:
            damage[name] = str(error)
            continue
        whole.append(_whole_part(folder, written[-1], damage))
        if not damage:
            return Found(written[0], {}, frozenset())
    if not whole:
        if any(is_name(path.name) or path.name in damage for path in folder.iterdir()):
            raise ArtifactCorrupt(
                f"{' '.join(damage.values())} Which files of {folder} belong together is unknown; "
                "restore a manifest from a copy or use another folder."
            )
        return None
    best = max(whole, key=lambda manifest: (manifest.iteration, manifest.state is not None))
    newest = max(manifest.generation for manifest in written) + 1
    named = frozenset[str]().union(*(manifest.names for manifest in written))
    return Found(replace(best, generation=newest), damage, named - best.names - set(damage))


def set_aside(folder: Path, found: Found) -> None:
    """Rename what is damaged, and what has no use without it, and say so."""
    for name in [*found.damage, *found.dropped]:
        suffix = "damaged" if name in found.damage else "dropped"
        # A damaged file is kept for whoever can mend it; a missing one cannot be.
        with suppress(FileNotFoundError):
            os.replace(folder / name, folder / f"{name}.{suffix}")
    _LOG.warning(
        "%s is damaged: %s The walk goes on after iteration %d; what came later is computed "
        "again. Files that were there are kept with the ending .damaged%s.",
        folder,
        " ".join(found.damage.values()),
        found.manifest.iteration,
        " or .dropped" if found.dropped else "",
    )


def sweep(folder: Path, kept: Container[str]) -> None:
    """Remove partial files, and shards and states that are not ``kept``: only for the writer."""
    for path in folder.iterdir():
        if path.name.startswith(".partial-") or (is_name(path.name) and path.name not in kept):
            with suppress(OSError):
                path.unlink()


def _whole_part(folder: Path, manifest: Manifest, damage: dict[str, str]) -> Manifest:
    """The manifest up to the newest checkpoint of which everything is whole."""
    shards = []
    for shard in manifest.shards:
        try:
            with open_whole(folder, shard):
                shards.append(shard)
        except ArtifactCorrupt as error:
            damage[shard.name] = str(error)
            break
    while shards:
        state = _state(folder, shards[-1].state, damage)
        if state is not None:
            return replace(manifest, shards=tuple(shards), facts=state.facts)
        shards.pop()
    state = None if manifest.start is None else _state(folder, manifest.start, damage)
    if state is not None:
        return replace(manifest, shards=(), facts=state.facts)
    return replace(manifest, shards=(), start=None, start_iteration=0, facts=None)


def _state(folder: Path, file: Named, damage: dict[str, str]) -> Checkpoint | None:
    try:
        return read_state(folder, file)
    except ArtifactCorrupt as error:
        damage[file.name] = str(error)
        return None
