"""Reading an archive, also while its writer goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.exploration.archive.files import open_whole
from ax_jax_runners.exploration.archive.manifest import CURRENT, Manifest, Shard, read_manifest
from ax_jax_runners.exploration.archive.shards import read_rows
from ax_jax_runners.exploration.archive.states import Checkpoint, read_state

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset
    import xarray as xr

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class ArchiveView:
    """An archive as it was at one moment; nothing is written, and no lock is needed.

    A writer that merges shards meanwhile does not disturb: their rows are then read from the
    merged ones. Every file is compared with its digest before anything is taken from it.

    Attributes:
        directory: The archive's folder.
        manifest: Its files at that moment.
    """

    directory: Path
    manifest: Manifest

    @classmethod
    def read(cls, directory: Path | str) -> ArchiveView:
        """Look at the archive of a folder.

        Raises:
            ArtifactCorrupt: No archive is there, or its manifest is damaged.
            SchemaTooNew: Written by a newer version of this package.
        """
        folder = Path(directory)
        return cls(folder, read_manifest(folder / CURRENT))

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the points."""
        return self.manifest.identity

    @property
    def status(self) -> Mapping[str, Any]:
        """The facts of the newest checkpoint; empty before the first."""
        return self.manifest.facts or {}

    @property
    def iteration(self) -> int:
        """The iteration of the newest checkpoint; 0 before the first."""
        return self.manifest.iteration

    @property
    def rows(self) -> int:
        """Rows in all shards."""
        return self.manifest.rows

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The files of rows, in order of iterations."""
        return self.manifest.shards

    @property
    def parameters(self) -> Mapping[str, str]:
        """Columns of the parameters, by parameter."""
        return self.manifest.layout.sources("parameter")

    @property
    def features(self) -> Mapping[str, str]:
        """Columns of the features, by feature."""
        return self.manifest.layout.sources("feature")

    @property
    def latest(self) -> Checkpoint | None:
        """The newest checkpoint; None before the first.

        Raises:
            ArtifactCorrupt: Its file is missing or damaged.
        """

        def read(manifest: Manifest) -> Checkpoint | None:
            return None if manifest.state is None else read_state(self.directory, manifest.state)

        return self._read(read)

    def table(self, columns: Iterable[str] | None = None) -> pa.Table:
        """All rows, as an Arrow table.

        Args:
            columns: Their names; None for all.

        Raises:
            ArtifactCorrupt: A shard is missing or damaged.
            ConfigurationError: A column that is not there.
        """
        import pyarrow as pa

        names = [column.name for column in self.manifest.layout.select(columns)]
        done: dict[str, pa.Table] = {}

        def read(manifest: Manifest) -> list[pa.Table]:
            for shard in self._first(manifest):
                if shard.name not in done:
                    done[shard.name] = read_rows(self.directory, shard, names)
            return [done[shard.name] for shard in self._first(manifest)]

        empty = self.manifest.schema.empty_table().select(names)
        # Merging keeps the order of rows, so the first ones are those of this view.
        return pa.concat_tables([empty, *self._read(read)]).slice(0, self.rows)

    def to_pandas(self, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """All rows, one a line; array features as one array a line.

        Args:
            columns: Their names; None for all.

        Raises:
            ArtifactCorrupt: A shard is missing or damaged.
            ConfigurationError: A column that is not there.
        """
        import pandas as pd

        chosen = self.manifest.layout.select(columns)
        arrays = self.arrays([column.name for column in chosen])
        scalars = {column.name for column in chosen if not column.shape}
        return pd.DataFrame(
            {name: a if name in scalars else list(a) for name, a in arrays.items()},
            columns=list(arrays),
        )

    def arrays(self, columns: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """All rows as NumPy arrays, of the types and shapes that were saved.

        Args:
            columns: Their names; None for all.

        Raises:
            ArtifactCorrupt: A shard is missing or damaged.
            ConfigurationError: A column that is not there.
        """
        chosen = self.manifest.layout.select(columns)
        table = self.table([column.name for column in chosen])
        arrays = {}
        for column in chosen:
            values = table[column.name].combine_chunks()
            flat = (values.flatten() if column.shape else values).to_numpy(zero_copy_only=False)
            arrays[column.name] = flat.reshape(-1, *column.shape)
        return arrays

    def dataset(self) -> pyarrow.dataset.Dataset:
        """The shard files as an Arrow dataset, for rows that do not fit in memory.

        It holds whole files. Where a writer has merged shards of this view meanwhile it holds the
        rows up to the newest checkpoint, and files that are merged later are missing to it.

        Raises:
            ArtifactCorrupt: A shard is missing or damaged.
        """
        from pyarrow.dataset import dataset
        from pyarrow.fs import LocalFileSystem

        def check(manifest: Manifest) -> list[str]:
            for shard in manifest.shards:
                with open_whole(self.directory, shard):
                    pass
            return [str(self.directory / shard.name) for shard in manifest.shards]

        schema = self.manifest.schema
        paths = self._read(check)
        if not paths:
            return dataset(schema.empty_table())
        return dataset(paths, schema=schema, format="parquet", filesystem=LocalFileSystem())

    def to_xarray(self) -> xr.Dataset:
        """Every recorded state, with multiplicities expanded; see `expand`.

        Raises:
            ArtifactCorrupt: A shard is missing or damaged.
            ConfigurationError: The rows are not those of chains that were recorded throughout.
        """
        from ax_jax_runners.exploration.archive.expanding import expand

        return expand(self)

    def _first(self, manifest: Manifest) -> Iterator[Shard]:
        """The shards of a newer manifest that hold the rows of this view."""
        rows = 0
        for shard in manifest.shards:
            if rows >= self.rows:
                return
            rows += shard.rows
            yield shard

    def _read(self, read: Callable[[Manifest], _Found]) -> _Found:
        """Read by this manifest, or by a newer one where a writer took files away meanwhile."""
        manifest = self.manifest
        while True:
            try:
                return read(manifest)
            except ArtifactCorrupt:
                newer = read_manifest(self.directory / CURRENT)
                if newer.generation == manifest.generation or newer.rows < self.rows:
                    raise
                manifest = newer
