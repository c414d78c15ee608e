"""What a walk is measured against: the same law by other means, and its random numbers alone.

All walk in the ball of radius 0.3 around the middle of the unit box, with isotropic steps of a size
uniform between 0 and the largest. A point outside the box or the ball is a rejection.
"""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

RADIUS = 0.3
#: Bytes of random numbers that are drawn at once; they stay in the processor's cache.
_BLOCK_BYTES = 2**18


def series_walk(dimension: int, iterations: int, step: float, seed: int = 0) -> list[dict]:
    """Walk one particle, one pandas Series at a time; return the rows of all proposals."""
    random = np.random.RandomState(seed)
    names = [f"x{i}" for i in range(dimension)]
    lower, width = pd.Series(0.0, index=names), pd.Series(1.0, index=names)

    def evaluate(values: pd.Series) -> tuple[bool, dict[str, float]]:
        radius = float(np.linalg.norm(values.to_numpy() - 0.5))
        return radius <= RADIUS, {**values.to_dict(), "radius": radius}

    here = pd.Series(0.5, index=names)
    unit = ((here - lower) / width).to_numpy()
    rows = []
    for _ in range(iterations):
        direction = random.randn(dimension)
        direction /= np.sqrt(np.sum(direction**2))
        proposal = unit + direction * random.rand() * step
        inside, row = False, {}
        if (proposal >= 0).all() and (proposal <= 1).all():
            candidate = here.copy()
            candidate[names] = proposal
            candidate = candidate * width + lower
            inside, row = evaluate(candidate)
            if inside:
                here, unit = candidate, proposal
        rows.append({**row, "inside": inside, "n_suggestion": 1})
    return rows


def numpy_walk(
    dimension: int, particles: int, iterations: int, step: float, dtype: str, seed: int = 0
) -> np.ndarray:
    """Walk all particles at once; return the states (iterations, dimension, particles)."""
    kind = np.dtype(dtype)
    rng = np.random.Generator(np.random.SFC64(seed))
    states = np.empty((iterations, dimension, particles), kind)
    ticks = max(1, min(iterations, _BLOCK_BYTES // (dimension * particles * kind.itemsize)))
    steps = np.empty((ticks, dimension, particles), kind)
    sizes, lengths = np.empty((2, ticks, particles), kind)
    proposal = np.empty((dimension, particles), kind)
    radius = np.empty(particles, kind)
    here = np.full((dimension, particles), 0.5, kind)
    for start in range(0, iterations, ticks):
        block = slice(0, min(ticks, iterations - start))
        move, size, length = steps[block], sizes[block], lengths[block]
        rng.standard_normal(dtype=kind, out=move)
        rng.random(dtype=kind, out=size)
        np.sqrt(np.einsum("tdp,tdp->tp", move, move, out=length), out=length)
        size *= kind.type(step)
        size /= length
        move *= size[:, None]
        for i in range(len(move)):
            np.add(here, move[i], out=proposal)
            inside = (proposal.min(axis=0) >= 0) & (proposal.max(axis=0) <= 1)
            proposal -= kind.type(0.5)
            np.sqrt(np.einsum("dp,dp->p", proposal, proposal, out=radius), out=radius)
            inside &= radius <= kind.type(RADIUS)
            # Half the cost of a masked copy.
            move[i] *= inside
            here = np.add(here, move[i], out=states[start + i])
    return states


class Floor:
    """``dimension`` normal numbers and a uniform one per particle and iteration, and no walk."""

    def __init__(self, dimension: int, particles: int, dtype: str) -> None:
        """Compile."""
        kind = np.dtype(dtype)
        row = dimension * particles * kind.itemsize
        self.ticks = max(1, 4 * _BLOCK_BYTES // row)
        self.wide = kind == np.float64
        count = self.ticks * particles

        def draw(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
            normal, uniform = jax.random.split(jax.random.key(seed))
            return (
                jax.random.normal(normal, (count * dimension,), kind),
                jax.random.uniform(uniform, (count,), kind),
            )

        self._draw = jax.jit(draw)

    def __call__(self, iterations: int) -> None:
        """Draw the numbers of so many iterations, rounded up to whole blocks."""
        with jax.enable_x64(self.wide):
            for block in range(-(-iterations // self.ticks)):
                jax.block_until_ready(self._draw(np.uint32(block)))
