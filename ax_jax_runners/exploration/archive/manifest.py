"""The manifest: which files make up the archive now, sealed by a digest of itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ArtifactCorrupt, SchemaTooNew
from ax_jax_runners.exploration.archive.files import Named, read_file
from ax_jax_runners.exploration.archive.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

CURRENT, PREVIOUS = "manifest.json", "manifest.previous.json"
_VERSION = 1
_NAME = re.compile(
    r"(shard-\d{12,}-\d{12,}-[0-9a-f]{16}\.parquet|state-\d{12,}-[0-9a-f]{16}\.npz)\Z"
)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Shard(Named):
    """One file of rows.

    Attributes:
        rows: How many.
        first_iteration: The iteration after the checkpoint before, from 1.
        last_iteration: That of the checkpoint at its end.
        level: How often its rows were merged.
        state: The checkpoint at its end.
    """

    rows: int
    first_iteration: int
    last_iteration: int
    level: int
    state: Named


@dataclass(frozen=True)
class Manifest:
    """One generation of an archive.

    Attributes:
        generation: Counts the manifests written.
        identity: What decides the points.
        thin: Every how many iterations a state was recorded.
        layout: The columns; none before the first rows.
        start: The newest checkpoint before the first rows, and its iteration.
        shards: In order of iterations.
        facts: Those of the newest checkpoint.
    """

    generation: int
    identity: Mapping[str, Any]
    thin: int
    layout: Layout = field(default_factory=Layout)
    start: Named | None = None
    start_iteration: int = 0
    shards: tuple[Shard, ...] = ()
    facts: Mapping[str, Any] | None = None

    @property
    def state(self) -> Named | None:
        """The file of the newest checkpoint."""
        return self.shards[-1].state if self.shards else self.start

    @property
    def iteration(self) -> int:
        """The iteration of the newest checkpoint; 0 where there is none."""
        return self.shards[-1].last_iteration if self.shards else self.start_iteration

    @property
    def rows(self) -> int:
        """Rows in all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def names(self) -> frozenset[str]:
        """Every file that it names."""
        states = [self.start, *(shard.state for shard in self.shards)]
        return frozenset(file.name for file in [*self.shards, *states] if file is not None)

    @property
    def schema(self) -> pa.Schema:
        """That of every shard; its metadata name the digest of the identity."""
        digest = hashlib.sha256(canonical(self.identity).encode()).hexdigest()
        return self.layout.to_arrow({"ax_jax_runners.identity": digest})

    def encode(self) -> bytes:
        """The bytes of its file."""
        body = canonical(
            {
                **vars(self),
                "version": _VERSION,
                "layout": self.layout.to_json(),
                "start": None if self.start is None else vars(self.start),
                "shards": [{**vars(s), "state": vars(s.state)} for s in self.shards],
            }
        )
        digest = hashlib.sha256(body.encode()).hexdigest()
        return f'{{"digest":"{digest}","manifest":{body}}}'.encode()


def read_manifest(path: Path) -> Manifest:
    """Read one generation.

    Raises:
        ArtifactCorrupt: Missing, a link, not a manifest, or without its digest.
        SchemaTooNew: Written by a newer version of this package.
    """
    try:
        sealed = json.loads(read_file(path))
        body = sealed["manifest"]
        intact = sealed["digest"] == hashlib.sha256(canonical(body).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactCorrupt(f"{path} is not a manifest ({error}).") from error
    if not intact:
        raise ArtifactCorrupt(f"{path} does not have the digest that it names.")
    if body["version"] > _VERSION:
        raise SchemaTooNew(
            f"{path} has version {body['version']}, this package knows {_VERSION}; "
            "read it with a newer version of the package."
        )
    try:
        return _decode(body)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(f"{path} does not say what a manifest says ({error}).") from error


def is_name(name: str) -> bool:
    """Whether a file of that name is a shard or a state."""
    return bool(_NAME.match(name))


def canonical(value: Any) -> str:
    """The one JSON text of a plain finite value.

    Raises:
        TypeError, ValueError: It is none.
    """
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _decode(body: dict[str, Any]) -> Manifest:
    body = {name: value for name, value in body.items() if name != "version"}
    start = body["start"]
    shards = [{**shard, "state": _named(shard["state"])} for shard in body["shards"]]
    return Manifest(
        **{
            **body,
            "layout": Layout.from_json(body["layout"]),
            "start": None if start is None else _named(start),
            "shards": tuple(Shard(**_checked(shard)) for shard in shards),
        }
    )


def _named(record: dict[str, Any]) -> Named:
    return Named(**_checked(record))


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    # A name must not lead out of the folder, whoever wrote the manifest.
    if not is_name(record["name"]) or not _DIGEST.match(record["sha256"]):
        raise ValueError(f"{record['name']!r} is no name of a shard or state")
    return record
