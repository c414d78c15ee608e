"""Batches of rows that lie in blocks, of which no more than one is held in memory."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.datasets.digest import RowsDigest
from ax_jax_runners.posterior.datasets.observations import join, take
from ax_jax_runners.posterior.datasets.splitting import check_split, is_validation
from ax_jax_runners.posterior.records import PosteriorBatch

_DIGESTED = 4096
_SHUFFLING = 0x5F17_0FF1_E000_0001


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of one block, not copied out of it before they are asked for.

    Attributes:
        numbers: (n,) int64, their places in the data set.
        places: (n,) int64, their places in the block; one may be there more than once.
        parameters: Of the whole block, (b, d) float64, physical units.
        observations: Of the whole block, in one of the forms of a `PosteriorBatch`.
    """

    numbers: np.ndarray
    places: np.ndarray
    parameters: np.ndarray
    observations: Any

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, which: Any) -> Rows:
        """Return some of them, given as integers, booleans (one a row) or a slice."""
        return replace(self, numbers=self.numbers[which], places=self.places[which])


class BlockReader(ABC):
    """A data set whose rows lie in blocks; yields every row once in a pass.

    Attributes:
        names: Of the parameters, in the order of their columns.
        space: Their prior; None where it is not known.
        validation_fraction: Share of the rows that is held back to validate.
        manifest: What is known of the rows' making, as plain JSON; None where nothing is.
        preprocessing_metadata: What was done to the observations; None: nothing, they are raw.
    """

    names: tuple[str, ...]
    space: ParameterSpace | None
    validation_fraction: float = 0.1
    manifest: Mapping[str, Any] | None = None
    preprocessing_metadata: Mapping[str, Any] | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names and rows, the same however they are stored and in every process."""
        return self._digest_of_rows

    @property
    @abstractmethod
    def _sizes(self) -> Sequence[int]:
        """How many rows each block yields."""

    @abstractmethod
    def _read(self, block: int) -> tuple[np.ndarray, Any, np.ndarray]:
        """Return parameters and observations of a block, and the place in it of each row."""

    def __len__(self) -> int:
        return int(sum(self._sizes))

    def iter_batches(
        self,
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        seed: int = 0,
        split: str | None = None,
    ) -> Iterator[PosteriorBatch]:
        """Yield every row once, in batches of ``batch_size`` rows and a last smaller one.

        Args:
            batch_size: Rows of a batch.
            shuffle: Whether the order is drawn: that of the blocks, and within each block.
            seed: Of that order. Which rows are held back does not depend on it.
            split: "train", "validation", or None for all rows.

        Raises:
            ConfigurationError: An argument that cannot be used.
            ArtifactCorrupt: A file of the data set that is missing or damaged.
        """
        check_whole("batch_size", batch_size, 1)
        check_whole("seed", seed, 0)
        check_split(split)
        return self._batches(batch_size, seed if shuffle else None, split)

    def _batches(
        self, batch_size: int, seed: int | None, split: str | None
    ) -> Iterator[PosteriorBatch]:
        for parts in rebatch(self._blocks(seed, split), batch_size):
            yield PosteriorBatch(
                np.concatenate([part.parameters[part.places] for part in parts]),
                join([take(part.observations, part.places) for part in parts]),
                {"rows": np.concatenate([part.numbers for part in parts])},
            )

    def _blocks(self, seed: int | None, split: str | None) -> Iterator[Rows]:
        starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        order = np.arange(len(self._sizes))
        random = None
        if seed is not None:
            random = np.random.Generator(np.random.Philox(key=[seed, _SHUFFLING]))
            order = random.permutation(order)
        for block in order:
            parameters, observations, places = self._read(int(block))
            numbers = np.arange(starts[block], starts[block + 1])
            rows = Rows(numbers, places, parameters, observations)
            if not len(rows):
                continue
            if split is not None:
                held = self._is_validation(rows)
                rows = rows.take(held if split == "validation" else ~held)
            if random is not None:
                rows = rows.take(random.permutation(len(rows)))
            if len(rows):
                yield rows

    def _is_validation(self, rows: Rows) -> np.ndarray:
        """Tell which rows of a block are held back."""
        first, last = int(rows.numbers[0]), int(rows.numbers[-1])
        return is_validation(first, last + 1, len(self), fraction=self.validation_fraction)

    @functools.cached_property
    def _digest_of_rows(self) -> str:
        digest = RowsDigest()
        for batch in self._batches(_DIGESTED, None, None):
            digest.update(batch.parameters, batch.observations)
        return digest.hexdigest(self.names)


def rebatch(blocks: Iterable[Rows], batch_size: int) -> Iterator[list[Rows]]:
    """Yield the rows of blocks, ``batch_size`` at a time, the last ones fewer, in parts."""
    waiting: list[Rows] = []
    count = 0
    for block in blocks:
        place = 0
        while place < len(block):
            piece = block.take(slice(place, place + batch_size - count))
            waiting.append(piece)
            count += len(piece)
            place += len(piece)
            if count == batch_size:
                yield waiting
                waiting, count = [], 0
    if waiting:
        yield waiting


def check_whole(name: str, value: Any, least: int) -> int:
    """Return a whole number.

    Raises:
        ConfigurationError: It is none, or below ``least`` or above 2**63.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number from {least}.")
    return int(value)
