"""Standardisation of observations, from training data and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.encoders.schema import BlockSchema, ObservationSchema, Stacked

_SEQUENCES = ("spectrum", "time_series")


@dataclass(frozen=True)
class BlockPreprocessing:
    """How one block is brought to mean 0 and scale 1.

    Every entry has its own mean and scale where it means the same in every observation: in all
    blocks but time series, and spectra on different grids. Those have one mean and one scale.
    (Spectra spread over orders of magnitude, and with one scale the faint end is not seen: on a
    thermal spectrum of 233 wavelengths whose mean varies by a factor of 291, the regression of five
    parameters by a small convolutional network was left with 0.27 of their variance after 12
    epochs, and with 0.05 with a scale for each wavelength.)

    Attributes:
        name: Of the block.
        mean: (1,) or (L,), in the units of the values.
        scale: The same; standard deviations, or the root mean square uncertainty where that is
            larger (else noise on an entry that no parameter moves would drown all others). 1 where
            nothing varies.
        coordinate_mean: Of coordinates that are not on one grid.
        coordinate_scale: The same.
        typical: Median uncertainty in units of ``scale``; None for a block without uncertainties.
    """

    name: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coordinate_mean: float = 0.0
    coordinate_scale: float = 1.0
    typical: float | None = None

    @classmethod
    def fit(cls, schema: BlockSchema, channels: Mapping[str, np.ndarray]) -> BlockPreprocessing:
        """Return that of a block of the training data."""
        values = channels["values"]
        mask = channels.get("mask")
        weights = np.ones(values.shape, bool) if mask is None else mask
        aligned = schema.modality == "spectrum" and "coordinates" not in channels
        axis = None if schema.modality in _SEQUENCES and not aligned else 0
        mean, scale = _moments(values, weights, axis)
        if "uncertainties" in channels:
            squares = np.square(channels["uncertainties"], dtype=np.float64)
            scale = np.maximum(scale, np.sqrt(_mean(squares, weights, axis)).ravel())
        scale = _positive(scale)
        at, spread = np.zeros(1), np.ones(1)
        if "coordinates" in channels:
            at, spread = _moments(channels["coordinates"], weights, None)
            spread = _positive(spread)
        typical = None
        if "uncertainties" in channels:
            measured = (channels["uncertainties"] / scale)[weights]
            typical = float(np.median(measured)) if measured.size else 0.0
        return cls(
            name=schema.name,
            mean=tuple(mean.tolist()),
            scale=tuple(scale.tolist()),
            coordinate_mean=float(at[0]),
            coordinate_scale=float(spread[0]),
            typical=typical,
        )

    def apply(self, channels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the standardised channels, float32."""
        scale = np.array(self.scale)
        transformed = {"values": (channels["values"] - np.array(self.mean)) / scale}
        if "uncertainties" in channels:
            transformed["uncertainties"] = channels["uncertainties"] / scale
        if "coordinates" in channels:
            centred = channels["coordinates"] - self.coordinate_mean
            transformed["coordinates"] = centred / self.coordinate_scale
        mask = channels.get("mask")
        if mask is not None:
            transformed = {
                name: np.where(mask, numbers, 0.0) for name, numbers in transformed.items()
            }
        rounded = {name: self._round(name, numbers) for name, numbers in transformed.items()}
        return rounded if mask is None else {**rounded, "mask": mask}

    def _round(self, channel: str, numbers: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            rounded = numbers.astype(np.float32)
        if not np.isfinite(rounded).all():
            row, entry = np.argwhere(~np.isfinite(rounded))[0]
            raise ConfigurationError(
                f"Block {self.name!r} has {channel} beyond single precision once standardised: "
                f"{numbers[row, entry]:.3g} at observation {row}, entry {entry}; mask it or leave "
                "this observation out."
            )
        return rounded


@dataclass(frozen=True)
class Preprocessing:
    """Standardisation of every block; hashable, and equal where all numbers are equal.

    Attributes:
        blocks: In the order of their names.
    """

    blocks: tuple[BlockPreprocessing, ...]

    @classmethod
    def fit(cls, schema: ObservationSchema, stacked: Stacked) -> Preprocessing:
        """Return the standardisation of training observations, from their measured entries.

        Args:
            schema: Theirs.
            stacked: What ``schema.stack`` made of them.
        """
        return cls(
            tuple(BlockPreprocessing.fit(block, stacked[block.name]) for block in schema.blocks)
        )

    @property
    def typical(self) -> dict[str, float]:
        """Median standardised uncertainty of each block that has uncertainties."""
        return {block.name: block.typical for block in self.blocks if block.typical is not None}

    def apply(self, stacked: Stacked) -> Stacked:
        """Return stacked observations, standardised.

        Returns:
            The same blocks and channels; float32, uncertainties in the units of the standardised
            values, everything 0 under a false mask.

        Raises:
            ConfigurationError: An entry so far from the training data that single precision cannot
                hold it.
        """
        return {block.name: block.apply(stacked[block.name]) for block in self.blocks}

    def describe(self) -> dict[str, Any]:
        """Return it as plain JSON; `from_description` reads it without loss."""
        return {
            "blocks": [
                {**vars(block), "mean": list(block.mean), "scale": list(block.scale)}
                for block in self.blocks
            ]
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Preprocessing:
        """Return what `describe` gave."""
        return cls(
            tuple(
                BlockPreprocessing(
                    **{**block, "mean": tuple(block["mean"]), "scale": tuple(block["scale"])}
                )
                for block in description["blocks"]
            )
        )


def _mean(numbers: np.ndarray, mask: np.ndarray, axis: int | None) -> np.ndarray:
    total = np.where(mask, numbers, 0.0).sum(axis=axis, keepdims=True, dtype=np.float64)
    return total / np.maximum(mask.sum(axis=axis, keepdims=True), 1)


def _moments(
    values: np.ndarray, mask: np.ndarray, axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    low = np.min(values, axis=axis, keepdims=True, where=mask, initial=np.inf)
    high = np.max(values, axis=axis, keepdims=True, where=mask, initial=-np.inf)
    mean = _mean(values, mask, axis)
    deviation = np.sqrt(_mean((values - mean) ** 2, mask, axis))
    # Numbers that differ by their rounding only are equal.
    largest = np.maximum(np.abs(low), np.abs(high))
    varies = low + 4.0 * np.finfo(values.dtype).eps * largest < high
    constant = np.where(high < low, 0.0, low)
    return np.where(varies, mean, constant).ravel(), np.where(varies, deviation, 0.0).ravel()


def _positive(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)
