"""Simulations by their numbers: parameters, features, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.evaluation.features import leaf_names
from ax_jax_runners.evaluation.fingerprint import program_digest
from ax_jax_runners.posterior.datasets.columns import VALID, Column, columns_of, real_features
from ax_jax_runners.posterior.datasets.draws import PriorDraws, row_keys

_SHARD_ROWS = 2**16
_SHARD_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class Simulated:
    """Some simulations.

    Attributes:
        columns: Theirs, in order.
        arrays: (B, ...) by name of the column.
        nonfinite: By feature, in how many rows it is not finite.
        rejected: Draws that the constraints refused on the way to these rows.
    """

    columns: tuple[Column, ...]
    arrays: Mapping[str, np.ndarray]
    nonfinite: Mapping[str, int]
    rejected: int


@dataclass(frozen=True)
class SimulatedRows:
    """All simulations of a seed; row k is the same whichever rows are asked for with it.

    Attributes:
        evaluator: The simulator.
        draws: Its parameters.
        batch_size: Rows that are evaluated at once.
    """

    evaluator: FeatureEvaluator
    draws: PriorDraws
    batch_size: int

    def describe(self) -> dict[str, Any]:
        """Return what decides the bits of a row, as plain JSON.

        Raises:
            EvaluationError: The simulator cannot be traced.
        """
        evaluator = self.evaluator
        told: dict[str, Any] = {
            "space": self.draws.space.describe(),
            "simulator": program_digest(evaluator),
            "seed": self.draws.seed,
            "dtype": evaluator.dtype,
            "chunk": evaluator.chunk,
            "reproducible": evaluator.reproducible,
            "stochastic": evaluator.stochastic,
            "jax": jax.__version__,
            "platform": jax.default_backend(),
        }
        if not evaluator.reproducible:
            # Its last bits depend on the company in which a row is evaluated.
            told["batch_size"] = self.batch_size
        return told

    @property
    def affordable(self) -> int:
        """Rows of a file of moderate size."""
        columns = self._batch(0, 0).columns
        size = sum(np.dtype(column.dtype).itemsize * column.elements for column in columns)
        return max(1, min(_SHARD_ROWS, _SHARD_BYTES // size))

    def simulate(self, start: int, stop: int) -> Simulated:
        """Evaluate rows ``start`` to ``stop``, batch by batch.

        Raises:
            ConfigurationError: The constraints leave hardly any room.
            EvaluationError: The simulator cannot be evaluated.
        """
        firsts = range(start, stop, self.batch_size)
        parts = [self._batch(first, min(first + self.batch_size, stop)) for first in firsts]
        columns = parts[0].columns
        return Simulated(
            columns,
            {c.name: np.concatenate([part.arrays[c.name] for part in parts]) for c in columns},
            {name: sum(p.nonfinite[name] for p in parts) for name in parts[0].nonfinite},
            sum(part.rejected for part in parts),
        )

    def _batch(self, start: int, stop: int) -> Simulated:
        theta, rejected = self.draws.rows(start, stop)
        keys = row_keys(self.draws.seed, start, stop) if self.evaluator.stochastic else None
        found = self.evaluator.evaluate(theta, keys)
        names = self.draws.space.names
        leaves = jax.tree.leaves(found.features)
        features = real_features(leaf_names(found.features), leaves)
        columns = (*columns_of(names, features), VALID)
        values = [*theta.T, *features.values(), found.valid]
        return Simulated(
            columns,
            {c.name: array for c, array in zip(columns, values, strict=True)},
            {name: int(rows.sum()) for name, rows in found.nonfinite.items()},
            rejected,
        )
