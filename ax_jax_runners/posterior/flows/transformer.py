"""What couplings and masked transforms do to each coordinate."""

from __future__ import annotations

from typing import Protocol

from jax import Array


class Transformer(Protocol):
    """A monotone map of the real line for each coordinate; frozen and hashable.

    All raw numbers zero are the identity.
    """

    @property
    def parameters(self) -> int:
        """Raw numbers for each coordinate."""
        ...

    def transform(self, x: Array, raw: Array) -> tuple[Array, Array]:
        """Map x (n,) by raw (n, parameters) to images (n,) and logarithms of slopes (n,)."""
        ...

    def inverse(self, y: Array, raw: Array) -> tuple[Array, Array]:
        """Map y (n,) back, with the logarithms of the inverse's slopes (n,)."""
        ...
