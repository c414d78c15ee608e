"""Parameters drawn from a prior, each row by a counter of its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace

#: Rows are drawn in blocks of fixed places, so that they are the same whatever is asked for.
BLOCK = 1024
#: A block whose rows are not all found by then has hardly any room within its constraints.
_MOST_ATTEMPTS = 20_000
_DRAWING = 0xD7A3_0001_0000_0000
_IMPLEMENTATION = "threefry2x32"


@dataclass(frozen=True)
class PriorDraws:
    """Rows of a prior; row k depends on the space, the seed and k alone.

    Uniform numbers of the counter-based generator Philox go through the quantile functions. Where
    constraints refuse a row, its place is drawn again under the next attempt's counters.

    Attributes:
        space: Whose prior.
        seed: At least 0, below 2**32.
    """

    space: ParameterSpace
    seed: int

    def rows(self, start: int, stop: int) -> tuple[np.ndarray, int]:
        """Return the parameters of some rows, and how many draws the constraints refused.

        Args:
            start: Number of the first row.
            stop: One more than that of the last row.

        Returns:
            (stop - start, d) float64, and a count.

        Raises:
            ConfigurationError: The constraints leave hardly any room.
        """
        parts, rejected = [np.zeros((0, self.space.dimension))], 0
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            theta, attempts = self._block(block)
            chosen = slice(max(start - block * BLOCK, 0), stop - block * BLOCK)
            parts.append(theta[chosen])
            rejected += int(attempts[chosen].sum())
        return np.concatenate(parts), rejected

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return BLOCK rows, and how many draws of each were refused."""
        theta = self._candidates(block, 0)
        attempts = np.zeros(BLOCK, dtype=np.int64)
        if not self.space.linear_constraints:
            return theta, attempts
        waiting = self.space.log_prior(theta) == -np.inf
        for attempt in range(1, _MOST_ATTEMPTS):
            if not waiting.any():
                return theta, attempts
            attempts[waiting] = attempt
            candidates = self._candidates(block, attempt)
            found = waiting & (self.space.log_prior(candidates) > -np.inf)
            theta[found] = candidates[found]
            waiting &= ~found
        raise ConfigurationError(
            f"After {_MOST_ATTEMPTS} draws each, {waiting.sum()} of {BLOCK} rows still violate the "
            f"constraints {', '.join(self.space.constraints)}; narrow the bounds of the parameters "
            "to where the constraints hold."
        )

    def _candidates(self, block: int, attempt: int) -> np.ndarray:
        philox = np.random.Philox(key=[self.seed, _DRAWING], counter=[0, attempt, block, 0])
        words = philox.random_raw(BLOCK * self.space.dimension)
        # 52 bits and a half: never 0, never 1.
        uniform = ((words >> np.uint64(12)) + 0.5) * 2.0**-52
        return self.space.icdf(uniform.reshape(BLOCK, -1))


def row_keys(seed: int, start: int, stop: int) -> Array:
    """Return typed keys of rows: ``fold_in(key(seed), row)``, (stop - start,)."""
    count = stop - start
    # Sizes are rounded up to a power of two: few programs, whatever the batches.
    numbers = start + np.arange(1 << max(0, count - 1).bit_length())
    data = _row_key_data(np.uint32(seed), numbers.astype(np.uint32))[:count]
    return jax.random.wrap_key_data(data, impl=_IMPLEMENTATION)


@functools.partial(jax.jit)
def _row_key_data(seed: Array, numbers: Array) -> Array:
    key = jax.random.key(seed, impl=_IMPLEMENTATION)
    return jax.random.key_data(jax.vmap(lambda row: jax.random.fold_in(key, row))(numbers))
