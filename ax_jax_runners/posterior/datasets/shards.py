"""Rows as the bytes of one parquet or npz file, and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays
from ax_jax_runners.files.whole import open_whole
from ax_jax_runners.posterior.datasets.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("parquet", "npz")


def encode_shard(kind: str, columns: Sequence[Column], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return rows as the bytes of a file, which follow from the values alone.

    Args:
        kind: "parquet" or "npz".
        columns: In the order of the file.
        arrays: (B, ...) by name of the column.
    """
    if kind == "npz":
        return encode_arrays({column.name: arrays[column.name] for column in columns})
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = [_to_arrow(arrays[column.name], column) for column in columns]
    fields = [
        pa.field(c.name, array.type, nullable=False)
        for c, array in zip(columns, values, strict=True)
    ]
    stream = io.BytesIO()
    # A dictionary compares floating-point numbers by value, so there is none.
    pq.write_table(
        pa.Table.from_arrays(values, schema=pa.schema(fields)),
        stream,
        compression="zstd",
        use_dictionary=False,
    )
    return stream.getvalue()


def read_shard(
    path: Path, columns: Sequence[Column], *, sha256: str, size: int, rows: int, advice: str
) -> dict[str, np.ndarray]:
    """Return columns of one file by their names, after its digest was found right.

    Args:
        path: Where it is; ends in .parquet or .npz.
        columns: Which.
        sha256: Of its bytes.
        size: In bytes.
        rows: How many it holds.
        advice: What to do where it is damaged, for the sentence.

    Raises:
        ArtifactCorrupt: Missing, damaged, or without these columns.
    """
    with open_whole(path, sha256=sha256, size=size, advice=advice) as stream:
        try:
            if path.suffix == ".npz":
                found = decode_arrays(stream.read())
                arrays = {column.name: found[column.name] for column in columns}
            else:
                arrays = _read_parquet(stream, columns)
        except (KeyError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise ArtifactCorrupt(f"{path} cannot be read ({error}); {advice}.") from error
    for column in columns:
        array = arrays[column.name]
        if array.shape != (rows, *column.shape) or array.dtype.name != column.dtype:
            raise ArtifactCorrupt(
                f"Column {column.name!r} of {path} is {array.dtype} {array.shape} instead of "
                f"{column.dtype} {(rows, *column.shape)}; {advice}."
            )
    return arrays


def _read_parquet(stream: Any, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    names = [column.name for column in columns]
    with pq.ParquetFile(stream) as file:
        # A name with dots would be taken for a path into nested columns, where there is one.
        table = file.read(columns=names).select(names)
    return {column.name: _to_numpy(table[column.name], column) for column in columns}


def _to_arrow(array: np.ndarray, column: Column) -> pa.Array:
    import pyarrow as pa

    flat = pa.array(array.reshape(-1))
    if not column.shape:
        return flat
    element = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(element, column.elements))


def _to_numpy(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    whole = values.combine_chunks()
    flat = (whole.flatten() if column.shape else whole).to_numpy(zero_copy_only=False)
    return flat.reshape(-1, *column.shape)
