"""Counter-based PRNG keys: the key of an arm depends on its counters and on nothing else.

Keys are made by one compiled program for batches of up to a power of two, because eager calls on
typed keys would cost more than a small simulation, and a program for each size would compile
anew for each.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Named, so that a process-wide change of JAX's default cannot change results.
KEY_IMPLEMENTATION = "threefry2x32"
_SMALLEST = 32
SEED_LIMIT = 2**32


def arm_keys(seed: int, counters: Sequence[tuple[int, int]]) -> Array:
    """Return ``fold_in(fold_in(key(seed), trial_index), arm_position)`` for every arm.

    Args:
        seed: At least 0 and below 2**32.
        counters: Trial index and position of the arm in its trial, B pairs.

    Returns:
        Typed keys, (B,).
    """
    padded = np.zeros((_padded(len(counters)), 2), np.uint32)
    if counters:
        padded[: len(counters)] = counters
    data = np.asarray(_arm_key_data(np.uint32(seed), padded))[: len(counters)]
    return jax.random.wrap_key_data(jnp.asarray(data), impl=KEY_IMPLEMENTATION)


def replicate_keys(keys: Array, replicates: int) -> Array:
    """Return ``fold_in(key, r)`` for r = 0 .. replicates - 1 of every key.

    Args:
        keys: Typed keys, (B,).
        replicates: How many for each.

    Returns:
        Typed keys, (B * replicates,); those of one arm stand together.
    """
    data = np.asarray(jax.random.key_data(keys))
    padded = np.zeros((_padded(len(data)), *data.shape[1:]), data.dtype)
    padded[: len(data)] = data
    implementation = str(jax.random.key_impl(keys))
    folded = np.asarray(_replicate_key_data(padded, replicates, implementation))[: len(data)]
    flat = jnp.asarray(folded.reshape(-1, *data.shape[1:]))
    return jax.random.wrap_key_data(flat, impl=implementation)


def _padded(count: int) -> int:
    return max(_SMALLEST, 1 << max(count - 1, 0).bit_length())


@jax.jit
def _arm_key_data(seed: Array, counters: Array) -> Array:
    key = jax.random.key(seed, impl=KEY_IMPLEMENTATION)

    def of_arm(pair: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(key, pair[0]), pair[1])

    return jax.random.key_data(jax.vmap(of_arm)(counters))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _replicate_key_data(data: Array, replicates: int, implementation: str) -> Array:
    keys = jax.random.wrap_key_data(data, impl=implementation)
    counters = np.arange(replicates, dtype=np.uint32)

    def of_arm(key: Array) -> Array:
        return jax.vmap(lambda r: jax.random.fold_in(key, r))(counters)

    return jax.random.key_data(jax.vmap(of_arm)(keys))
