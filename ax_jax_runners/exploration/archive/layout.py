"""The columns of a walk's rows: what they are called, of which type, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, ResultNotStorable

if TYPE_CHECKING:
    import pyarrow as pa

CHAIN = ("seed_point", "particle", "iteration", "multiplicity", "suggestions", "violation")
_ROW_GROUP_BYTES = 16 * 2**20
_ROW_GROUP_ROWS = 2**16


@dataclass(frozen=True)
class Column:
    """One column of every shard.

    Attributes:
        name: Its name in the shards.
        group: "chain", "parameter" or "feature".
        source: What the walk calls it within its group.
        dtype: NumPy's name of a boolean, integer or floating type.
        shape: Shape of one value; () for a scalar.
    """

    name: str
    group: str
    source: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Numbers in one value."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        shape = f" of shape {self.shape}" if self.shape else ""
        return f"{self.group} {self.source!r} ({self.dtype}{shape})"


@dataclass(frozen=True)
class Layout:
    """The columns of a run, the same in all its shards.

    Attributes:
        columns: In the order of the files.
    """

    columns: tuple[Column, ...] = ()

    def sources(self, group: str) -> dict[str, str]:
        """Columns by what the walk calls them, of one group."""
        return {c.source: c.name for c in self.columns if c.group == group}

    def select(self, names: Iterable[str] | None) -> tuple[Column, ...]:
        """The columns of these names, in this order; all for None.

        Raises:
            ConfigurationError: A name that no column has.
        """
        if names is None:
            return self.columns
        if isinstance(names, str):
            raise ConfigurationError(f"Columns are given as a list; write [{names!r}].")
        known = {column.name: column for column in self.columns}
        wanted = list(names)
        for name in wanted:
            if name not in known:
                raise ConfigurationError(
                    f"The archive has no column {name!r}; it has {', '.join(known) or 'none yet'}."
                )
        return tuple(known[name] for name in wanted)

    @property
    def rows_per_group(self) -> int:
        """How many rows are held in memory at once while shards are merged."""
        width = sum(np.dtype(c.dtype).itemsize * c.elements for c in self.columns)
        return max(1, min(_ROW_GROUP_ROWS, _ROW_GROUP_BYTES // max(width, 1)))

    def to_arrow(self, metadata: Mapping[str, str]) -> pa.Schema:
        """The schema of the shards."""
        import pyarrow as pa

        fields = []
        for column in self.columns:
            kind = pa.from_numpy_dtype(np.dtype(column.dtype))
            if column.shape:
                element = pa.field("element", kind, nullable=False)
                kind = pa.list_(element, column.elements)
            fields.append(pa.field(column.name, kind, nullable=False))
        return pa.schema(fields, metadata=dict(metadata))

    def to_json(self) -> list[dict[str, Any]]:
        return [{**vars(column), "shape": list(column.shape)} for column in self.columns]

    @classmethod
    def from_json(cls, columns: list[dict[str, Any]]) -> Layout:
        return cls(tuple(Column(**{**c, "shape": tuple(c["shape"])}) for c in columns))


def arrange(
    columns: Mapping[str, Any], parameters: Mapping[str, Any], features: Mapping[str, Any]
) -> tuple[Layout, dict[str, np.ndarray], int]:
    """Name the columns, and bring their values into the form of the files.

    The walk's own columns keep their names, and their six standard names are theirs in any case.
    A parameter of such a name is stored as ``parameter.<name>``; a feature that is called like
    one of them or like a parameter as ``feature.<name>``.

    Returns:
        The layout, the arrays by column, and the number of rows.

    Raises:
        ConfigurationError: Columns of different lengths.
        ResultNotStorable: A name that is no text, or values that are not numbers or booleans.
    """
    taken = set(CHAIN) | set(columns)
    arranged: list[Column] = []
    arrays: dict[str, np.ndarray] = {}
    groups = {"chain": columns, "parameter": parameters, "feature": features}
    for group, given in groups.items():
        for source, values in given.items():
            what = f"The {group} column {source!r}"
            _check_name(source, what)
            name = source
            while group != "chain" and name in taken:
                name = f"{group}.{name}"
            taken.add(name)
            array = _plain(values, what)
            arranged.append(Column(name, group, source, array.dtype.name, array.shape[1:]))
            arrays[name] = array
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigurationError(
            f"Columns of one shard have different lengths: {lengths}; give one row a state."
        )
    return Layout(tuple(arranged)), arrays, next(iter(lengths.values()), 0)


def check_same(before: Layout, now: Layout, where: Any) -> None:
    """Refuse columns that differ from those of the shards so far.

    Raises:
        ConfigurationError: Names the first one.
    """
    if before == now:
        return
    names = {c.name: c for c in before.columns}, {c.name: c for c in now.columns}
    for name in [*names[0], *names[1]]:
        old, new = (side.get(name) for side in names)
        if old != new:
            raise ConfigurationError(
                f"Column {name!r} of {where} is {old or 'absent'} so far and {new or 'absent'} "
                "now; all shards of a run have the same columns."
            )
    raise ConfigurationError(
        f"The columns of {where} come in another order, {list(names[1])} instead of "
        f"{list(names[0])}; all shards of a run have the same columns."
    )


def _check_name(name: Any, what: str) -> None:
    try:
        if isinstance(name, str) and name and name.encode("utf-8"):
            return
    except UnicodeEncodeError:
        pass
    raise ResultNotStorable(f"{what} cannot be stored by that name; use a non-empty text.")


def _plain(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or array.dtype.isbuiltin == 2:
        raise ResultNotStorable(
            f"{what} has the type {array.dtype}; give booleans, integers or floating-point "
            "numbers of at most 64 bits."
        )
    if array.ndim == 0 or 0 in array.shape[1:]:
        raise ResultNotStorable(
            f"{what} has the shape {array.shape}; give one value, or one array that is not "
            "empty, for each row."
        )
    # Parquet is little-endian, and so is every machine that NumPy's wheels are made for.
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
