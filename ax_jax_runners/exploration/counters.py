"""Random numbers that are functions of a key and a counter.

A walk asks for the numbers of (particle, suggestion); who else walks, in which order and after
which interruption never matters, and no generator's state needs to be kept. The bits are those of
Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy
as 1, 2, 3"), written out so that the compiler fuses them with what is made of them: on a processor
several times as fast as ``jax.random``, whose blocks of the same cipher give half as many words.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_ROUNDS = 20
_ONE = np.uint32(0x3F800000)
#: Coefficients of log(1 + f) / f**3 - 1 / f**2 + 1 / (2 f) on [sqrt(1/2) - 1, sqrt(2) - 1],
#: highest power first (Moshier, Cephes ``logf``).
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Array, Array]:
    """Return two words of random bits for each key and counter.

    Args:
        key: Two arrays of uint32 that broadcast against the counter's.
        counter: Two arrays of uint32.

    Returns:
        Two arrays of uint32 of the common shape.
    """
    words = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    left, right = counter[0] + words[0], counter[1] + words[1]
    for group in range(_ROUNDS // 4):
        for rotation in _ROTATIONS[group % 2]:
            left = left + right
            right = (right << np.uint32(rotation)) | (right >> np.uint32(32 - rotation))
            right = right ^ left
        left = left + words[(group + 1) % 3]
        right = right + words[(group + 2) % 3] + np.uint32(group + 1)
    return left, right


def uniform(words: Array) -> Array:
    """Return numbers uniform on [0, 1), float32, of 23 bits of each word (uint32)."""
    return _between_one_and_two(words) - np.float32(1)


def normal_pair(first: Array, second: Array) -> tuple[Array, Array]:
    """Return two independent standard normal numbers, float32, of two words (uint32) each.

    By the transformation of Box & Muller (1958). The radius has 24 bits, so no number is beyond
    5.9 standard deviations. Signs and the two coordinates are exchanged by bits of their own: the
    law is exactly symmetric, which is what a walk's detailed balance rests on.
    """
    radius = jnp.sqrt(np.float32(2) * _minus_log(first))
    # An angle of [-pi/4, pi/4); three of the bits left over choose the octant.
    angle = (_between_one_and_two(second) - np.float32(1.5)) * np.float32(math.pi / 2)
    square = angle * angle
    sine = angle * _polynomial(square, (-1 / 5040, 1 / 120, -1 / 6, 1.0))
    cosine = _polynomial(square, (1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1.0))
    exchanged = (second & np.uint32(1)) != 0
    one = radius * jnp.where(exchanged, sine, cosine)
    other = radius * jnp.where(exchanged, cosine, sine)
    return (
        _with_sign(one, second & np.uint32(2), 30),
        _with_sign(other, second & np.uint32(4), 29),
    )


def _minus_log(words: Array) -> Array:
    """Return ``-log((w + 1/2) / 2**24)`` of the upper 24 bits w, float32, to one part in 1e7."""
    scaled = (words >> np.uint32(8)).astype(jnp.int32).astype(jnp.float32) + np.float32(0.5)
    bits = lax.bitcast_convert_type(scaled, jnp.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> 23
    fraction = lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - np.float32(1)
    square = fraction * fraction
    tail = fraction * square * _polynomial(fraction, _LOG)
    mantissa = tail - np.float32(0.5) * square + fraction
    return (np.float32(24) - exponent.astype(jnp.float32)) * np.float32(math.log(2)) - mantissa


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    value = jnp.full_like(x, np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = value * x + np.float32(coefficient)
    return value


def _between_one_and_two(words: Array) -> Array:
    return lax.bitcast_convert_type((words >> np.uint32(9)) | _ONE, jnp.float32)


def _with_sign(value: Array, bit: Array, shift: int) -> Array:
    bits = lax.bitcast_convert_type(value, jnp.uint32) ^ (bit << np.uint32(shift))
    return lax.bitcast_convert_type(bits, jnp.float32)
