"""The volume that a set of points dominates, exact for any number of objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume between the points and the reference point; every objective is minimised.

    A point that is not better than the reference in every objective adds nothing, and neither
    does a dominated or repeated one. Exact up to rounding: objective after objective is swept
    (the "hypervolume by slicing objectives" of While, Hingston, Barone and Huband, 2006), in
    O(n log n) for two objectives and about n times as long for each one more.

    Args:
        points: (n, m); n may be 0.
        reference: (m,), m at least 1.

    Raises:
        ConfigurationError: Shapes that do not fit, or numbers that are NaN.
    """
    corner = np.asarray(reference, dtype=np.float64)
    rows = np.asarray(points, dtype=np.float64)
    if corner.ndim != 1 or len(corner) == 0:
        raise ConfigurationError(
            f"The reference point has the shape {corner.shape}; give one number per objective."
        )
    if rows.size == 0:
        return 0.0
    if rows.ndim != 2 or rows.shape[1] != len(corner):
        raise ConfigurationError(
            f"The points have the shape {rows.shape}; give (n, {len(corner)}), one row a point, "
            f"for the reference point's {len(corner)} objectives."
        )
    if np.isnan(rows).any() or np.isnan(corner).any():
        raise ConfigurationError(
            "A point or the reference point holds NaN; leave out arms that have no result."
        )
    return _volume(rows[(rows < corner).all(axis=1)], corner)


def _volume(points: np.ndarray, reference: np.ndarray) -> float:
    """Volume of points (n, m) that are all better than the reference."""
    if len(points) == 0:
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - points.min())
    if len(reference) == 2:
        points = points[np.lexsort(points.T[::-1])]
        widths = np.diff(points[:, 0], append=reference[0])
        heights = reference[1] - np.minimum.accumulate(points[:, 1])
        return float(widths @ heights)
    points = _front(points)
    points = points[np.argsort(points[:, -1], kind="stable")]
    depths = np.diff(points[:, -1], append=reference[-1])
    return sum(
        depth * _volume(points[: i + 1, :-1], reference[:-1])
        for i, depth in enumerate(depths.tolist())
        if depth > 0
    )


def _front(points: np.ndarray) -> np.ndarray:
    """The points that no other dominates, each once."""
    points = np.unique(points, axis=0)
    # Sorted by the first objective, so that a point is dominated by earlier ones only.
    kept: list[np.ndarray] = []
    for point in points:
        if not kept or not (np.asarray(kept) <= point).all(axis=1).any():
            kept.append(point)
    return np.asarray(kept)
