"""Reader of the shards of a random walk."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import (
    ArtifactCorrupt,
    ConfigurationError,
    ParameterError,
    SchemaTooNew,
)
from ax_jax_runners.evaluation.features import finite_rows
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.parameters.description import space_from_description
from ax_jax_runners.posterior.datasets.columns import FEATURE, PARAMETER, Column, rows_of
from ax_jax_runners.posterior.datasets.reading import BlockReader, Rows, check_whole
from ax_jax_runners.posterior.datasets.sealed import read_sealed
from ax_jax_runners.posterior.datasets.shards import read_shard
from ax_jax_runners.posterior.datasets.splitting import check_fraction, is_validation_point

_LOG = logging.getLogger("ax_jax_runners.posterior")
_MANIFEST, _VERSION = "manifest.json", 1
_NAME = re.compile(r"shard-\d{12,}-\d{12,}-[0-9a-f]{16}\.parquet\Z")
_MULTIPLICITY = "multiplicity"
_ADVICE = "restore it from a copy; where the walk goes on meanwhile, open the data set again"


class WalkDataset(BlockReader):
    """Every visit of a random walk to a point, one shard at a time held in memory.

    The files hold one row for every stay at a point, with its multiplicity: how many recorded
    visits it lasted. A row of this data set is one visit, so that the rows have the law of the
    walk, which is that of its region and not the prior; ``every`` keeps one visit of so many,
    because neighbours are alike. All visits to the same point are held back or none is. Visits
    to points with a feature that is not finite are left out.

    Attributes:
        directory: The archive's folder.
        every: Of how many visits one is kept.
        failed: How many visits were to points with a feature that is not finite.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Mapping[str, Any],
        *,
        space: ParameterSpace | None,
        every: int,
        validation_fraction: float,
    ) -> None:
        self.directory = directory
        self.manifest = manifest
        self.space = space
        self.every = check_whole("every", every, 1)
        self.validation_fraction = check_fraction(validation_fraction)
        self._shards = manifest["shards"]
        self._columns = tuple(map(Column.from_description, manifest["layout"]))
        self.names = _names(self._columns)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        space: ParameterSpace | None = None,
        every: int = 1,
        validation_fraction: float = 0.1,
    ) -> WalkDataset:
        """Open the points that a walk has recorded so far; what it records later is not seen.

        Args:
            directory: Where the walk keeps its points.
            space: Its parameters; None: made again from their description, which fails, with a
                warning in the log, for a prior that numpyro does not have.
            every: Of how many visits one is kept.
            validation_fraction: Share of the points to hold back, on average.

        Raises:
            ArtifactCorrupt: No walk's archive is there, or its manifest is damaged.
            SchemaTooNew: Written by a newer version of this package.
            ConfigurationError: It has no points yet, or an argument that cannot be used.
        """
        folder = Path(directory)
        manifest = _read_manifest(folder)
        names = _names(map(Column.from_description, manifest["layout"]))
        if not manifest["shards"] or not names:
            raise ConfigurationError(f"{folder} holds no points yet; let the walk go on first.")
        if space is None:
            space = _space(manifest, folder)
        elif space.names != names:
            raise ConfigurationError(
                f"The space has the free parameters {', '.join(space.names)} and the walk of "
                f"{folder} has {', '.join(names)}; give the walk's."
            )
        return cls(
            folder, manifest, space=space, every=every, validation_fraction=validation_fraction
        )

    @property
    def failed(self) -> int:
        """Visits to points with a feature that is not finite."""
        return sum(failed for _, failed in self._visits)

    @property
    def _sizes(self) -> Sequence[int]:
        ends = self._kept(self._offsets)
        return (ends[1:] - ends[:-1]).tolist()

    @functools.cached_property
    def _visits(self) -> list[tuple[int, int]]:
        """Of each shard, how many visits were to points with finite features, and to others."""
        found = []
        for shard in range(len(self._shards)):
            _, multiplicity, finite = self._load(shard)
            good = int(multiplicity[finite].sum())
            found.append((good, int(multiplicity.sum()) - good))
        return found

    @functools.cached_property
    def _offsets(self) -> np.ndarray:
        """Number of the first visit of each shard, and of the one after the last."""
        return np.concatenate([[0], np.cumsum([good for good, _ in self._visits])])

    def _kept(self, visits: np.ndarray) -> np.ndarray:
        """How many of the first so many visits are kept."""
        return -(-visits // self.every)

    def _load(self, shard: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return the columns of a shard, the multiplicities, and which rows are finite."""
        told = self._shards[shard]
        arrays = read_shard(
            self.directory / told["name"],
            [
                c
                for c in self._columns
                if c.group in (PARAMETER, FEATURE) or c.name == _MULTIPLICITY
            ],
            sha256=told["sha256"],
            size=told["size"],
            rows=told["rows"],
            advice=_ADVICE,
        )
        multiplicity = arrays.pop(_MULTIPLICITY).astype(np.int64)
        finite = np.ones(len(multiplicity), dtype=bool)
        for array in arrays.values():
            if array.dtype.kind == "f":
                finite &= finite_rows(array)
        return arrays, multiplicity, finite

    def _read(self, block: int) -> tuple[np.ndarray, Any, np.ndarray]:
        arrays, multiplicity, finite = self._load(block)
        parameters, observations = rows_of(self._columns, arrays, finite)
        ends = self._offsets[block] + np.cumsum(multiplicity[finite])
        counts = self._kept(ends) - self._kept(ends - multiplicity[finite])
        return parameters, observations, np.repeat(np.arange(len(counts)), counts)

    def _is_validation(self, rows: Rows) -> np.ndarray:
        # By the point and not by the visit: what is held back must not be learned from elsewhere.
        held = is_validation_point(rows.parameters, fraction=self.validation_fraction)
        return held[rows.places]


def _names(columns: Any) -> tuple[str, ...]:
    return tuple(column.source for column in columns if column.group == PARAMETER)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    body = read_sealed(path, advice=_ADVICE)
    if body.get("version", 0) > _VERSION:
        raise SchemaTooNew(
            f"{path} has version {body['version']}, this package knows {_VERSION}; read it with a "
            "newer version of the package."
        )
    try:
        layout = list(map(Column.from_description, body["layout"]))
        # A name must not lead out of the folder, whoever wrote the manifest.
        named = all(_NAME.match(shard["name"]) for shard in body["shards"])
        known = not layout or any(column.name == _MULTIPLICITY for column in layout)
    except (KeyError, TypeError, ValueError):
        named = known = False
    if not (named and known):
        raise ArtifactCorrupt(f"{path} is not the manifest of a walk; open the folder of a walk.")
    return body


def _space(manifest: Mapping[str, Any], folder: Path) -> ParameterSpace | None:
    try:
        return space_from_description(manifest["identity"].get("space"))
    except ParameterError as error:
        _LOG.warning("%s: the prior is not known. %s", folder, error)
        return None
