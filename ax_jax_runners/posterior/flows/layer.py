"""Transforms of one row that also take many at once, in a last axis."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from jax import Array

from ax_jax_runners.posterior.flows.flowjax_classes import AbstractBijection


class Layer(AbstractBijection):
    """A bijection of flowjax, whose own methods are for a single row.

    Rows last are what compiled programs are asked with: bins and units then lie far apart, and
    CPUs work on neighbouring rows side by side. `jax.vmap` puts rows first.
    """

    @abstractmethod
    def forward(self, x: Array, condition: Array) -> tuple[Array, Array]:
        """Map x (d, ...) towards the base.

        Args:
            x: (d,) or (d, rows).
            condition: (embedding_dim,); with rows (embedding_dim, rows or 1).

        Returns:
            The image, and the log determinants () or (rows,).
        """

    @abstractmethod
    def backward(self, y: Array, condition: Array) -> tuple[Array, Array]:
        """Map y (d, ...) away from the base, likewise."""

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        """Map x (d,) towards the base; return the image and the log determinant."""
        return self.forward(x, condition)

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        """Map y (d,) away from the base; return the image and the log determinant."""
        return self.backward(y, condition)
