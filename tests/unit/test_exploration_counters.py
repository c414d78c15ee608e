"""Random numbers of counters: the published cipher, and laws that are exact where they must be."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ax_jax_runners.exploration.counters import normal_pair, threefry, uniform

NUMBER = 2**20


def words(key: int = 1) -> tuple[np.ndarray, np.ndarray]:
    counter = jnp.arange(NUMBER, dtype=jnp.uint32)
    pair = threefry((jnp.uint32(key), jnp.uint32(2)), (counter, jnp.uint32(3)))
    return np.asarray(pair[0]), np.asarray(pair[1])


@pytest.fixture(scope="module")
def normals() -> tuple[np.ndarray, np.ndarray]:
    one, other = jax.jit(normal_pair)(*(jnp.asarray(part) for part in words()))
    return np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        # Known answers of Random123 for 20 rounds (Salmon et al. 2011).
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_cipher_gives_its_published_answers(
    key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]
) -> None:
    found = threefry(
        (jnp.uint32(key[0]), jnp.uint32(key[1])), (jnp.uint32(counter[0]), jnp.uint32(counter[1]))
    )
    assert tuple(int(word) for word in found) == expected


def test_the_cipher_is_that_of_jax() -> None:
    from jax.extend.random import threefry_2x32

    rng = np.random.default_rng(0)
    key, left, right = (rng.integers(0, 2**32, n, dtype=np.uint32) for n in (2, 1000, 1000))
    found = threefry((key[0], key[1]), (jnp.asarray(left), jnp.asarray(right)))
    expected = threefry_2x32(jnp.asarray(key), jnp.concatenate([left, right]))
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_keys_and_counters_broadcast() -> None:
    keys = jnp.arange(6, dtype=jnp.uint32).reshape(2, 3)
    numbers = jnp.arange(4, dtype=jnp.uint32)[:, None]
    left, right = threefry((keys[0], keys[1]), (jnp.uint32(7), numbers))
    assert left.shape == right.shape == (4, 3)
    single = threefry((keys[0, 2], keys[1, 2]), (jnp.uint32(7), jnp.uint32(3)))
    assert (int(left[3, 2]), int(right[3, 2])) == (int(single[0]), int(single[1]))


def test_uniform_numbers_are_uniform_and_below_one() -> None:
    ends = np.asarray(uniform(jnp.array([0, 2**32 - 1], dtype=jnp.uint32)))
    assert ends[0] == 0.0
    assert ends[1] == np.float32(1 - 2**-23)
    for part in words():
        values = np.asarray(uniform(jnp.asarray(part)))
        assert values.dtype == np.float32
        assert stats.kstest(values.astype(np.float64), "uniform").pvalue > 1e-4


def test_normal_numbers_have_the_normal_law(normals: tuple[np.ndarray, np.ndarray]) -> None:
    for values in normals:
        assert np.isfinite(values).all()
        assert stats.kstest(values, "norm").pvalue > 1e-4
        # Each moment within 4.5 of its standard errors.
        for order, exact, variance in (
            (1, 0, 1),
            (2, 1, 2),
            (3, 0, 15),
            (4, 3, 96),
            (6, 15, 10170),
        ):
            error = np.sqrt(variance / NUMBER)
            assert abs(np.mean(values**order) - exact) < 4.5 * error, order
        for beyond in (2.0, 3.0, 4.0):
            count = int((np.abs(values) > beyond).sum())
            assert stats.binomtest(count, NUMBER, 2 * float(stats.norm.sf(beyond))).pvalue > 1e-4


def test_the_two_of_a_pair_are_independent(normals: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = normals
    scale = 1 / np.sqrt(NUMBER)
    for f, g in ((one, other), (one**2, other**2), (np.abs(one), other), (one, other**2)):
        assert abs(np.corrcoef(f, g)[0, 1]) < 4.5 * scale
    # Directions are uniform, as they are where detailed balance needs them.
    angle = np.arctan2(other, one) / (2 * np.pi) + 0.5
    counts = np.histogram(angle, bins=64, range=(0.0, 1.0))[0]
    assert stats.chisquare(counts).pvalue > 1e-4
    neighbours = np.corrcoef(one[:-1], one[1:])[0, 1]
    assert abs(neighbours) < 4.5 * scale


def test_signs_and_places_are_exactly_exchangeable() -> None:
    first, second = (part[: 2**12] for part in words())
    pairs = {}
    for low in range(8):
        changed = (second & ~np.uint32(7)) | np.uint32(low)
        one, other = normal_pair(jnp.asarray(first), jnp.asarray(changed))
        pairs[low] = np.stack([one, other]).astype(np.float64)
    one, other = np.abs(pairs[0])
    for low, pair in pairs.items():
        exchanged = np.abs(pair[::-1] if low & 1 else pair)
        np.testing.assert_array_equal(exchanged, [one, other])
    signs = {(np.sign(pair[0, 0]), np.sign(pair[1, 0])) for pair in pairs.values()}
    assert len(signs) == 4
    np.testing.assert_array_equal(pairs[2], [-pairs[0][0], pairs[0][1]])
    np.testing.assert_array_equal(pairs[4], [pairs[0][0], -pairs[0][1]])


def test_extreme_words_give_finite_numbers() -> None:
    ends = jnp.array([0, 1, 255, 256, 2**31, 2**32 - 256, 2**32 - 1], dtype=jnp.uint32)
    for first in ends:
        one, other = normal_pair(jnp.full_like(ends, first), ends)
        values = np.stack([one, other])
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 5.9


def test_the_radius_is_that_of_the_formula_on_all_scales() -> None:
    left, right = (part[: 2**14] for part in words())
    first = (left >> (right % 24)) | np.uint32(2**8)
    one, other = normal_pair(jnp.asarray(first), jnp.asarray(right))
    square = np.square(one, dtype=np.float64) + np.square(other, dtype=np.float64)
    exact = -2 * np.log((np.floor(first / 256.0) + 0.5) / 2**24)
    assert exact.max() > 30
    np.testing.assert_allclose(square, exact, rtol=2e-6, atol=2e-6)
