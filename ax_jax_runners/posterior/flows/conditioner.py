"""Networks that turn an embedding, and some of the coordinates, into a transform's parameters."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

#: Leading axes of a network's arrays, and the shapes of its matrices.
NetworkPlan = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


class Conditioner(eqx.Module):
    """Fully connected layers over coordinates and an embedding; zero as long as it is new.

    Between the first and the last layer each one adds to what it is given (He et al. 2016).
    The two inputs meet in the first sum only, so that the embedding's share is computed once for
    all draws from one posterior.

    Attributes:
        weights: One matrix (inputs, outputs) for each layer, float32; the coordinates are the first
            rows of the first one.
        biases: One vector for each layer, float32.
        coordinates: How many coordinates it is given.
        parameters: How many numbers it returns for each transformed coordinate.
        autoregressive: Whether row i of the result depends on the coordinates before i only
            (Germain et al. 2015, MADE).
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    coordinates: int = eqx.field(static=True)
    parameters: int = eqx.field(static=True)
    autoregressive: bool = eqx.field(static=True)

    def __call__(self, x: Array, embedding: Array) -> Array:
        """Return parameters (transformed coordinates, parameters) for x (coordinates,).

        With a last axis of rows in x and the embedding, the result has it, too; an embedding for
        all rows has one of length 1.
        """
        weights = self._masked_weights() if self.autoregressive else self.weights
        rows = x.shape[1:]
        biases = [bias.reshape(-1, *(1,) * len(rows)) for bias in self.biases]
        first = weights[0]
        hidden = weighted(x, first[: self.coordinates]) + (
            weighted(embedding, first[self.coordinates :]) + biases[0]
        )
        last = len(weights) - 1
        for layer in range(1, last + 1):
            change = weighted(jax.nn.relu(hidden), weights[layer]) + biases[layer]
            hidden = change if layer == last else hidden + change
        return hidden.reshape(-1, self.parameters, *hidden.shape[1:])

    def _masked_weights(self) -> tuple[Array, ...]:
        first = self.weights[0]
        masks = autoregressive_masks(
            self.coordinates, tuple(w.shape[1] for w in self.weights[:-1]), self.parameters
        )
        open_rows = np.ones((first.shape[0] - self.coordinates, first.shape[1]), np.float32)
        masks = (np.concatenate([masks[0], open_rows]), *masks[1:])
        return tuple(w * mask for w, mask in zip(self.weights, masks, strict=True))


def weighted(inputs: Array, weights: Array) -> Array:
    """Return the products (outputs, ...) of inputs (n, ...) with a matrix (n, outputs)."""
    # A row by itself is meant for jax.vmap, which puts the rows first.
    return inputs @ weights if inputs.ndim == 1 else weights.T @ inputs


@functools.cache
def autoregressive_masks(
    dimension: int, widths: tuple[int, ...], parameters: int
) -> tuple[np.ndarray, ...]:
    """Return a mask (inputs, outputs) for each layer of a masked network.

    Input j is of degree j + 1; hidden units take the degrees 0 (the embedding alone) to
    ``dimension`` - 1 in turn; a unit sees units of no higher degree, and output i hidden units of a
    degree of at most i.

    Args:
        dimension: Coordinates in and out.
        widths: Units of each hidden layer.
        parameters: Outputs for each coordinate, next to each other.

    Returns:
        Arrays of 0 and 1, float32.
    """
    degrees = [np.arange(1, dimension + 1)]
    degrees += [np.arange(width) % dimension for width in widths]
    degrees.append(np.repeat(np.arange(dimension), parameters))
    return tuple(
        (before[:, None] <= after[None, :]).astype(np.float32)
        for before, after in itertools.pairwise(degrees)
    )


def layer_sizes(
    *, inputs: int, width: int, depth: int, outputs: int
) -> tuple[tuple[int, int], ...]:
    """Return the shapes of the matrices of ``depth`` hidden layers and the last one."""
    sizes = (inputs, *(width,) * depth, outputs)
    return tuple(itertools.pairwise(sizes))


def draw_networks(
    key: Array, networks: Sequence[NetworkPlan]
) -> list[tuple[tuple[Array, ...], tuple[Array, ...]]]:
    """Return the weights and the biases of new networks.

    Those of hidden layers are uniform in +-1/sqrt(inputs), those of the last layer are zero.

    Args:
        key: Of the draws.
        networks: For each its leading axes, () or (layers,), and the shapes of its matrices.
    """
    plan = tuple(networks)
    total = sum(math.prod(many) * _hidden_size(shapes) for many, shapes in plan)
    # Whoever has drawn once has compiled: the sizes are few, and the rest is cheap to compile.
    numbers = _uniform(key, 1 << max(total - 1, 1 << 14).bit_length())
    return _shaped(numbers, plan)


def _hidden_size(shapes: Sequence[tuple[int, int]]) -> int:
    return sum((rows + 1) * columns for rows, columns in shapes[:-1])


@functools.partial(jax.jit, static_argnums=1)
def _uniform(key: Array, size: int) -> Array:
    return jax.random.uniform(key, (size,), jnp.float32, -1.0, 1.0)


@functools.partial(jax.jit, static_argnums=1)
def _shaped(numbers: Array, plan: Any) -> list[tuple[tuple[Array, ...], tuple[Array, ...]]]:
    networks, start = [], 0
    for many, shapes in plan:
        weights, biases = [], []
        for rows, columns in shapes[:-1]:
            end = start + math.prod(many) * (rows + 1) * columns
            block = numbers[start:end].reshape(*many, rows + 1, columns) / math.sqrt(rows)
            weights.append(block[..., :-1, :])
            biases.append(block[..., -1, :])
            start = end
        weights.append(jnp.zeros((*many, *shapes[-1]), jnp.float32))
        biases.append(jnp.zeros((*many, shapes[-1][1]), jnp.float32))
        networks.append((tuple(weights), tuple(biases)))
    return networks
