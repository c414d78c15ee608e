"""Connected components of regions whose number of components is known."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ax_jax_runners.errors import ConfigurationError, EvaluationError
from ax_jax_runners.exploration.diagnostics import connected_components
from ax_jax_runners.problems.regions import Ball, Banana, Needle, Shell, TwoBalls


@pytest.mark.parametrize("dimension", [2, 5, 10])
class TestAnalyticRegions:
    @pytest.mark.parametrize("points", [20, 300])
    def test_two_balls_with_points_in_both_are_two(self, dimension: int, points: int) -> None:
        region = TwoBalls(dimension)
        rows = region.sample(1, points)
        found = connected_components(rows, region.contains)
        right = rows[:, 0] > 0.5
        assert found.count == 2
        assert np.array_equal(found.labels, right ^ right[0])

    @pytest.mark.parametrize("kind", [Ball, Banana, Needle, Shell])
    @pytest.mark.parametrize("points", [20, 300])
    def test_a_connected_region_is_one(self, dimension: int, kind: type, points: int) -> None:
        region = kind(dimension)
        found = connected_components(region.sample(2, points), region.contains)
        assert found.count == 1
        assert found.evaluations < 40 * points


def ring(rows: np.ndarray) -> np.ndarray:
    """A thin ring: between its points no straight path longer than 0.28 stays inside."""
    return np.abs(np.linalg.norm(rows - 0.5, axis=1) - 0.4) <= 0.025


def on_ring(angles: list[float]) -> np.ndarray:
    return 0.5 + 0.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_bent_paths_join_what_straight_ones_cannot() -> None:
    # Neighbours 60 degrees apart: the straight path is 0.054 inside the ring in its middle.
    points = on_ring([0.0, np.pi / 3])
    assert connected_components(points, ring).count == 1


def test_the_count_is_an_upper_bound() -> None:
    # No path over a single bend leads to the other side of the ring.
    found = connected_components(on_ring([0.0, np.pi]), ring)
    assert (found.count, found.labels.tolist()) == (2, [0, 1])


def test_labels_are_numbered_in_order_of_appearance() -> None:
    slabs = np.array([[0.9], [0.1], [0.5], [0.11], [0.91]])
    found = connected_components(slabs, lambda x: np.abs(x[:, 0] * 5 % 2 - 0.5) <= 0.3)
    assert found.labels.tolist() == [0, 1, 2, 1, 0]


def test_a_single_point_is_one_component() -> None:
    found = connected_components([[0.5, 0.5]], lambda x: np.ones(len(x), dtype=bool))
    assert (found.count, found.labels.tolist()) == (1, [0])


def test_a_compiled_test_is_called_with_few_sizes() -> None:
    region, sizes = Shell(3), set()

    @jax.jit
    def inside(x: jax.Array) -> jax.Array:
        sizes.add(x.shape[0])
        radius = jax.numpy.linalg.norm(x - 0.5, axis=1)
        return (radius >= 0.2) & (radius <= 0.4)

    points = region.sample(3, 200)
    shrunk = 0.5 + (points - 0.5) / np.linalg.norm(points - 0.5, axis=1, keepdims=True) * 0.3
    assert connected_components(shrunk, inside).count == 1
    assert sizes <= {256, 2048, 16384}


def test_what_cannot_be_used_is_refused() -> None:
    region = Ball(2)
    with pytest.raises(
        ConfigurationError, match="1 of 2 points are outside, the first is number 1"
    ):
        connected_components([[0.5, 0.5], [0.99, 0.99]], region.contains)
    with pytest.raises(ConfigurationError, match=r"shape \(3,\)"):
        connected_components([0.1, 0.2, 0.3], region.contains)
    with pytest.raises(ConfigurationError, match="steps=0"):
        connected_components([[0.5, 0.5]], region.contains, steps=0)
    with pytest.raises(EvaluationError, match=r"return \(256,\)"):
        connected_components([[0.5, 0.5]], lambda x: x > 0)
