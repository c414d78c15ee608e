"""Rows as parquet files: written, read and merged, never more than a few row groups at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.exploration.archive.files import Named, open_whole
from ax_jax_runners.exploration.archive.layout import Column, Layout
from ax_jax_runners.exploration.archive.manifest import Manifest, Shard
from ax_jax_runners.files.atomic import write_in_parts

if TYPE_CHECKING:
    import pyarrow as pa

# A merge must find as much free space as its result takes, and readers one file in their memory.
_LARGEST_MERGED = 2**30


def write_rows(
    folder: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray], last_iteration: int
) -> Named:
    """Write the rows after the newest checkpoint as one shard, durably.

    Args:
        folder: The archive's.
        manifest: The newest, with the layout of these rows.
        arrays: Values by column.
        last_iteration: That of the checkpoint at the end.

    Raises:
        OSError: The folder cannot be written.
    """
    import pyarrow as pa

    schema = manifest.schema
    values = [_to_arrow(arrays[c.name], c, schema) for c in manifest.layout.columns]
    rows = pa.Table.from_arrays(values, schema=schema)
    return _write(folder, manifest, [rows], manifest.iteration + 1, last_iteration)


def read_rows(folder: Path, shard: Shard, columns: Sequence[str]) -> pa.Table:
    """Read some columns of one shard.

    Raises:
        ArtifactCorrupt: The file is missing or not what it was.
    """
    import pyarrow.parquet as pq

    with open_whole(folder, shard) as stream, pq.ParquetFile(stream) as file:
        return file.read(columns=list(columns)).select(list(columns))


def merge(folder: Path, manifest: Manifest, group: slice) -> Shard:
    """Write the rows of neighbouring shards as one shard, one level up; they stay as they are.

    Raises:
        ArtifactCorrupt: One of them is missing or not what it was.
        OSError: The folder cannot be written.
    """
    shards = manifest.shards[group]
    first, last = shards[0].first_iteration, shards[-1].last_iteration
    parts = _regrouped(_row_groups(folder, shards), manifest.layout.rows_per_group)
    file = _write(folder, manifest, parts, first, last)
    return Shard(
        **vars(file),
        rows=sum(shard.rows for shard in shards),
        first_iteration=first,
        last_iteration=last,
        level=shards[0].level + 1,
        state=shards[-1].state,
    )


def mergeable(shards: Sequence[Shard], at_least: int) -> slice | None:
    """The oldest neighbours that should be one: ``at_least`` of the same level; None if none.

    Merged shards are merged again, level by level, so that the number of shards grows with the
    logarithm of the number of checkpoints, until two of them would make too large a file.
    """
    start = 0
    for (_, full), run in groupby(shards, lambda s: (s.level, 2 * s.size > _LARGEST_MERGED)):
        sizes = [shard.size for shard in run]
        if len(sizes) >= at_least and not full:
            fitting = sum(total <= _LARGEST_MERGED for total in accumulate(sizes[:at_least]))
            return slice(start, start + fitting)
        start += len(sizes)
    return None


def _write(
    folder: Path, manifest: Manifest, parts: Iterable[pa.Table], first: int, last: int
) -> Named:
    import pyarrow.parquet as pq

    name, size, digest = "", 0, ""
    options = {"compression": "zstd", **_encodings(manifest.layout)}
    with write_in_parts(folder, lambda: name) as stream:
        with pq.ParquetWriter(stream, manifest.schema, **options) as writer:
            for part in parts:
                writer.write_table(part, row_group_size=manifest.layout.rows_per_group)
        size = stream.tell()
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        name = f"shard-{first:012d}-{last:012d}-{digest[:16]}.parquet"
    return Named(name, digest, size)


def _encodings(layout: Layout) -> dict[str, Any]:
    # A dictionary compares floating-point numbers by value, so they get none; their bytes, sorted
    # by significance, also compress better.
    paths = {c.name: f"{c.name}.list.element" if c.shape else c.name for c in layout.columns}
    kinds = {c.name: c.dtype for c in layout.columns}
    split = [paths[name] for name, kind in kinds.items() if kind in ("float32", "float64")]
    whole = [paths[name] for name, kind in kinds.items() if "int" in kind]
    return {
        "use_dictionary": whole or False,
        "column_encoding": dict.fromkeys(split, "BYTE_STREAM_SPLIT") or None,
    }


def _row_groups(folder: Path, group: Sequence[Shard]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for shard in group:
        with open_whole(folder, shard) as stream, pq.ParquetFile(stream) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)


def _regrouped(parts: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Join small tables until one has at least ``rows``."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part)
        if sum(table.num_rows for table in waiting) >= rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _to_arrow(array: np.ndarray, column: Column, schema: pa.Schema) -> pa.Array:
    import pyarrow as pa

    flat = pa.array(array.reshape(-1))
    if not column.shape:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, type=schema.field(column.name).type)
