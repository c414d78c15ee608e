"""Observations of many rows, in any of the forms of a `PosteriorBatch`, cut and put together.

The forms are an array (B, m), a mapping of arrays (B, ...), nested or not, and B lists of
`ObservationBlock`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.records import ObservationBlock

_FIELDS = ("values", "uncertainties", "coordinates", "mask")


def as_observations(observations: Any) -> Any:
    """Return observations whose arrays are NumPy arrays, or whose rows are lists of blocks.

    Raises:
        ConfigurationError: Neither of the forms.
    """
    if isinstance(observations, Mapping):
        return {str(name): as_observations(part) for name, part in observations.items()}
    if holds_blocks(observations):
        return [list(row) for row in observations]
    array = np.asarray(observations)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise ConfigurationError(
            f"Observations are a {type(observations).__name__} of the type {array.dtype} and the "
            f"shape {array.shape}; give an array of numbers (batch, m), a mapping of such arrays, "
            "or a list of lists of blocks."
        )
    return array


def holds_blocks(observations: Any) -> bool:
    """Whether the rows are lists of blocks."""
    if isinstance(observations, (np.ndarray, Mapping)) or not isinstance(observations, Sequence):
        return False
    return any(
        isinstance(block, ObservationBlock)
        for row in observations
        if isinstance(row, Sequence)
        for block in row
    )


def take(observations: Any, rows: Any) -> Any:
    """Return some rows, given as integers, booleans (one a row) or a slice."""
    if isinstance(observations, Mapping):
        return {name: take(part, rows) for name, part in observations.items()}
    if isinstance(observations, list):
        return [observations[i] for i in np.arange(len(observations))[rows]]
    return observations[rows]


def join(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts, which are alike, one part after the other."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: join([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        return [row for part in parts for row in part]
    return np.concatenate(parts)


def columns(observations: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape of one row and kind of every column, by name, the same in all rows.

    The kind is the modality of a block, else "number", whatever the precision.

    Raises:
        ConfigurationError: Lists of blocks that differ in their columns, with the row.
    """
    if not isinstance(observations, list):
        return {name: (array.shape[1:], "number") for name, array in leaves(observations)}
    told = [_columns_of_blocks(row) for row in observations]
    for number, found in enumerate(told):
        if found != told[0]:
            raise ConfigurationError(
                f"Row {number} of a batch has the blocks {shown(found)} and row 0 has "
                f"{shown(told[0])}; give every row the same blocks, and mask what is missing."
            )
    return told[0] if told else {}


def shown(told: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    """Return columns as one line."""
    return ", ".join(f"{name} {shape} ({kind})" for name, (shape, kind) in told.items()) or "none"


def _columns_of_blocks(row: list[ObservationBlock]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {
        f"{block.name}.{field}": (np.shape(getattr(block, field)), block.modality)
        for block in row
        for field in _FIELDS
        if getattr(block, field) is not None
    }


def leaves(observations: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and array (B, ...) of every column, the names in order."""
    if isinstance(observations, Mapping):
        for name in sorted(observations):
            yield from leaves(observations[name], f"{path}.{name}" if path else name)
    elif isinstance(observations, list):
        yield from _leaves_of_blocks(observations)
    else:
        yield path or "observations", observations


def _leaves_of_blocks(rows: list[list[ObservationBlock]]) -> Iterator[tuple[str, np.ndarray]]:
    blocks: dict[str, list[np.ndarray]] = {}
    for row in rows:
        for block in row:
            for field in _FIELDS:
                value = getattr(block, field)
                if value is not None:
                    blocks.setdefault(f"{block.name}.{field}", []).append(np.asarray(value))
    for name in sorted(blocks):
        yield name, np.stack(blocks[name])
