"""Affine layers and perceptrons, with weights drawn on the host."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jax import Array


class WeightSource:
    """Uniform weights from one key, drawn by NumPy: no compiling, whatever the shapes.

    The bits of the generator, and so the weights, are the same with every version of NumPy.
    """

    def __init__(self, key: Array) -> None:
        words = np.asarray(jax.random.key_data(key)).astype(np.uint64).ravel()
        self._bits = np.random.Philox(key=np.resize(words, 2))

    def draw(self, shape: tuple[int, ...], *, deviation: float) -> Array:
        """Return float32 numbers of mean 0 and a standard deviation."""
        words = self._bits.random_raw(int(np.prod(shape)))
        uniform = (words >> np.uint64(11)) * 2.0**-52 - 1.0
        numbers = np.sqrt(3.0) * deviation * uniform
        return jax.device_put(numbers.reshape(shape).astype(np.float32))


class Dense(eqx.Module):
    """An affine map of the last axis.

    Attributes:
        weight: (inputs, outputs).
        bias: (outputs,).
    """

    weight: Array
    bias: Array

    @classmethod
    def draw(cls, source: WeightSource, inputs: int, outputs: int, *, gain: float = 1.0) -> Dense:
        """Return one that multiplies the standard deviation of its input by ``gain``."""
        weight = source.draw((inputs, outputs), deviation=gain / np.sqrt(inputs))
        return cls(weight, jax.device_put(np.zeros(outputs, np.float32)))

    def __call__(self, x: Array) -> Array:
        """Return (..., outputs) of (..., inputs)."""
        return x @ self.weight + self.bias


class Perceptron(eqx.Module):
    """Affine maps with SiLU between them.

    Attributes:
        layers: The hidden ones and the last.
    """

    layers: tuple[Dense, ...]

    @classmethod
    def draw(cls, source: WeightSource, sizes: Sequence[int]) -> Perceptron:
        """Return one whose layers have these sizes, that of the input first."""
        # SiLU keeps 0.36 of the mean square of a standard normal input.
        gains = [1.0] + [1.0 / np.sqrt(0.36)] * (len(sizes) - 2)
        return cls(
            tuple(
                Dense.draw(source, inputs, outputs, gain=gain)
                for inputs, outputs, gain in zip(sizes, sizes[1:], gains, strict=False)
            )
        )

    def __call__(self, x: Array) -> Array:
        """Return (..., outputs) of (..., inputs)."""
        for layer in self.layers[:-1]:
            x = jax.nn.silu(layer(x))
        return self.layers[-1](x)
