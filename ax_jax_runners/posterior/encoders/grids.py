"""Whether observations stand on one grid of coordinates, and which it is."""

from __future__ import annotations

import numpy as np

#: One coordinate for each entry; None where nothing was ever measured.
Grid = tuple[float | None, ...]

# Grids that differ by less than this share of their finest spacing are the same grid: there is
# room for the rounding of a file, and for nothing that an instrument could mean.
_SHARE_OF_SPACING = 0.01
_SHARE_OF_ONE_COORDINATE = 1e-6


def common_grid(coordinates: np.ndarray, mask: np.ndarray) -> Grid | None:
    """Return the coordinates that all observations share, or None.

    Args:
        coordinates: (B, L), of which only those under a true mask are looked at.
        mask: (B, L) booleans.
    """
    first = mask.argmax(axis=0)
    entries = np.arange(coordinates.shape[1])
    values = zip(coordinates[first, entries], mask[first, entries], strict=True)
    grid = tuple(float(x) if measured else None for x, measured in values)
    return grid if off_grid(grid, coordinates, mask) is None else None


def off_grid(grid: Grid, coordinates: np.ndarray, mask: np.ndarray) -> tuple[int, int] | None:
    """Return the first row and entry that is measured elsewhere than on the grid, or None."""
    expected = np.array([np.nan if x is None else x for x in grid])
    known = ~np.isnan(expected)
    gaps = np.abs(np.diff(expected[known]))
    gaps = gaps[gaps > 0]
    if gaps.size:
        tolerance = np.full(expected.shape, _SHARE_OF_SPACING * gaps.min())
    else:
        tolerance = _SHARE_OF_ONE_COORDINATE * np.abs(expected)
    off = mask & known & (np.abs(coordinates - expected) > tolerance)
    if not off.any():
        return None
    row, entry = np.argwhere(off)[0]
    return int(row), int(entry)


def standardised_grid(grid: Grid) -> np.ndarray:
    """Return (L,) float32 of mean 0 and standard deviation 1, with 0 where nothing is known."""
    values = np.array([np.nan if x is None else x for x in grid])
    known = ~np.isnan(values)
    if not known.any():
        return np.zeros(values.shape, np.float32)
    spread = np.ptp(values[known])
    centred = (values - values[known].mean()) / (values[known].std() if spread else 1.0)
    return np.where(known, centred, 0.0).astype(np.float32)
