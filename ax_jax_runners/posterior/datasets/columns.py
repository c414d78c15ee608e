"""The columns of stored rows: parameters and features, and what readers make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation.features import WHOLE

PARAMETER, FEATURE = "parameter", "feature"


@dataclass(frozen=True)
class Column:
    """One column of every shard.

    Attributes:
        name: Its name in the shards.
        group: "parameter", "feature", or what else a shard's writer tells of its rows.
        source: What the simulator calls it.
        dtype: NumPy's name of its type.
        shape: Shape of one value; () for a scalar.
    """

    name: str
    group: str
    source: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Numbers in one value."""
        return int(np.prod(self.shape, dtype=np.int64))

    def describe(self) -> dict[str, Any]:
        """Return the column as plain JSON; `from_description` reads it."""
        return {**vars(self), "shape": list(self.shape)}

    @classmethod
    def from_description(cls, told: Mapping[str, Any]) -> Column:
        """Return the column that `describe` gave."""
        return cls(**{**told, "shape": tuple(int(length) for length in told["shape"])})


#: The column that tells which rows of a simulation have finite features only.
VALID = Column("valid", "row", "valid", "bool")


def columns_of(names: Sequence[str], features: Mapping[str, np.ndarray]) -> tuple[Column, ...]:
    """Return the columns of rows.

    Args:
        names: Of the parameters, float64 each.
        features: Arrays (B, ...) by leaf, without complex numbers; see `real_features`.
    """
    parameters = [Column(f"{PARAMETER}.{name}", PARAMETER, name, "float64") for name in names]
    return (
        *parameters,
        *(
            Column(f"{FEATURE}.{name}", FEATURE, name, leaf.dtype.name, leaf.shape[1:])
            for name, leaf in features.items()
        ),
    )


def real_features(names: Sequence[str], leaves: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return features by name, without complex numbers: files have two columns for one of them.

    Raises:
        ConfigurationError: Two features of the same name, or one without any number.
    """
    features: dict[str, np.ndarray] = {}
    for name, leaf in zip(names, leaves, strict=True):
        parts = {name: leaf}
        if np.iscomplexobj(leaf):
            parts = {f"{name}.real": np.real(leaf), f"{name}.imag": np.imag(leaf)}
        for part, values in parts.items():
            if part in features:
                raise ConfigurationError(
                    f"The simulator returns two features {part!r}, which files cannot tell apart; "
                    "rename one."
                )
            if 0 in values.shape[1:]:
                raise ConfigurationError(
                    f"Feature {part!r} has the shape {values.shape[1:]}, without any number; "
                    "leave it out by features= of the evaluator."
                )
            features[part] = np.ascontiguousarray(values)
    return features


def rows_of(
    columns: Sequence[Column], arrays: Mapping[str, np.ndarray], kept: np.ndarray
) -> tuple[np.ndarray, Any]:
    """Return parameters (B, d) float64 and observations of stored columns.

    The observations are an array (B, m) where a simulator returns one array, else a mapping of
    arrays (B, ...) by feature.

    Args:
        columns: Of parameters, features, and maybe others, which are passed over.
        arrays: Their values by name.
        kept: Which rows, as booleans (one a row) or numbers.
    """
    if kept.dtype == bool and kept.all():
        kept = np.s_[:]  # type: ignore[assignment]
    of_parameters = [arrays[c.name][kept] for c in columns if c.group == PARAMETER]
    parameters = np.stack(of_parameters, axis=1).astype(np.float64)
    features = {c.source: arrays[c.name][kept] for c in columns if c.group == FEATURE}
    if list(features) == [WHOLE]:
        [array] = features.values()
        return parameters, array.reshape(len(array), math.prod(array.shape[1:]))
    return parameters, features
