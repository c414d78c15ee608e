"""Observations of any form, gathered into one array for each channel of each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.records import ObservationBlock

#: Name and modality of what an observation that is an array becomes.
VECTOR = "vector"


@dataclass(frozen=True, eq=False)
class Gathered:
    """One block of all observations.

    Attributes:
        modality: That of an `ObservationBlock`, or "vector".
        values: (B, L), float32 if they were given so, else float64; 0 under a false mask.
        uncertainties: The same, or None.
        coordinates: The same, or None.
        mask: (B, L) booleans for a block that was given as `ObservationBlock`, else None.
        has_mask: Whether any observation came with a mask.
    """

    modality: str
    values: np.ndarray
    uncertainties: np.ndarray | None = None
    coordinates: np.ndarray | None = None
    mask: np.ndarray | None = None
    has_mask: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Which of uncertainties, coordinates and mask were given."""
        given = {
            "uncertainties": self.uncertainties is not None,
            "coordinates": self.coordinates is not None,
            "mask": self.has_mask,
        }
        return tuple(name for name, is_given in given.items() if is_given)


def gather(observations: Any) -> dict[str, Gathered]:
    """Return the blocks of observations by name.

    Args:
        observations: (B, m), a mapping of arrays (B, ...), or B lists of `ObservationBlock`.

    Raises:
        ConfigurationError: Observations that are none of these or differ from each other in more
            than their numbers; a measured entry that is not finite; a negative uncertainty.
    """
    if isinstance(observations, Mapping):
        gathered = {
            name: Gathered("auxiliary", array.reshape(len(array), -1))
            for name, array in _arrays(observations).items()
        }
    elif _holds_blocks(observations):
        gathered = _gather_blocks(observations)
    else:
        gathered = {VECTOR: Gathered(VECTOR, _plain_vectors(observations))}
    for name, block in gathered.items():
        if block.mask is None:
            _refuse(~np.isfinite(block.values), name, "values that are not finite")
    return gathered


def _arrays(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in mapping.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= _arrays(value, f"{path}.")
            continue
        array = _numbers(value, path)
        if not array.ndim or not array.size:
            raise ConfigurationError(
                f"Observation {path!r} has the shape {array.shape}; give (batch, ...) with at "
                "least one number in each row."
            )
        found[path] = array
    rows = {path: len(array) for path, array in found.items()}
    if not prefix and len(set(rows.values())) != 1:
        raise ConfigurationError(
            f"Observations have the rows {rows}; give every array the same first axis."
        )
    return found


def _plain_vectors(observations: Any) -> np.ndarray:
    array = _numbers(observations, VECTOR)
    if array.ndim != 2 or not array.size:
        raise ConfigurationError(
            f"Observations have the shape {array.shape}; give (batch, m), with a batch of 1 for "
            "one vector, or a mapping for arrays of more axes."
        )
    return array


def _holds_blocks(observations: Any) -> bool:
    if not isinstance(observations, Sequence):
        return False
    rows = [row for row in observations if isinstance(row, ObservationBlock)]
    if rows:
        raise ConfigurationError(
            f"Block {rows[0].name!r} stands where an observation is due; give a list of "
            "observations, each of them a list of blocks."
        )
    return any(
        isinstance(row, Sequence) and any(isinstance(block, ObservationBlock) for block in row)
        for row in observations
    )


def _gather_blocks(observations: Sequence[Sequence[ObservationBlock]]) -> dict[str, Gathered]:
    for row, blocks in enumerate(observations):
        for block in blocks:
            if not isinstance(block, ObservationBlock):
                raise ConfigurationError(
                    f"Observation {row} holds a {type(block).__name__} among its blocks; give an "
                    "ObservationBlock."
                )
    names = [block.name for block in observations[0]]
    columns: dict[str, list[ObservationBlock]] = {name: [] for name in names}
    for row, blocks in enumerate(observations):
        found = [block.name for block in blocks]
        if sorted(found) != sorted(names) or len(set(found)) < len(found):
            raise ConfigurationError(
                f"Observation {row} has the blocks {found} and observation 0 the blocks {names}; "
                "give every observation the same blocks, each name once."
            )
        for block in blocks:
            columns[block.name].append(block)
    return {name: _gather_column(name, column) for name, column in columns.items()}


def _gather_column(name: str, blocks: Sequence[ObservationBlock]) -> Gathered:
    first = blocks[0]
    for row, block in enumerate(blocks):
        for what, here, there in (
            ("modality", block.modality, first.modality),
            ("length", len(block.values), len(first.values)),
            ("uncertainties", block.uncertainties is not None, first.uncertainties is not None),
            ("coordinates", block.coordinates is not None, first.coordinates is not None),
        ):
            if here != there:
                raise ConfigurationError(
                    f"Block {name!r} differs in its {what} between observation {row} ({here}) and "
                    f"observation 0 ({there}); give it alike in all of them, with a mask where "
                    "something was not measured."
                )
    full = np.ones(len(first.values), bool)
    mask = np.stack([full if block.mask is None else _flags(block) for block in blocks])
    channels: dict[str, np.ndarray] = {}
    for channel in ("values", "uncertainties", "coordinates"):
        if getattr(first, channel) is not None:
            numbers = _numbers([np.asarray(getattr(block, channel)) for block in blocks], name)
            _refuse(mask & ~np.isfinite(numbers), name, f"{channel} that are not finite")
            channels[channel] = np.where(mask, numbers, numbers.dtype.type(0))
    if "uncertainties" in channels:
        _refuse(channels["uncertainties"] < 0, name, "negative uncertainties")
    has_mask = any(block.mask is not None for block in blocks)
    return Gathered(first.modality, **channels, mask=mask, has_mask=has_mask)


def _flags(block: ObservationBlock) -> np.ndarray:
    mask = np.asarray(block.mask)
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ConfigurationError(
            f"The mask of block {block.name!r} holds other numbers than 0 and 1; give booleans, "
            "true where a value was measured."
        )
    return mask.astype(bool)


def _numbers(value: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ConfigurationError(
            f"Observation {name!r} has rows of different shapes; give an array (batch, ...)."
        ) from error
    if array.dtype.kind not in "fiub":
        raise ConfigurationError(
            f"Observation {name!r} is of the type {array.dtype}; give real numbers."
        )
    return array if array.dtype == np.float32 else array.astype(np.float64)


def _refuse(wrong: np.ndarray, name: str, what: str) -> None:
    if wrong.any():
        row, entry = np.argwhere(wrong)[0]
        raise ConfigurationError(
            f"Block {name!r} has {what}: {np.count_nonzero(wrong)} of them, the first in "
            f"observation {row}, entry {entry}; mask them (in an ObservationBlock) or leave these "
            "observations out."
        )
