"""The folder of a particle: shards, their manifest, and what a crash may leave behind."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError
from ax_jax_runners.exploration.isf.manifest import Manifest, Shard
from ax_jax_runners.exploration.isf.shards import Columns, ShardFormat, decode, encode, join
from ax_jax_runners.files import remove_leftovers, write_atomically

# Readers of whole folders pass over names with an underscore.
MANIFEST = "_manifest.json"
LOCK = "_lock"
_SHARD = re.compile(r"(\d+)\.(?:parquet|npz)\Z")
_LOG = logging.getLogger("ax_jax_runners.exploration")


@dataclass(frozen=True)
class ParticleFolder:
    """Files of one particle.

    A checkpoint is two files: the shard of the new rows, then the manifest that names it. Merging
    is announced in the manifest, done, and confirmed there; only then are the old shards removed.
    So a process killed anywhere leaves the last manifest with all of its rows.

    Attributes:
        path: The folder.
    """

    path: Path

    def load(self) -> Manifest | None:
        """Return the manifest after clearing what a killed process left, or None in a new folder.

        Raises:
            ConfigurationError: The folder holds pickles, or shards of another program.
            ArtifactCorrupt: The manifest is damaged.
        """
        names = sorted(os.listdir(self.path))
        refuse_pickles(self.path, names)
        remove_leftovers(self.path)
        if MANIFEST not in names:
            strangers = [name for name in names if _SHARD.match(name)]
            if strangers:
                raise ConfigurationError(
                    f"{self.path} holds {strangers[0]} but no {MANIFEST}: another program wrote "
                    "it. Choose another MAIN_DIRECTORY or particle_id."
                )
            return None
        manifest = self._finish_merging(self.read())
        self._remove_obsolete(manifest)
        for name in names:
            number = _SHARD.match(name)
            if number and int(number[1]) > manifest.standing.iteration:
                _LOG.info("Removing %s: its checkpoint was not completed", self.path / name)
                os.unlink(self.path / name)
        return self._set_damaged_aside(manifest, manifest.shards)

    def read(self) -> Manifest:
        """Return the manifest as it is.

        Raises:
            ArtifactCorrupt: It is damaged.
        """
        place = self.path / MANIFEST
        return Manifest.from_bytes(place.read_bytes(), str(place))

    def commit(self, manifest: Manifest) -> Manifest:
        """Write the manifest, and return it."""
        write_atomically(self.path / MANIFEST, manifest.to_bytes())
        return manifest

    def add(self, manifest: Manifest, columns: Columns, shard_format: ShardFormat) -> Manifest:
        """Write rows as a shard, and return the manifest, not yet committed, that names it."""
        first, last = int(columns["iteration"][0]), int(columns["iteration"][-1])
        shard = self._write(columns, Shard(f"{last}.{shard_format}", "", first, last), shard_format)
        return replace(manifest, shards=(*manifest.shards, shard), obsolete=())

    def merge(
        self, manifest: Manifest, shard_format: ShardFormat, last: int | None = None
    ) -> Manifest:
        """Put the shards that are not merged yet into one, and remove them.

        Args:
            manifest: The last one that was committed.
            shard_format: Of the new shard.
            last: Shards of later iterations stay as they are; None for all.

        Returns:
            The manifest that was committed.
        """
        small = [s for s in manifest.shards if not s.merged and (last is None or s.last <= last)]
        manifest = self._set_damaged_aside(manifest, small)
        small = [shard for shard in small if shard in manifest.shards]
        if len(small) < 2:
            return manifest
        columns = join([self.rows(shard) for shard in small], manifest.standing.features)
        data = encode(columns, shard_format, compress=True)
        name = f"{small[-1].last}.{shard_format}"
        merged = Shard(name, _sha256(data), small[0].first, small[-1].last, merged=True)
        manifest = self.commit(replace(manifest, merging=merged, obsolete=()))
        write_atomically(self.path / name, data)
        manifest = self._finish_merging(manifest)
        self._remove_obsolete(manifest)
        _LOG.info("Merged %d shards into %s", len(small), self.path / name)
        return manifest

    def rows(self, shard: Shard) -> Columns:
        """Return the rows of a shard.

        Raises:
            ArtifactCorrupt: It is missing, or does not have its digest.
        """
        path = self.path / shard.name
        data = path.read_bytes() if path.is_file() else b""
        if _sha256(data) != shard.sha256:
            raise ArtifactCorrupt(
                f"{path} is missing or its content changed since it was written; restore it from "
                "a copy."
            )
        return decode(data, str(path))

    def named(self, name: str) -> Columns:
        """Return the rows of a shard of that name, which the manifest knows, if there is one.

        Raises:
            ConfigurationError: A pickle, or no shard of this folder.
            ArtifactCorrupt: It does not have its digest.
        """
        refuse_pickles(self.path, [name])
        if (self.path / MANIFEST).is_file():
            for shard in self.read().shards:
                if shard.name == name:
                    return self.rows(shard)
        elif _SHARD.match(name) and (self.path / name).is_file():
            return decode((self.path / name).read_bytes(), name)
        raise ConfigurationError(f"{self.path / name} is no shard of this particle.")

    def remove(self, names: list[str]) -> None:
        """Remove files of this folder that the manifest does not name as rows.

        Raises:
            ConfigurationError: A name that is no shard's, or a shard that still holds rows.
        """
        refuse_pickles(self.path, names)
        kept = {shard.name for shard in (*self.read().shards, *self.read().damaged)}
        for name in names:
            if not _SHARD.match(name) or name in kept:
                raise ConfigurationError(
                    f"{self.path / name} holds rows of the walk or is no shard; it is not removed."
                )
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _write(self, columns: Columns, shard: Shard, shard_format: ShardFormat) -> Shard:
        data = encode(columns, shard_format)
        write_atomically(self.path / shard.name, data)
        return replace(shard, sha256=_sha256(data))

    def _finish_merging(self, manifest: Manifest) -> Manifest:
        merged = manifest.merging
        if merged is None:
            return manifest
        path = self.path / merged.name
        if not path.is_file() or _sha256(path.read_bytes()) != merged.sha256:
            return self.commit(replace(manifest, merging=None))
        old = [s for s in manifest.shards if not s.merged and s.last <= merged.last]
        rest = [s for s in manifest.shards if s not in old]
        return self.commit(
            replace(
                manifest,
                shards=tuple(sorted((*rest, merged), key=lambda s: s.first)),
                merging=None,
                obsolete=tuple(s.name for s in old if s.name != merged.name),
            )
        )

    def _remove_obsolete(self, manifest: Manifest) -> None:
        for name in manifest.obsolete:
            if (self.path / name).exists():
                os.unlink(self.path / name)

    def _set_damaged_aside(self, manifest: Manifest, checked: Sequence[Shard]) -> Manifest:
        damaged = [shard for shard in checked if not self._is_whole(shard)]
        for shard in damaged:
            aside = self.path / f"_{shard.name}.{shard.sha256[:8]}.damaged"
            _LOG.error(
                "%s is missing or its content changed: iterations %d to %d are lost unless it is "
                "restored from a copy; what is left of it is kept as %s",
                self.path / shard.name,
                shard.first,
                shard.last,
                aside.name,
            )
            if (self.path / shard.name).exists():
                os.rename(self.path / shard.name, aside)
        if not damaged:
            return manifest
        left = tuple(shard for shard in manifest.shards if shard not in damaged)
        return self.commit(replace(manifest, shards=left, damaged=(*manifest.damaged, *damaged)))

    def _is_whole(self, shard: Shard) -> bool:
        path = self.path / shard.name
        return path.is_file() and _sha256(path.read_bytes()) == shard.sha256


def refuse_pickles(folder: Path, names: list[str]) -> None:
    """Refuse files that could run code when they are read.

    Raises:
        ConfigurationError: Names the first pickle.
    """
    for name in names:
        if name.endswith((".pickle", ".pickle.rngn", ".pkl")):
            raise ConfigurationError(
                f"{folder / name} is a pickle, which can run any code when it is read, so it is "
                "not: convert it to parquet with the program that wrote it, or explore in another "
                "MAIN_DIRECTORY or with another particle_id."
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
