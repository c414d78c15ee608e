"""Reader of a folder of simulations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.parameters.description import space_from_description
from ax_jax_runners.posterior.datasets.columns import PARAMETER, VALID, Column, rows_of
from ax_jax_runners.posterior.datasets.manifest import (
    SimulatedShard,
    SimulationManifest,
    read_manifest,
)
from ax_jax_runners.posterior.datasets.reading import BlockReader
from ax_jax_runners.posterior.datasets.sealed import differences
from ax_jax_runners.posterior.datasets.shards import read_shard
from ax_jax_runners.posterior.datasets.splitting import check_fraction

_LOG = logging.getLogger("ax_jax_runners.posterior")
_ADVICE = (
    "restore it from a copy, or call simulate again with the same arguments, which writes it anew"
)


class SimulatedDataset(BlockReader):
    """Simulations in the shards of a folder, of which one at a time is held in memory.

    Rows with a feature that is not finite are in the files, but not among the rows.

    Attributes:
        directory: The folder.
        failed: How many rows have a feature that is not finite.
    """

    def __init__(
        self,
        directory: Path,
        manifest: SimulationManifest,
        *,
        space: ParameterSpace | None,
        validation_fraction: float,
    ) -> None:
        self.directory = directory
        self.space = space
        self.validation_fraction = check_fraction(validation_fraction)
        self.manifest = manifest.describe()
        self.failed = manifest.failed
        self.names = tuple(c.source for c in manifest.columns if c.group == PARAMETER)
        self._manifest = manifest

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        space: ParameterSpace | None = None,
        validation_fraction: float = 0.1,
    ) -> SimulatedDataset:
        """Open a folder that `simulate` has filled.

        Args:
            directory: The folder.
            space: The prior of the simulations; None: made again from its description, which
                fails, with a warning in the log, for a prior that numpyro does not have.
            validation_fraction: Share of the rows to hold back.

        Raises:
            ArtifactCorrupt: No simulations are there, or their manifest is damaged.
            SchemaTooNew: Written by a newer version of this package.
            ConfigurationError: Not all rows are written yet, or another space.
        """
        folder = Path(directory)
        manifest = read_manifest(folder)
        wanted = manifest.configuration["n"]
        if manifest.fingerprint is None:
            raise ConfigurationError(
                f"{folder} holds {manifest.rows} of {wanted} simulations; call simulate again "
                "with the same arguments to make the others."
            )
        told = manifest.configuration["space"]
        if space is None:
            space = _space(told, folder)
        else:
            found = next(differences(told, space.describe(), "space"), None)
            if found:
                raise ConfigurationError(f"{folder} holds other simulations: {found}.")
        return cls(folder, manifest, space=space, validation_fraction=validation_fraction)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names and rows, the same however they are stored and in every process."""
        return str(self._manifest.fingerprint)

    @property
    def _sizes(self) -> Sequence[int]:
        return [shard.rows - shard.failed for shard in self._manifest.shards]

    def _read(self, block: int) -> tuple[np.ndarray, Any, np.ndarray]:
        shard = self._manifest.shards[block]
        parameters, observations = read_rows(self.directory, self._manifest.columns, shard)
        return parameters, observations, np.arange(len(parameters))


def read_rows(
    folder: Path, columns: Sequence[Column], shard: SimulatedShard
) -> tuple[np.ndarray, Any]:
    """Return parameters and observations of the rows of a shard whose features are finite.

    Raises:
        ArtifactCorrupt: The file is missing or damaged.
    """
    arrays = read_shard(
        folder / shard.name,
        columns,
        sha256=shard.sha256,
        size=shard.size,
        rows=shard.rows,
        advice=_ADVICE,
    )
    return rows_of(columns, arrays, arrays[VALID.name])


def _space(told: dict[str, Any], folder: Path) -> ParameterSpace | None:
    try:
        return space_from_description(told)
    except ParameterError as error:
        _LOG.warning("%s: the prior is not known. %s", folder, error)
        return None
