"""Whether rows belong behind those that an archive has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.archive.layout import Layout, check_same
from ax_jax_runners.exploration.archive.manifest import Manifest


def fit(
    manifest: Manifest,
    layout: Layout,
    arrays: Mapping[str, np.ndarray],
    iteration: int,
    folder: Path,
) -> Manifest:
    """Return the manifest to append rows to, with their layout.

    Args:
        manifest: The newest.
        layout: The columns of the rows; none for no rows.
        arrays: Their values by column.
        iteration: That of the checkpoint behind them.
        folder: The archive's.

    Raises:
        ConfigurationError: Columns that differ from those before, or iterations that do not lie
            between the checkpoint before and this one.
    """
    if layout.columns:
        if manifest.layout.columns:
            check_same(manifest.layout, layout, folder)
        manifest = replace(manifest, layout=layout)
    rows = max((len(values) for values in arrays.values()), default=0)
    before = manifest.iteration
    if iteration < before + bool(rows):
        raise ConfigurationError(
            f"A checkpoint at iteration {iteration} with {rows} rows does not belong behind "
            f"that at {before} in {folder}; go on from the latest one."
        )
    if rows and "iteration" in arrays:
        first = arrays["iteration"].astype(np.int64)
        times = arrays.get("multiplicity", np.ones(1, np.int64)).astype(np.int64)
        last = first + (times - 1) * manifest.thin
        if first.min() <= before or last.max() > iteration or times.min() < 1:
            raise ConfigurationError(
                f"Rows from iteration {first.min()} to {last.max()}, each there {times.min()} "
                f"times or more, do not lie between the checkpoints at {before} and {iteration} "
                f"of {folder}; count from 1, and within a shard."
            )
    return manifest
