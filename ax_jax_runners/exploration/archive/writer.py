"""The folder in which one random walk keeps its points, checkpoint by checkpoint."""

from __future__ import annotations

import errno
import json
import logging
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ax_jax_runners.errors import ConfigurationError, StoreFull
from ax_jax_runners.exploration.archive.fitting import fit
from ax_jax_runners.exploration.archive.identity import plain_identity
from ax_jax_runners.exploration.archive.layout import arrange
from ax_jax_runners.exploration.archive.manifest import (
    CURRENT,
    PREVIOUS,
    Manifest,
    Shard,
    canonical,
)
from ax_jax_runners.exploration.archive.repair import begin
from ax_jax_runners.exploration.archive.shards import merge, mergeable, write_rows
from ax_jax_runners.exploration.archive.states import Checkpoint, encode_state
from ax_jax_runners.exploration.archive.view import ArchiveView
from ax_jax_runners.files.atomic import write_atomically
from ax_jax_runners.files.lock import WriterLock

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset
    import xarray as xr

_LOG = logging.getLogger("ax_jax_runners.exploration")
_LOCK = "writer.lock"


class WalkArchive:
    """Rows of a walk in shards, and checkpoints from which it goes on; one writer at a time.

    A checkpoint is there as a whole or not at all, whenever the process or the machine stops. Its
    files are written first, the manifest that names them last; the generation of the manifest
    before and all that it names are kept too. Appending reads no earlier rows, except that small
    shards are merged, a few row groups at a time.
    """

    def __init__(
        self,
        directory: Path,
        lock: WriterLock,
        manifest: Manifest,
        previous: Manifest | None,
        concat_every: int,
    ) -> None:
        self.directory = directory
        self._lock = lock
        self._manifest = manifest
        self._previous = previous
        self._concat_every = concat_every
        # An archive that was forgotten, as in a notebook, does not keep the next one out.
        self._release = weakref.finalize(self, lock.release)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        identity: Mapping[str, Any],
        concat_every: int = 60,
        thin: int = 1,
    ) -> WalkArchive:
        """Make an archive, or go on with one, as its only writer.

        All files are compared with their digests. What a killed writer left is removed; where
        something is damaged, the archive goes back to the last checkpoint before it, with a
        warning in the log.

        Args:
            directory: The archive's own folder; made if missing.
            identity: Everything that decides the points, as plain finite JSON.
            concat_every: How many shards of one level are merged into one.
            thin: Every how many iterations a state is recorded; belongs to the identity.

        Raises:
            ConfigurationError: The folder holds the points of another identity; or an argument
                that cannot be used.
            LeaseHeld: Another writer is alive.
            ArtifactCorrupt: There are files, but no generation of the manifest can be read.
            SchemaTooNew: Written by a newer version of this package.
            StoreFull: The disk is full.
        """
        for name, value, least in (("concat_every", concat_every, 2), ("thin", thin, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name} is {value!r}; give a whole number from {least}.")
        folder = Path(directory)
        begun = Manifest(0, plain_identity(identity), thin)
        with _told(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except FileExistsError as error:
                raise ConfigurationError(f"{folder} is not a folder; use another name.") from error
            lock = WriterLock.acquire(folder / _LOCK)
            try:
                return cls(folder, lock, *begin(folder, begun), concat_every)
            except BaseException:
                lock.release()
                raise

    @staticmethod
    def read(directory: Path | str) -> ArchiveView:
        """Look at an archive without writing, also while its writer goes on.

        Raises:
            ArtifactCorrupt: No archive is there, or its manifest is damaged.
            SchemaTooNew: Written by a newer version of this package.
        """
        return ArchiveView.read(directory)

    def save(
        self,
        columns: Mapping[str, Any],
        checkpoint: Checkpoint,
        *,
        parameters: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> None:
        """Append rows and the checkpoint behind them; returns when both are durable.

        Args:
            columns: The walk's own columns by name, arrays with one value a row. `iteration` is
                the first recorded iteration, from 1, at which a chain had this state since the
                checkpoint before, `multiplicity` how many recorded ones it stayed until this
                checkpoint. No rows at all are allowed.
            checkpoint: Its iteration is that of the last row at least.
            parameters: Columns by parameter, in a group of their own: see `arrange` for names that
                clash.
            features: The same by feature. An array feature has one array a row.

        Raises:
            ConfigurationError: Columns that differ from those before or do not fit together, or an
                iteration that was passed already.
            ResultNotStorable: Values that have no place in a file.
            StoreFull: The disk is full. What was there before is whole, and the same rows can be
                saved again.
            LeaseLost: Another writer took over.
            ArtifactCorrupt: The rows are saved, but one of the shards to be merged is damaged.
        """
        if not self._release.alive:
            raise ConfigurationError(f"The archive {self.directory} is closed; open it again.")
        layout, arrays, rows = arrange(columns, parameters or {}, features or {})
        manifest = fit(self._manifest, layout, arrays, checkpoint.iteration, self.directory)
        state, data = encode_state(checkpoint)
        facts = json.loads(canonical(dict(checkpoint.facts)))
        iteration = int(checkpoint.iteration)
        with _told(self.directory):
            self._lock.confirm()
            if rows:
                file = write_rows(self.directory, manifest, arrays, iteration)
                shard = Shard(
                    **vars(file),
                    rows=rows,
                    first_iteration=manifest.iteration + 1,
                    last_iteration=iteration,
                    level=0,
                    state=state,
                )
                shards = (*manifest.shards, shard)
            elif manifest.shards:
                last = replace(manifest.shards[-1], last_iteration=iteration, state=state)
                shards = (*manifest.shards[:-1], last)
            else:
                shards = ()
                manifest = replace(manifest, start=state, start_iteration=iteration)
            write_atomically(self.directory / state.name, data)
            self._publish(replace(manifest, shards=shards, facts=facts))
        self._merge()

    @property
    def view(self) -> ArchiveView:
        """The archive as it is now, for reading."""
        return ArchiveView(self.directory, self._manifest)

    @property
    def latest(self) -> Checkpoint | None:
        return self.view.latest

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.view.shards

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.view.identity

    @property
    def status(self) -> Mapping[str, Any]:
        return self.view.status

    def table(self, columns: Iterable[str] | None = None) -> pa.Table:
        return self.view.table(columns)

    def to_pandas(self, columns: Iterable[str] | None = None) -> pd.DataFrame:
        return self.view.to_pandas(columns)

    def dataset(self) -> pyarrow.dataset.Dataset:
        return self.view.dataset()

    def to_xarray(self) -> xr.Dataset:
        return self.view.to_xarray()

    def close(self) -> None:
        """Let the next writer in. Reading goes on."""
        self._release()

    def __enter__(self) -> WalkArchive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _publish(self, manifest: Manifest) -> None:
        manifest = replace(manifest, generation=self._manifest.generation + 1)
        write_atomically(self.directory / PREVIOUS, self._manifest.encode())
        write_atomically(self.directory / CURRENT, manifest.encode())
        oldest = frozenset() if self._previous is None else self._previous.names
        self._previous, self._manifest = self._manifest, manifest
        for name in oldest - self._previous.names - manifest.names:
            # What cannot be removed now is swept when the archive is opened again.
            with suppress(OSError):
                (self.directory / name).unlink()

    def _merge(self) -> None:
        while (group := mergeable(self.shards, self._concat_every)) is not None:
            try:
                merged = merge(self.directory, self._manifest, group)
                shards = (*self.shards[: group.start], merged, *self.shards[group.stop :])
                self._publish(replace(self._manifest, shards=shards))
            except OSError as error:
                _LOG.warning("Shards of %s are not merged yet: %s", self.directory, error)
                return


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                f"{folder} cannot be written: {error.strerror}. The checkpoint before is whole; "
                "make room and go on from there."
            ) from error
        raise
