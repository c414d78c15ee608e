"""Rows of a walk as columns, and columns as the bytes of a parquet or npz file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.exploration.isf.answers import Kept
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays

if TYPE_CHECKING:
    import pandas as pd

ShardFormat = Literal["parquet", "npz"]
SHARD_FORMATS: tuple[ShardFormat, ...] = ("parquet", "npz")
Columns = dict[str, np.ndarray]
"""Columns by name: float64, int64 or bool, or objects that are texts or None."""

OWN_COLUMNS = ("inside", "n_suggestion", "iteration", "particle_id")
_ORDER = "__columns__"


@dataclass
class Rows:
    """Evaluated points that are not saved yet.

    Attributes:
        parameters: Names of all parameters.
        particle_id: Stands in every row.
    """

    parameters: tuple[str, ...]
    particle_id: int | str
    _points: list[np.ndarray] = field(default_factory=list)
    _answers: list[dict[str, Kept]] = field(default_factory=list)
    _inside: list[bool] = field(default_factory=list)
    _suggestions: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._points)

    def add(
        self, point: np.ndarray, inside: bool, answer: dict[str, Kept], suggestions: float
    ) -> None:
        """Add one evaluated point: (n,) float64, physical units."""
        self._points.append(point)
        self._inside.append(inside)
        self._answers.append(answer)
        self._suggestions.append(suggestions)

    def kinds(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return the kind, "number" or "text", of every column that an answer ever had."""
        kinds = dict(known)
        for answer in self._answers:
            for name, value in answer.items():
                if isinstance(value, str):
                    kinds[name] = "text"
                elif name not in kinds:
                    kinds[name] = "number"
        return kinds

    def columns(self, kinds: Mapping[str, str], last: int) -> Columns:
        """Return the rows as columns; ``last`` is the iteration of the last row."""
        points = np.stack(self._points)
        columns: Columns = {
            name: np.ascontiguousarray(points[:, place])
            for place, name in enumerate(self.parameters)
        }
        for name, kind in kinds.items():
            columns[name] = _column([answer.get(name) for answer in self._answers], kind)
        count = len(self)
        columns["inside"] = np.array(self._inside, dtype=bool)
        columns["n_suggestion"] = np.array(self._suggestions, dtype=np.float64)
        columns["iteration"] = np.arange(last - count + 1, last + 1, dtype=np.int64)
        whole = isinstance(self.particle_id, int)
        columns["particle_id"] = np.full(count, self.particle_id, np.int64 if whole else object)
        return columns

    def clear(self) -> None:
        """Forget all rows."""
        for values in (self._points, self._answers, self._inside, self._suggestions):
            values.clear()


def join(parts: Sequence[Columns], kinds: Mapping[str, str]) -> Columns:
    """Return the rows of several shards, in the given order, as one."""
    count = [len(part["iteration"]) for part in parts]
    names = [name for name in parts[0] if name not in kinds and name not in OWN_COLUMNS]
    joined: Columns = {}
    for name in (*names, *kinds, *OWN_COLUMNS):
        if name in kinds:
            lists = [
                part[name].tolist() if name in part else [None] * n
                for part, n in zip(parts, count, strict=True)
            ]
            joined[name] = _column([v for values in lists for v in values], kinds[name])
        else:
            joined[name] = np.concatenate([part[name] for part in parts])
    return joined


def encode(columns: Columns, shard_format: ShardFormat, *, compress: bool = False) -> bytes:
    """Return columns as the bytes of one file; equal columns give equal bytes.

    Args:
        columns: All of one length.
        shard_format: Of the file.
        compress: Whether parquet is compressed, which pays for some thousand rows only.
    """
    if shard_format == "npz":
        plain = {
            name: np.array(["" if v is None else v for v in values], dtype=np.str_)
            if values.dtype == object
            else values
            for name, values in columns.items()
        }
        return encode_arrays({**plain, _ORDER: np.array(list(columns), dtype=np.str_)})
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            name: pa.array(values, type=pa.string() if values.dtype == object else None)
            for name, values in columns.items()
        }
    )
    stream = io.BytesIO()
    compression = "zstd" if compress else "none"
    pq.write_table(table, stream, compression=compression, use_dictionary=False)
    return stream.getvalue()


def decode(data: bytes, name: str) -> Columns:
    """Return the columns of one file.

    Raises:
        ArtifactCorrupt: The bytes are not such a file.
    """
    if name.endswith(".npz"):
        arrays = decode_arrays(data)
        order = arrays.pop(_ORDER, np.array(list(arrays), dtype=np.str_)).tolist()
        return {column: _texts(arrays[column]) for column in order}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactCorrupt(
            f"{name} is not a parquet file ({error}); restore it from a copy."
        ) from error
    return {column: table[column].to_numpy() for column in table.column_names}


def to_frame(columns: Columns) -> pd.DataFrame:
    """Return columns as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(columns)


def _column(values: Sequence[Kept], kind: str) -> np.ndarray:
    if kind == "number":
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    texts: list[Any] = [_text(v) for v in values]
    column = np.empty(len(texts), dtype=object)
    column[:] = texts
    return column


def _text(value: Kept) -> str | None:
    # A missing number of a column that had numbers only so far.
    if value is None or isinstance(value, str) or value != value:
        return value if isinstance(value, str) else None
    return json.dumps(value)


def _texts(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "U":
        return values
    column = np.empty(len(values), dtype=object)
    column[:] = [v or None for v in values.tolist()]
    return column
