"""Functions of one arm as programs over any number of arms.

A program takes a fixed number of arms, the chunk; the host loops over chunks and pads the last.
Inside one program an arm's bits depend neither on its place nor on its neighbours (measured on CPU
for reductions, matrix products, solves and scans), while programs of different sizes round
differently: with one size, it never matters which arms run beside which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from ax_jax_runners.errors import AxJaxError, EvaluationError
from ax_jax_runners.evaluation.features import reason, simulator_name
from ax_jax_runners.tasks.arm_functions import ArmFunctions, is_key


class ArmPrograms:
    """The two programs of a stepwise computation, each compiled once, for chunks of arms."""

    def __init__(self, functions: ArmFunctions, chunk: int) -> None:
        """Keep what is needed; nothing is compiled yet."""
        self._functions = functions
        self._chunk = chunk
        self._first = jax.jit(jax.vmap(functions.first))
        self._next = jax.jit(jax.vmap(functions.next))
        self._checked: set[str] = set()

    def first(self, theta: np.ndarray, keys: Array) -> tuple[Any, dict[str, Any]]:
        """Return states and reports of B arms; (B, d) and typed keys (B,), B at least 1.

        Raises:
            EvaluationError: A function that cannot be used for any arm, or failed for these.
        """
        implementation = str(jax.random.key_impl(keys))
        if implementation not in self._checked:
            self.trace(implementation)
            self._checked.add(implementation)
        return self._run(self._first, (theta, keys), len(theta))

    def next(self, state: Any, report: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return states and reports of B arms after one slice more.

        Raises:
            EvaluationError: The functions failed for these arms.
        """
        return self._run(self._next, (state, report), len(report["done"]))

    def trace(self, implementation: str) -> tuple[core.ClosedJaxpr, core.ClosedJaxpr]:
        """Return the programs of one arm; nothing is run.

        Raises:
            EvaluationError: A function that cannot be used, whatever the arm.
        """
        functions = self._functions
        with self._precision():
            theta = jax.ShapeDtypeStruct((functions.space.dimension,), functions.dtype)
            key = jax.eval_shape(lambda: jax.random.key(0, impl=implementation))
            first, begun = jax.make_jaxpr(functions.first, return_shape=True)(theta, key)
            return first, jax.make_jaxpr(functions.next)(*begun)

    def _run(self, program: Callable[..., Any], given: Any, count: int) -> Any:
        chunk = self._chunk
        with self._precision():
            try:
                pieces = [
                    program(*jax.tree.map(lambda leaf, at=start: _block(leaf, at, chunk), given))
                    for start in range(0, count, chunk)
                ]
                return jax.tree.map(lambda *leaves: _rows(leaves, count), *pieces)
            except AxJaxError:
                raise
            except Exception as error:
                name = simulator_name(self._functions.advance)
                raise EvaluationError(
                    f"Stepwise task {name} failed for a batch of {count} arms: {reason(error)}; "
                    "check its functions, and lower chunk if memory is short."
                ) from error

    def _precision(self) -> Any:
        return jax.enable_x64(self._functions.dtype == "float64")


def _block(leaf: Any, start: int, chunk: int) -> Any:
    """Return the rows of one chunk, filled up with copies of its first."""
    if is_key(leaf):
        data = _block(jax.random.key_data(leaf), start, chunk)
        return jax.random.wrap_key_data(jnp.asarray(data), impl=str(jax.random.key_impl(leaf)))
    rows = np.asarray(leaf)[start : start + chunk]
    if len(rows) == chunk:
        return rows
    filling = np.broadcast_to(rows[0], (chunk - len(rows), *rows.shape[1:]))
    return np.concatenate([rows, filling])


def _rows(blocks: tuple[Any, ...], count: int) -> Any:
    """Return the first ``count`` rows of all chunks, on the host; keys stay keys."""
    if is_key(blocks[0]):
        data = _rows(tuple(jax.random.key_data(block) for block in blocks), count)
        return jax.random.wrap_key_data(jnp.asarray(data), impl=str(jax.random.key_impl(blocks[0])))
    return np.concatenate([np.asarray(block) for block in blocks])[:count]
