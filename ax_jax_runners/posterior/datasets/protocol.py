"""What a data set must be able to do to be learned from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from ax_jax_runners.posterior.records import PosteriorBatch


@runtime_checkable
class DatasetReader(Protocol):
    """Anything that yields batches of rows, every row once in a pass.

    Only `iter_batches` is asked for. Of the arguments ``batch_size``, ``shuffle``, ``seed`` and
    ``split`` it is given those that its signature names. What else is known of the rows may be
    told by attributes: ``space`` (a `ParameterSpace`), ``names`` of the parameters,
    ``fingerprint`` (a text that tells one content from another), ``manifest`` and
    ``preprocessing_metadata`` (plain JSON).
    """

    def iter_batches(self, *args: Any, **kwargs: Any) -> Iterable[PosteriorBatch]:
        """Yield every row once."""
        ...
