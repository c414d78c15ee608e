"""Many layers of one shape, one after the other, with the coordinates reordered between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ax_jax_runners.posterior.flows.layer import Layer


class Stack(Layer):
    """Layers that differ in their weights and in the order in which they see the coordinates.

    They run in one `jax.lax.scan`, so that the time to compile does not grow with their number.

    Attributes:
        layers: A layer with a leading axis (layers, ...) on every array.
        orders: The coordinates in the order in which each layer sees them.
        shape: (d,).
        cond_shape: (embedding_dim,).
    """

    layers: Layer
    orders: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """Map x (d, ...) towards the base; return the image and the log determinants."""

        def step(layer: Layer, x: Array, reordering: Array) -> tuple[Array, Array, None]:
            return *layer.forward(x[reordering], condition), None

        x, log_det, _ = self._run(step, x)
        return x[self._places()], log_det

    def backward(self, y: Array, condition: Array) -> tuple[Array, Array]:
        """Map y (d, ...) away from the base; return the image and the log determinants."""

        def step(layer: Layer, y: Array, reordering: Array) -> tuple[Array, Array, None]:
            x, log_det = layer.backward(y, condition)
            return x[reordering], log_det, None

        y, log_det, _ = self._run(step, y[np.asarray(self.orders[-1])], reverse=True)
        return y, log_det

    def transform_and_parts(self, x: Array, condition: Array) -> tuple[Array, Array, Any]:
        """Map x like `forward`; return also the parts, with a leading layer axis."""

        def step(layer: Any, x: Array, reordering: Array) -> tuple[Array, Array, Any]:
            return layer.transform_and_parts(x[reordering], condition)

        x, log_det, parts = self._run(step, x)
        return x[self._places()], log_det, parts

    def _places(self) -> np.ndarray:
        return np.argsort(self.orders[-1])

    def _run(
        self, step: Callable[..., Any], x: Array, *, reverse: bool = False
    ) -> tuple[Array, Array, Any]:
        arrays, static = eqx.partition(self.layers, eqx.is_array)
        reorderings = _reorderings(self.orders)
        if reverse:
            reorderings = np.argsort(reorderings, axis=-1)

        def body(carry: tuple[Array, Array], item: tuple[Any, Array]) -> tuple[Any, Any]:
            x, log_det = carry
            layer, reordering = item
            x, more, seen = step(eqx.combine(layer, static), x, reordering)
            return (x, log_det + more), seen

        start = (x, jnp.zeros(x.shape[1:], x.dtype))
        (x, log_det), seen = jax.lax.scan(
            body, start, (arrays, jnp.asarray(reorderings)), reverse=reverse
        )
        return x, log_det, seen


def layer_orders(layers: int, dimension: int) -> tuple[tuple[int, ...], ...]:
    """Return the order in which each layer sees the coordinates.

    Every second layer sees them backwards, so that any pair of layers transforms each coordinate;
    between the pairs they are dealt into two hands, so that other halves meet.
    """
    orders = [tuple(range(dimension))]
    for layer in range(1, layers):
        order = orders[-1][::-1]
        orders.append(order if layer % 2 else order[::2] + order[1::2])
    return tuple(orders)


def _reorderings(orders: tuple[tuple[int, ...], ...]) -> np.ndarray:
    places = np.asarray(orders, np.int32)
    before = np.concatenate([np.arange(places.shape[1], dtype=np.int32)[None], places[:-1]])
    steps = [np.argsort(was)[now] for was, now in zip(before, places, strict=True)]
    return np.asarray(steps, np.int32)
