"""A digest of rows that does not depend on how they are cut into batches, shards or files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ax_jax_runners.posterior.datasets.observations import leaves


class RowsDigest:
    """A SHA-256 over rows in their order, taken batch by batch.

    Every column is hashed on its own, so that only the order of rows within it counts.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}
        self._kinds: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._rows = 0

    def update(self, parameters: np.ndarray, observations: Any) -> None:
        """Add rows: parameters (B, d) and observations, whose arrays are NumPy arrays."""
        self._rows += len(parameters)
        self._add("parameters", np.asarray(parameters, dtype=np.float64))
        for name, array in leaves(observations):
            self._add(f"observations/{name}", array)

    def _add(self, name: str, array: np.ndarray) -> None:
        if name not in self._columns:
            self._columns[name] = hashlib.sha256()
            self._kinds[name] = array.dtype.str, array.shape[1:]
        self._columns[name].update(np.ascontiguousarray(array).tobytes())

    def hexdigest(self, names: Sequence[str] | None = None) -> str:
        """Return 64 hexadecimal digits.

        Args:
            names: Of the parameters, where they have names.
        """
        told = {
            "names": None if names is None else list(names),
            "rows": self._rows,
            "columns": {
                name: [*self._kinds[name], column.hexdigest()]
                for name, column in self._columns.items()
            },
        }
        text = json.dumps(told, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
