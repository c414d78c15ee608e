"""Networks that turn an embedding, and some of the coordinates, into a transform's parameters."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Conditioner(eqx.Module):
    """Fully connected layers over coordinates and an embedding; zero as long as it is new.

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
        """Return parameters (transformed coordinates, parameters) for x (coordinates,)."""
        weights = self._masked_weights() if self.autoregressive else self.weights
        first = weights[0]
        hidden = x @ first[: self.coordinates] + (
            embedding @ first[self.coordinates :] + self.biases[0]
        )
        for weight, bias in zip(weights[1:], self.biases[1:], strict=True):
            hidden = jax.nn.silu(hidden) @ weight + bias
        return hidden.reshape(-1, self.parameters)

    def _masked_weights(self) -> tuple[Array, ...]:
        first = self.weights[0]
        masks = autoregressive_masks(
            self.coordinates, tuple(w.shape[1] for w in self.weights[:-1]), self.parameters
        )
        open_rows = np.ones((first.shape[0] - self.coordinates, first.shape[1]), np.float32)
        masks = (np.concatenate([masks[0], open_rows]), *masks[1:])
        return tuple(w * mask for w, mask in zip(self.weights, masks, strict=True))


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
        for before, after in zip(degrees[:-1], degrees[1:], strict=True)
    )


def new_conditioners(
    key: Array,
    *,
    layers: int | None,
    coordinates: int,
    embedding_dim: int,
    width: int,
    depth: int,
    outputs: int,
    parameters: int,
    autoregressive: bool = False,
) -> Conditioner:
    """Return a new conditioner, or many as one with a leading axis on every array.

    Weights and biases of hidden layers are uniform in +-1/sqrt(inputs), those of the last layer are
    zero, whatever the key.

    Args:
        key: Of the draws.
        layers: How many; None: one, without a leading axis.
        coordinates: Coordinates that each is given.
        embedding_dim: Length of the embedding.
        width: Of its hidden layers.
        depth: How many hidden layers.
        outputs: Coordinates that it has parameters for.
        parameters: Numbers for each of them.
        autoregressive: See `Conditioner`.
    """
    sizes = (coordinates + embedding_dim, *(width,) * depth, outputs * parameters)
    weights, biases = _draw(key, () if layers is None else (layers,), sizes)
    return Conditioner(weights, biases, coordinates, parameters, autoregressive)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _draw(
    key: Array, many: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    # One draw for everything: each random call costs as much compilation as the whole rest.
    shapes = [
        (rows, columns) for rows, columns in zip(sizes[:-2], sizes[1:-1], strict=True)
    ]
    total = sum((rows + 1) * columns for rows, columns in shapes)
    draws = jax.random.uniform(key, (*many, total), jnp.float32, -1.0, 1.0)
    weights, biases, start = [], [], 0
    for rows, columns in shapes:
        block = draws[..., start : start + (rows + 1) * columns] / math.sqrt(rows)
        block = block.reshape(*many, rows + 1, columns)
        weights.append(block[..., :-1, :])
        biases.append(block[..., -1, :])
        start += (rows + 1) * columns
    weights.append(jnp.zeros((*many, *sizes[-2:]), jnp.float32))
    biases.append(jnp.zeros((*many, sizes[-1]), jnp.float32))
    return tuple(weights), tuple(biases)
