"""The manifest of a simulated data set: what decides its rows, and which files hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError, SchemaTooNew
from ax_jax_runners.files import write_atomically
from ax_jax_runners.posterior.datasets.columns import Column
from ax_jax_runners.posterior.datasets.sealed import differences, read_sealed, seal

MANIFEST = "manifest.json"
_ADVICE = "restore it from a copy, or remove the folder and simulate again"
_FORMAT, _VERSION = "ax_jax_runners.simulations", 1
_NAME = re.compile(r"shard-\d{6,}\.(parquet|npz)\Z")
_SHOWN = 5


@dataclass(frozen=True)
class SimulatedShard:
    """One file of rows.

    Attributes:
        name: Within the folder.
        sha256: Of its bytes.
        size: In bytes.
        rows: How many, failed ones included.
        failed: Rows with a feature that is not finite.
        nonfinite: Rows with a feature that is not finite, by feature.
        rejected: Draws that the constraints refused on the way to these rows.
    """

    name: str
    sha256: str
    size: int
    rows: int
    failed: int
    nonfinite: Mapping[str, int]
    rejected: int


@dataclass(frozen=True)
class SimulationManifest:
    """What is written so far.

    Attributes:
        configuration: What decides the bytes of the files, as plain JSON.
        columns: Of every shard; none before the first.
        shards: In the order of rows.
        fingerprint: Digest of all rows that are whole; None until the last one is written.
    """

    configuration: Mapping[str, Any]
    columns: tuple[Column, ...] = ()
    shards: tuple[SimulatedShard, ...] = field(default=())
    fingerprint: str | None = None

    @property
    def rows(self) -> int:
        """Rows in all shards, failed ones included."""
        return sum(shard.rows for shard in self.shards)

    @property
    def failed(self) -> int:
        """Rows with a feature that is not finite."""
        return sum(shard.failed for shard in self.shards)

    def describe(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "configuration": dict(self.configuration),
            "columns": [column.describe() for column in self.columns],
            "shards": [{**vars(s), "nonfinite": dict(s.nonfinite)} for s in self.shards],
            "rows": self.rows,
            "failed": self.failed,
            "rejected": sum(shard.rejected for shard in self.shards),
            "fingerprint": self.fingerprint,
        }

    def write(self, folder: Path) -> None:
        """Put it in the place of the one before, durably.

        Raises:
            OSError: The folder cannot be written.
        """
        write_atomically(folder / MANIFEST, seal(self.describe()))

    def check(self, wanted: Mapping[str, Any], folder: Path) -> None:
        """Refuse to go on with another configuration.

        Raises:
            ConfigurationError: Names the first keys that differ, with both values.
        """
        found = list(islice(differences(dict(self.configuration), dict(wanted)), _SHOWN))
        if found:
            raise ConfigurationError(
                f"{folder} holds other simulations: {'; '.join(found)}. Use another folder, or "
                "the arguments of those simulations."
            )


def read_manifest(folder: Path) -> SimulationManifest:
    """Read the manifest of a folder.

    Raises:
        ArtifactCorrupt: Missing, damaged, or that of something else.
        SchemaTooNew: Written by a newer version of this package.
    """
    path = folder / MANIFEST
    body = read_sealed(path, advice=_ADVICE)
    if body.get("format") != _FORMAT:
        raise ArtifactCorrupt(
            f"{path} is the manifest of something else than simulations; use another folder."
        )
    if body["version"] > _VERSION:
        raise SchemaTooNew(
            f"{path} has version {body['version']}, this package knows {_VERSION}; read it with a "
            "newer version of the package."
        )
    try:
        return SimulationManifest(
            body["configuration"],
            tuple(map(Column.from_description, body["columns"])),
            tuple(map(_shard, body["shards"])),
            body["fingerprint"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(
            f"{path} does not say what a manifest says ({error!r}); {_ADVICE}."
        ) from error


def _shard(told: Mapping[str, Any]) -> SimulatedShard:
    # A name must not lead out of the folder, whoever wrote the manifest.
    if not _NAME.match(told["name"]):
        raise ValueError(f"{told['name']!r} is no name of a shard")
    return SimulatedShard(**told)
