"""The random numbers of a walk's ticks, of the particles' keys and counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ax_jax_runners.exploration.counters import normal_pair, threefry, uniform
from ax_jax_runners.exploration.state import WalkState


@dataclass(frozen=True)
class Noise:
    """Random numbers of one tick for C candidates of P particles.

    Attributes:
        normals: (C, k, P), standard normal.
        uniforms: (2, C, P), uniform on [0, 1).
    """

    normals: Array
    uniforms: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DrawnNoise:
    """Numbers of T ticks, two in each complex element.

    Of two arrays of real numbers, each would compute the cipher anew. They are single precision for
    every walk, so that most fit into a vector register.

    Attributes:
        normals: (T, C, pairs, P).
        uniforms: (T, C, P).
    """

    normals: Array
    uniforms: Array

    def of_tick(self, tick: Array, coordinates: int, dtype: Any) -> Noise:
        """Return the numbers of one tick, of the walk's dtype."""
        drawn, uniforms = self.normals[tick], self.uniforms[tick]
        candidates, pairs, particles = drawn.shape
        # The halves are put in place one after the other: concatenated, each element would be
        # chosen for itself, which takes five times as long.
        normals = jnp.zeros((candidates, coordinates, particles), dtype)
        second = drawn.imag[:, : coordinates - pairs]
        normals = lax.dynamic_update_slice(normals, drawn.real.astype(dtype), (0, 0, 0))
        normals = lax.dynamic_update_slice(normals, second.astype(dtype), (0, pairs, 0))
        return Noise(normals, jnp.stack([uniforms.real, uniforms.imag]).astype(dtype))


def draw_noise(state: WalkState, ticks: int, candidates: int, coordinates: int) -> DrawnNoise:
    """Draw the numbers of a state's next ticks.

    Args:
        state: Has the keys and the counters.
        ticks: How many, T.
        candidates: Proposals of one tick, C.
        coordinates: Of one proposal.
    """
    pairs = (coordinates + 1) // 2
    shape = (ticks, candidates, pairs + 1, *state.tick.shape)
    tick = state.tick + jnp.arange(ticks, dtype=jnp.uint32)[:, None]
    number = jnp.arange(candidates * (pairs + 1), dtype=jnp.uint32).reshape(candidates, pairs + 1)
    first, second = threefry(
        (state.key[0], state.key[1]),
        (
            jnp.broadcast_to(tick[:, None, None], shape),
            jnp.broadcast_to(number[None, :, :, None], shape),
        ),
    )
    return DrawnNoise(
        lax.complex(*normal_pair(first[:, :, :pairs], second[:, :, :pairs])),
        lax.complex(uniform(first[:, :, pairs]), uniform(second[:, :, pairs])),
    )
