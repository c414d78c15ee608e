"""Shards of simulations, written one after the other, each with the manifest that names it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.files import remove_leftovers, write_atomically
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.posterior.datasets.columns import PARAMETER, VALID, rows_of
from ax_jax_runners.posterior.datasets.digest import RowsDigest
from ax_jax_runners.posterior.datasets.manifest import (
    MANIFEST,
    SimulatedShard,
    SimulationManifest,
    read_manifest,
)
from ax_jax_runners.posterior.datasets.progress import reporting
from ax_jax_runners.posterior.datasets.rows import Simulated, SimulatedRows
from ax_jax_runners.posterior.datasets.shards import encode_shard
from ax_jax_runners.posterior.datasets.simulated import read_rows

_LOG = logging.getLogger("ax_jax_runners.posterior")


def write_shards(
    folder: Path,
    lock: WriterLock,
    rows: SimulatedRows,
    configuration: Mapping[str, Any],
    *,
    show_progress: bool,
) -> SimulationManifest:
    """Write all shards that are not there yet.

    Args:
        folder: The data set's.
        lock: The right to write there.
        rows: What to write.
        configuration: What decides the bytes, as plain JSON.
        show_progress: Whether to draw a progress bar.

    Returns:
        The manifest of the whole.

    Raises:
        ConfigurationError: The folder holds other simulations.
        ArtifactCorrupt: Its manifest is damaged.
        LeaseLost: Another process took the folder over.
        OSError: It cannot be written.
    """
    n, shard_rows = configuration["n"], configuration["shard_rows"]
    digest = RowsDigest()
    manifest = _whole_part(folder, _begun(folder, configuration), digest)
    with reporting(n, show_progress) as report:
        report(manifest.rows)
        while manifest.rows < n:
            made = rows.simulate(manifest.rows, min(manifest.rows + shard_rows, n))
            digest.update(*rows_of(made.columns, made.arrays, made.arrays[VALID.name]))
            lock.confirm()
            shard = _write(folder, len(manifest.shards), configuration["kind"], made)
            manifest = replace(manifest, columns=made.columns, shards=(*manifest.shards, shard))
            if manifest.rows == n:
                names = [c.source for c in made.columns if c.group == PARAMETER]
                manifest = replace(manifest, fingerprint=digest.hexdigest(names))
            manifest.write(folder)
            report(manifest.rows)
    return manifest


def _begun(folder: Path, configuration: Mapping[str, Any]) -> SimulationManifest:
    """Return the manifest that is there, or that of no rows."""
    remove_leftovers(folder)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        manifest.check(configuration, folder)
        return manifest
    manifest = SimulationManifest(configuration)
    manifest.write(folder)
    return manifest


def _whole_part(
    folder: Path, manifest: SimulationManifest, digest: RowsDigest
) -> SimulationManifest:
    """Feed the digest with the shards that are whole; return the manifest of those."""
    for number, shard in enumerate(manifest.shards):
        try:
            digest.update(*read_rows(folder, manifest.columns, shard))
        except ArtifactCorrupt as error:
            _LOG.warning("%s It and all later ones are simulated again.", error)
            manifest = replace(manifest, shards=manifest.shards[:number], fingerprint=None)
            manifest.write(folder)
            return manifest
    return manifest


def _write(folder: Path, number: int, kind: str, made: Simulated) -> SimulatedShard:
    data = encode_shard(kind, made.columns, made.arrays)
    name = f"shard-{number:06d}.{kind}"
    write_atomically(folder / name, data)
    valid = made.arrays[VALID.name]
    return SimulatedShard(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        rows=len(valid),
        failed=int((~valid).sum()),
        nonfinite=made.nonfinite,
        rejected=made.rejected,
    )
