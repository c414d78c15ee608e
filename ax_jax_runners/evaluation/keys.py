"""Typed PRNG keys of the rows of a batch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ax_jax_runners.errors import EvaluationError


def checked_keys(keys: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return ``keys``, which must be typed PRNG keys of this shape.

    Raises:
        EvaluationError: Anything else.
    """
    dtype = getattr(keys, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or keys.shape != shape:
        found = type(keys).__name__ if dtype is None else f"{dtype} array of the shape {keys.shape}"
        raise EvaluationError(
            f"The key is a {found}; give typed keys of the shape {shape}, made by jax.random.key."
        )
    return keys


def keys_of_rows(key: Any, count: int) -> jax.Array:
    """Return typed keys (count,): that of row i is ``fold_in(key, i)``.

    Raises:
        EvaluationError: ``key`` is not one typed PRNG key.
    """
    # Sizes are rounded up to a power of two: few programs, whatever the batches.
    return _folded(checked_keys(key, ()), 1 << max(0, count - 1).bit_length())[:count]


@functools.partial(jax.jit, static_argnums=1)
def _folded(key: jax.Array, count: int) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(count))
