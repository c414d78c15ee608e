"""Which rows of a batch are finite, and what the others hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.evaluation.features import finite_rows


@dataclass(frozen=True)
class Evaluation:
    """Features of a batch of B rows, and which of them can be trusted.

    Attributes:
        features: the simulator's structure of numpy arrays with a leading B. A row whose theta is
            not finite holds NaN in every floating or complex leaf.
        valid: (B,) bool: theta and every number of the row are finite.
        nonfinite: leaf name (``"s11"``, ``"line.s11"``; ``"features"`` for a bare array) to (B,)
            bool: rows with a NaN or infinity there.
    """

    features: Any
    valid: np.ndarray
    nonfinite: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, features: Any, leaf_names: Iterable[str], trusted: np.ndarray) -> Evaluation:
        """Look through features.

        Args:
            features: the simulator's structure with a leading B.
            leaf_names: names of its leaves, in their order.
            trusted: (B,) bool: theta is finite.
        """
        nonfinite = {}
        for name, leaf in zip(leaf_names, jax.tree.leaves(features), strict=True):
            inexact = np.issubdtype(leaf.dtype, np.inexact)
            nonfinite[name] = ~finite_rows(leaf) if inexact else np.zeros(len(trusted), dtype=bool)
        valid = trusted.copy()
        for failed in nonfinite.values():
            np.logical_and(valid, ~failed, out=valid)
        return cls(features, valid, nonfinite)


def blanked(features: Any, rows: np.ndarray) -> Any:
    """Return features with NaN in some rows of every floating or complex leaf.

    Args:
        features: a structure of numpy arrays with a leading B.
        rows: (B,) bool: which.
    """
    return jax.tree.map(lambda leaf: _blanked(leaf, rows), features)


def _blanked(leaf: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if not np.issubdtype(leaf.dtype, np.inexact):
        return leaf
    leaf = leaf.copy()
    leaf[rows] = complex(np.nan, np.nan) if np.iscomplexobj(leaf) else np.nan
    return leaf
