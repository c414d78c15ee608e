"""Drawing from trained densities and evaluating them: compiled once for each structure."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.training.program import KEY_IMPLEMENTATION, Recipe, Weights, assembled

#: Rows of a compiled call: a power of two within these. The hidden layers of more rows leave the
#: processor's cache.
_SMALLEST, _LARGEST = 64, 2048
#: Draws from which on an observation has compiled calls of its own, which are given its embedding
#: once.
_ALONE = 256


@dataclass(frozen=True, eq=False)
class Density:
    """A trained model, ready to be drawn from.

    Attributes:
        recipe: Its structure.
        weights: Its arrays.
    """

    recipe: Recipe
    weights: Weights

    @property
    def model(self) -> Any:
        """The model, an `equinox.Module` for one row."""
        return assembled(self.recipe, self.weights)

    def embed(self, observation: Any) -> np.ndarray:
        """Return the embeddings (B, E) of standardised observations (B, ...)."""
        rows = len(jax.tree.leaves(observation)[0])
        program = _programs(self.recipe).embed
        return self._in_pieces(program, rows, lambda at: (_taken(observation, at),))

    def sample(self, embeddings: Any, n: int, key_data: np.ndarray) -> np.ndarray:
        """Draw n times for each observation.

        Args:
            embeddings: (B, E).
            n: Draws of each.
            key_data: (B, 2) uint32, data of each observation's key; draw number i folds in i.

        Returns:
            (B, n, d) float32, in flow coordinates.
        """
        embeddings = np.asarray(embeddings, np.float32)
        program = _programs(self.recipe).sample
        if n >= _ALONE:
            rows = zip(embeddings, key_data, strict=True)
            return np.stack(
                [
                    self._in_pieces(program, n, lambda at, row=row: (*row, at.astype(np.uint32)))
                    for row in rows
                ]
            )

        def piece(at: np.ndarray) -> tuple[Any, ...]:
            row, draw = np.divmod(at, n)
            return embeddings[row], key_data[row], draw.astype(np.uint32)

        drawn = self._in_pieces(program, len(embeddings) * n, piece)
        return drawn.reshape(len(embeddings), n, -1)

    def log_prob(self, y: Any, embeddings: Any) -> np.ndarray:
        """Return the log density (B,) float64 of y (B, d), given embeddings (B, E) or (E,)."""
        y = np.asarray(y, np.float32)
        embeddings = np.asarray(embeddings, np.float32)
        alone = embeddings.ndim == 1

        def piece(at: np.ndarray) -> tuple[Any, ...]:
            return y[at], embeddings if alone else embeddings[at]

        program = _programs(self.recipe).log_prob
        return self._in_pieces(program, len(y), piece).astype(np.float64)

    def _in_pieces(self, program: Any, rows: int, piece: Any) -> np.ndarray:
        found = []
        with jax.enable_x64(False):
            weights = jax.device_put(self.weights)
            start = 0
            while start < rows:
                size = _call_size(rows - start)
                # A call is filled up with the last row.
                at = np.minimum(np.arange(start, start + size), rows - 1)
                found.append(program(weights, *piece(at)))
                start += size
        return np.concatenate([np.asarray(part) for part in found])[:rows]


@dataclass(frozen=True, eq=False)
class _Programs:
    recipe: Recipe

    @functools.cached_property
    def embed(self) -> Any:
        def embed(weights: Weights, observation: Any) -> Array:
            return jax.vmap(assembled(self.recipe, weights).embed)(observation)

        return jax.jit(embed)

    @functools.cached_property
    def sample(self) -> Any:
        def sample(weights: Weights, embedding: Array, key_data: Array, draw: Array) -> Array:
            key = jax.random.wrap_key_data(key_data, impl=KEY_IMPLEMENTATION)
            keys = jax.vmap(jax.random.fold_in, (0 if key.ndim else None, 0))(key, draw)
            return assembled(self.recipe, weights).sample_rows(keys, embedding)

        return jax.jit(sample)

    @functools.cached_property
    def log_prob(self) -> Any:
        def log_prob(weights: Weights, y: Array, embeddings: Array) -> Array:
            return assembled(self.recipe, weights).log_prob_rows(y, embeddings)

        return jax.jit(log_prob)


def _call_size(rows: int) -> int:
    """Return the size of the next call for so many rows, of which it fills up at most a quarter."""
    size = 1 << (rows - 1).bit_length()
    if 3 * size > 4 * rows:
        size //= 2
    return min(max(size, _SMALLEST), _LARGEST)


@functools.lru_cache(maxsize=64)
def _programs(recipe: Recipe) -> _Programs:
    return _Programs(recipe)


def key_data(seed: int, *, rows: int | None = None) -> np.ndarray:
    """Return the data (2,) of a seed's key; with ``rows``, (rows, 2): row i folds in i.

    Raises:
        ConfigurationError: A seed that is no whole number, or of more than 64 bits.
    """
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not -(1 << 63) <= seed < 1 << 64:
        raise ConfigurationError(f"The seed is {seed!r}; give a whole number of at most 64 bits.")
    # Both words: without x64 JAX leaves out the upper one, and seeds would meet again.
    bits = int(seed) % (1 << 64)
    words = np.array([bits >> 32, bits & 0xFFFFFFFF], np.uint32)
    if rows is None:
        return words
    with jax.enable_x64(False):
        return np.asarray(_folded(words, np.arange(rows, dtype=np.uint32)))


@jax.jit
def _folded(words: Array, numbers: Array) -> Array:
    key = jax.random.wrap_key_data(words, impl=KEY_IMPLEMENTATION)
    return jax.random.key_data(jax.vmap(lambda row: jax.random.fold_in(key, row))(numbers))


def _taken(tree: Any, at: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[at], tree)
