"""Which rows are learned from and which are held back to validate, by their numbers."""

from __future__ import annotations

import math

import numpy as np

from ax_jax_runners.errors import ConfigurationError

SPLITS = ("train", "validation")
#: Rows are dealt out block by block, so that no more than one block is held in memory.
_BLOCK = 4096


def is_validation(
    start: int, stop: int, rows: int, *, fraction: float, seed: int = 0
) -> np.ndarray:
    """Tell for rows ``start`` to ``stop`` of ``rows`` whether they are held back.

    ``round(fraction * rows)`` rows are, drawn without replacement within each block of 4096; of
    two rows and more at least one is held back and at least one is not, unless the fraction is 0.

    Returns:
        (stop - start,) bool, a function of the row's number, ``rows``, fraction and seed alone.
    """
    parts = [np.zeros(0, dtype=bool)]
    for block in range(start // _BLOCK, math.ceil(stop / _BLOCK)):
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, rows)
        held = _held_back(last, rows, fraction) - _held_back(first, rows, fraction)
        mask = np.zeros(last - first, dtype=bool)
        order = np.random.Generator(np.random.Philox(key=[seed, block])).permutation(last - first)
        mask[order[: max(held, 0)]] = True
        parts.append(mask[max(start - first, 0) : max(stop - first, 0)])
    return np.concatenate(parts)


def _held_back(upto: int, rows: int, fraction: float) -> int:
    """How many of the first ``upto`` rows are held back."""
    count = math.floor(fraction * upto + 0.5)
    if upto == rows and fraction > 0:
        count = min(max(count, 1), rows - 1)
    return count


def check_split(split: str | None) -> None:
    """Refuse a part that no data set has.

    Raises:
        ConfigurationError: Neither None nor one of the two.
    """
    if split is not None and split not in SPLITS:
        raise ConfigurationError(f"split is {split!r}; choose 'train', 'validation' or None.")


def check_fraction(fraction: float) -> float:
    """Return the share of rows to hold back.

    Raises:
        ConfigurationError: No number from 0 to below 1.
    """
    number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
    if not number or not 0 <= fraction < 1:
        raise ConfigurationError(
            f"validation_fraction is {fraction!r}; give a number from 0 to below 1."
        )
    return float(fraction)


def is_validation_point(points: np.ndarray, *, fraction: float) -> np.ndarray:
    """Tell for every point whether it is held back, by its coordinates alone.

    Args:
        points: (N, d) float64; equal ones are held back together.
        fraction: Share of distinct points that are, on average.

    Returns:
        (N,) bool.
    """
    mixed = np.full(len(points), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in np.ascontiguousarray(points.T).view(np.uint64):
        mixed = _mix(mixed ^ column)
    return (mixed >> np.uint64(11)) * 2.0**-53 < fraction


def _mix(words: np.ndarray) -> np.ndarray:
    """Spread every bit over the whole word (the finaliser of SplitMix64, Steele et al. 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))
