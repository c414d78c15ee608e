"""What every observation of a data set has in common, and how new ones are held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.encoders.gathering import VECTOR, Gathered, gather
from ax_jax_runners.posterior.encoders.grids import Grid, common_grid, off_grid

#: Observations in one form: by block and channel, (B, L) arrays.
Stacked = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class BlockSchema:
    """One block.

    Attributes:
        name: "vector" for observations that are arrays.
        modality: That of an `ObservationBlock`, or "vector".
        length: Numbers in it.
        channels: Which of "uncertainties", "coordinates" and "mask" the data set has.
        maskable: Whether its rows carry a mask; so they do, whether the data set has one or not,
            where observations are lists of `ObservationBlock`.
        grid: Coordinates of its entries where all observations have the same (None for an entry
            that none has measured); None for a block without coordinates or with changing ones.
    """

    name: str
    modality: str
    length: int
    channels: tuple[str, ...] = ()
    maskable: bool = False
    grid: Grid | None = None

    @property
    def stacked_channels(self) -> tuple[str, ...]:
        """What a stacked observation holds of it, values first; a grid is in the schema only."""
        carried = {
            "uncertainties": "uncertainties" in self.channels,
            "coordinates": "coordinates" in self.channels and self.grid is None,
            "mask": self.maskable,
        }
        return ("values", *(name for name, is_carried in carried.items() if is_carried))

    def describe(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "name": self.name,
            "modality": self.modality,
            "length": self.length,
            "channels": list(self.channels),
            "maskable": self.maskable,
            "grid": None if self.grid is None else list(self.grid),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> BlockSchema:
        """Return the block that `describe` gave."""
        grid = description["grid"]
        return cls(
            name=description["name"],
            modality=description["modality"],
            length=int(description["length"]),
            channels=tuple(description["channels"]),
            maskable=bool(description["maskable"]),
            grid=None if grid is None else tuple(grid),
        )

    @classmethod
    def of(cls, name: str, block: Gathered) -> BlockSchema:
        """Return the schema of a block of a data set."""
        grid = None
        if block.coordinates is not None and block.mask is not None:
            grid = common_grid(block.coordinates, block.mask)
        return cls(
            name=name,
            modality=block.modality,
            length=block.values.shape[1],
            channels=block.channels,
            maskable=block.mask is not None,
            grid=grid,
        )

    def stack(self, block: Gathered) -> dict[str, np.ndarray]:
        """Return the channels of a block that fits.

        Raises:
            ConfigurationError: It does not; the sentence says in what.
        """
        self._check(block)
        rows = block.values.shape
        mask = np.ones(rows, bool) if block.mask is None else block.mask
        if self.grid is not None and block.coordinates is not None:
            off = off_grid(self.grid, block.coordinates, mask)
            if off is not None:
                row, entry = off
                raise ConfigurationError(
                    f"Block {self.name!r} has the coordinate {block.coordinates[row, entry]:.9g} "
                    f"at entry {entry} of observation {row}, where all training observations have "
                    f"{self.grid[entry]:.9g}; bring it to that grid, or train with observations on "
                    "different grids."
                )
        channels = {
            "values": block.values,
            "uncertainties": block.uncertainties,
            "coordinates": block.coordinates,
            "mask": mask,
        }
        return {name: np.asarray(channels[name]) for name in self.stacked_channels}

    def _check(self, block: Gathered) -> None:
        for what, here, there in (
            ("modality", block.modality, self.modality),
            ("length", block.values.shape[1], self.length),
        ):
            if here != there:
                raise ConfigurationError(
                    f"Block {self.name!r} has the {what} {here}, and {there} in the training data; "
                    "give it as it was there."
                )
        for channel in ("uncertainties", "coordinates"):
            here, there = channel in block.channels, channel in self.channels
            if here != there:
                raise ConfigurationError(
                    f"Block {self.name!r} comes {'with' if here else 'without'} {channel}, and "
                    f"{'with' if there else 'without'} them in the training data; "
                    f"{'add' if there else 'leave out'} the {channel}."
                )
        if not self.maskable and block.mask is not None and not block.mask.all():
            raise ConfigurationError(
                f"Block {self.name!r} has masked entries, and was an array in the training data, "
                "which knows no masks; train with lists of ObservationBlock."
            )


@dataclass(frozen=True)
class ObservationSchema:
    """The blocks that every observation has; hashable, and equal where all of this is equal.

    Attributes:
        blocks: In the order of their names.
    """

    blocks: tuple[BlockSchema, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(sorted(self.blocks, key=lambda b: b.name)))

    @classmethod
    def of(cls, observations: Any) -> ObservationSchema:
        """Return the schema of the observations of a data set.

        Args:
            observations: (B, m), a mapping of arrays (B, ...), or B lists of `ObservationBlock`.

        Raises:
            ConfigurationError: Observations that are none of these, or that differ from each other
                in more than their numbers.
        """
        gathered = gather(observations)
        return cls(tuple(BlockSchema.of(name, block) for name, block in gathered.items()))

    @property
    def vector_only(self) -> bool:
        """Whether observations are plain vectors."""
        return [block.modality for block in self.blocks] == [VECTOR]

    def stack(self, observations: Any) -> Stacked:
        """Return observations as arrays, by block and channel.

        Args:
            observations: In the form of the training data; any number of them. A block without a
                mask is measured everywhere, whether the training data had masks or not.

        Returns:
            For each block "values" (B, L), and "uncertainties", "coordinates" (unless all
            observations share one grid, which the schema holds) and "mask" (booleans; of an
            `ObservationBlock` always) of the same shape. Real numbers keep float32 if they are
            given so, and are float64 else; those under a false mask are 0.

        Raises:
            ConfigurationError: A block that is missing, unknown or of another modality, length or
                grid, one with other channels, or a measured entry that is not finite.
        """
        gathered = gather(observations)
        wanted = [block.name for block in self.blocks]
        for name in wanted:
            if name not in gathered:
                raise ConfigurationError(
                    f"Block {name!r} of the training data is missing among {sorted(gathered)}; "
                    "give it, with a false mask if it was not measured."
                )
        for name in gathered:
            if name not in wanted:
                raise ConfigurationError(
                    f"Block {name!r} is not one of the training data, which has {wanted}; "
                    "leave it out."
                )
        return {block.name: block.stack(gathered[block.name]) for block in self.blocks}

    def describe(self) -> dict[str, Any]:
        """Return it as plain JSON; `from_description` reads it."""
        return {"blocks": [block.describe() for block in self.blocks]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> ObservationSchema:
        """Return the schema that `describe` gave."""
        return cls(tuple(BlockSchema.from_description(block) for block in description["blocks"]))
