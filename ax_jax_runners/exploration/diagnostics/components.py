"""Connected components of a region, from points inside and straight paths between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.batches import call_in_batches

# Between two components: pairs of near points, rounds of ever wider bends, and bends a pair.
_PAIRS, _ROUNDS, _BENDS = 12, 4, 16
_Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Components:
    """Which points are known to be connected.

    Attributes:
        labels: number of each point's component, shape (n,), from 0 in order of first appearance.
        count: how many components. No path was found between two of them, which is no proof that
            there is none: the count is an upper bound for the components that the points are in.
        evaluations: rows that were tested.
    """

    labels: NDArray[np.int64]
    count: int
    evaluations: int


def connected_components(
    points: ArrayLike, inside: _Inside, *, neighbours: int = 8, steps: int = 15, seed: int = 0
) -> Components:
    """Join points inside a region by paths that stay inside.

    First straight paths between near neighbours; then, between the components that remain, straight
    paths between their closest pairs and paths bent through a third point found inside between.

    Args:
        points: shape (n, k), in unit-box coordinates, all inside.
        inside: (m, k) to (m,) bool. Called with 256, 2048 or 16384 rows, the last call filled up
            by repeating a row.
        neighbours: how many nearest neighbours of each point to try at first.
        steps: points tested on a path, its ends not counted: a gap in the region narrower than
            1 / (steps + 1) of the path may be overlooked.
        seed: of the bends.

    Raises:
        ConfigurationError: points of another shape, a point that is outside, or an option below 1.
    """
    from scipy.spatial import KDTree

    rows = np.asarray(points, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape or neighbours < 1 or steps < 1:
        raise ConfigurationError(
            f"points of shape {rows.shape}, neighbours={neighbours}, steps={steps}: give "
            f"(points, coordinates), at least 1 each, and options of at least 1."
        )
    paths = _Paths(inside, steps)
    outside = np.flatnonzero(~paths.inside(rows))
    if outside.size:
        raise ConfigurationError(
            f"{outside.size} of {len(rows)} points are outside, the first is number {outside[0]}; "
            f"give accepted points, in the coordinates that inside() expects."
        )
    labels = np.zeros(len(rows), dtype=np.int64)
    if len(rows) > 1:
        near = min(neighbours, len(rows) - 1)
        index = np.asarray(KDTree(rows).query(rows, k=near + 1)[1])
        labels = np.arange(len(rows))
        edges = np.empty((0, 2), dtype=np.int64)
        for rank in range(near + 1):
            # Points that are joined already need no further path.
            pairs = np.stack([np.arange(len(rows)), index[:, rank]], axis=1)
            pairs = np.unique(np.sort(pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]), axis=0)
            held = paths.straight(rows[pairs[:, 0]], rows[pairs[:, 1]])
            edges = np.concatenate([edges, pairs[held]])
            labels = _labels(len(rows), edges)
        labels = _joined(rows, edges, paths, np.random.default_rng(seed))
    return Components(labels=labels, count=int(labels.max()) + 1, evaluations=paths.evaluations)


class _Paths:
    """Tests of paths, many at once."""

    def __init__(self, inside: _Inside, steps: int) -> None:
        self._inside = inside
        self.evaluations = 0
        # The middle first, then ever finer: most of the paths that fail do so early.
        inner = np.arange(1, steps + 1) / (steps + 1)
        waves: list[NDArray[np.float64]] = []
        spacing = 0.5
        while inner.size:
            chosen = (
                np.abs(inner / spacing - np.round(inner / spacing)) < 0.5 / (steps + 1) / spacing
            )
            waves.append(inner[chosen])
            inner = inner[~chosen]
            spacing /= 2
        self._waves = [wave for wave in waves if wave.size]

    def inside(self, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Test rows (m, k)."""
        self.evaluations += len(rows)
        return call_in_batches(self._inside, rows).astype(bool)

    def straight(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the straight paths from a (m, k) to b (m, k) stay inside, (m,)."""
        alive = np.arange(len(a))
        for wave in self._waves:
            if not alive.size:
                break
            between = a[alive, None] + wave[:, None] * (b[alive] - a[alive])[:, None]
            tested = self.inside(between.reshape(-1, a.shape[1])).reshape(-1, wave.size)
            alive = alive[tested.all(axis=1)]
        whole = np.zeros(len(a), dtype=bool)
        whole[alive] = True
        return whole


def _joined(
    rows: NDArray[np.float64],
    edges: NDArray[np.int64],
    paths: _Paths,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Labels after attempts to join the components that the edges leave."""
    labels = _labels(len(rows), edges)
    for attempt in range(_ROUNDS + 1):
        while labels.max() > 0:
            pairs = _closest_pairs(rows, labels)
            a, b = rows[pairs[:, 0]], rows[pairs[:, 1]]
            if attempt == 0:
                held = paths.straight(a, b)
            else:
                held = _bent(a, b, 0.25 * 2.0 ** (attempt - 1), paths, rng)
            if not held.any():
                break
            edges = np.concatenate([edges, pairs[held]])
            labels = _labels(len(rows), edges)
    return labels


def _bent(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    bend: float,
    paths: _Paths,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Whether a path over a third point stays inside, up to ``bend`` of their length aside."""
    a, b = np.repeat(a, _BENDS, axis=0), np.repeat(b, _BENDS, axis=0)
    length = np.linalg.norm(b - a, axis=1, keepdims=True)
    aside = rng.standard_normal(a.shape)
    aside *= bend * length * rng.random((len(a), 1)) / np.linalg.norm(aside, axis=1, keepdims=True)
    third = (a + b) / 2 + aside
    held = ((third >= 0) & (third <= 1)).all(axis=1)
    held[held] = paths.inside(third[held])
    held[held] = paths.straight(a[held], third[held])
    held[held] = paths.straight(third[held], b[held])
    return held.reshape(-1, _BENDS).any(axis=1)


def _closest_pairs(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each component, the pairs of points that are nearest to another component."""
    from scipy.spatial import KDTree

    pairs = []
    for label in range(labels.max() + 1):
        mine, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
        near = min(3, len(others))
        distance, index = KDTree(rows[others]).query(rows[mine], k=near)
        distance, index = distance.reshape(-1), others[np.asarray(index).reshape(-1)]
        best = np.argsort(distance)[:_PAIRS]
        pairs.append(np.stack([np.repeat(mine, near)[best], index[best]], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _labels(n: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Component of each of n points, numbered in order of first appearance."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components as components_of

    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, labels = components_of(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
