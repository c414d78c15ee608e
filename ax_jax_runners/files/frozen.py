"""Frozen states: named arrays with a manifest, the newest two generations of each key.

A generation is an npz file, named by its digest, and a JSON manifest that names it. Both are
written atomically, the manifest last, and the manifest carries a digest of itself: what a killed
writer or a failing disk left behind is told from a state, and the generation before it is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError, ResultNotStorable
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.files.atomic import remove_leftovers, write_atomically

_LOG = logging.getLogger("ax_jax_runners.files")
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_GENERATIONS = 2
_VERSION = 1


@dataclass(frozen=True)
class FrozenFolder:
    """States by key below one folder.

    Attributes:
        folder: Where the keys' folders are; made on the first write.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    def save(
        self, key: str, generation: int, arrays: Mapping[str, Any], manifest: Mapping[str, Any]
    ) -> None:
        """Write one generation, durably, and remove all but the newest two.

        Args:
            key: 64 lower-case hexadecimal digits.
            generation: Counts up; writing one again replaces it.
            arrays: See `encode_arrays`.
            manifest: What else is to be known, as plain finite JSON.

        Raises:
            ResultNotStorable: An array or a manifest that has no place in a file.
            OSError: The folder cannot be written; the generations before are as they were.
        """
        place = self._place(key)
        data = encode_arrays(arrays)
        digest = hashlib.sha256(data).hexdigest()
        try:
            about = json.dumps(dict(manifest), allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ResultNotStorable(
                f"The manifest of a frozen state is not plain finite JSON ({error}); "
                "keep Python numbers, texts, lists and mappings in it."
            ) from error
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / f"{digest}.npz", data)
        record = {"version": _VERSION, "arrays": digest, "manifest": about}
        sealed = {**record, "digest": _digest(record)}
        write_atomically(place / f"{generation:010d}.json", json.dumps(sealed).encode())
        self._forget_old(place)

    def load(self, key: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield arrays and manifest of each generation that is whole, newest first."""
        for path in reversed(self._generations(self._place(key))):
            try:
                yield self._read(path)
            except (ArtifactCorrupt, OSError) as error:
                _LOG.warning("A frozen state is passed over: %s", error)

    def newest(self, key: str) -> int | None:
        """The number of the newest generation, whole or not; None where there is none."""
        generations = self._generations(self._place(key))
        return int(generations[-1].stem) if generations else None

    def discard(self, key: str) -> None:
        """Remove everything of a key."""
        shutil.rmtree(self._place(key), ignore_errors=True)

    def keys(self) -> list[str]:
        """Every key of which there is something."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if _KEY.match(path.name))

    def sweep(self) -> int:
        """Remove temporary files left by killed writers; return how many there were."""
        return remove_leftovers(self.folder) if self.folder.is_dir() else 0

    def _read(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            sealed = json.loads(path.read_bytes())
            record = {name: sealed[name] for name in ("version", "arrays", "manifest")}
            intact = sealed["digest"] == _digest(record) and _KEY.match(record["arrays"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactCorrupt(f"{path} is not a manifest ({error}).") from error
        if not intact or record["version"] != _VERSION:
            raise ArtifactCorrupt(f"{path} does not have its digest, or another version.")
        data = (path.parent / f"{record['arrays']}.npz").read_bytes()
        if hashlib.sha256(data).hexdigest() != record["arrays"]:
            raise ArtifactCorrupt(f"The arrays of {path} do not have their digest.")
        return decode_arrays(data), json.loads(record["manifest"])

    def _forget_old(self, place: Path) -> None:
        generations = self._generations(place)
        kept = set()
        for path in generations[-_GENERATIONS:]:
            try:
                kept.add(json.loads(path.read_bytes())["arrays"])
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
        for path in generations[:-_GENERATIONS]:
            path.unlink(missing_ok=True)
        for path in place.glob("*.npz"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)

    def _place(self, key: str) -> Path:
        if not isinstance(key, str) or not _KEY.match(key):
            raise ConfigurationError(
                f"{key!r} cannot name a frozen state; a key is 64 lower-case hexadecimal digits."
            )
        place = self.folder / key
        if place.is_symlink():
            raise ArtifactCorrupt(f"{place} is a symbolic link; remove it.")
        return place

    @staticmethod
    def _generations(place: Path) -> list[Path]:
        return sorted(place.glob("[0-9]*.json")) if place.is_dir() else []


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
