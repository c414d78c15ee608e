"""What goes into a posterior estimator and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError

#: Version of the metadata that estimators are saved with.
POSTERIOR_METADATA_SCHEMA_VERSION = "0.2.0"

MODALITIES = ("spectrum", "photometry", "time_series", "auxiliary")


@dataclass(frozen=True, eq=False)
class PosteriorBatch:
    """Parameters and what was observed for each.

    Attributes:
        parameters: (B, d), physical units.
        observations: (B, m), a mapping of arrays (B, ...), or B lists of `ObservationBlock`.
        metadata: Whatever else is known of the batch.
    """

    parameters: Any
    observations: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = np.shape(self.parameters)
        if len(shape) != 2:
            raise ConfigurationError(
                f"The parameters of a batch have the shape {shape}; give (batch, dimension)."
            )
        rows = observation_rows(self.observations)
        if rows != shape[0]:
            raise ConfigurationError(
                f"A batch has {shape[0]} rows of parameters and {rows} of observations; "
                "give one observation for each row."
            )


@dataclass(frozen=True, eq=False)
class PosteriorSamples:
    """Draws from one posterior.

    Attributes:
        samples: (n, d), in the space that the metadata name.
        log_probabilities: (n,), log density of each draw in that space, or None.
        weights: (n,), or None for equal weights.
        metadata: How they were made, among it how many draws were not finite.
    """

    samples: Any
    log_probabilities: Any = None
    weights: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = np.shape(self.samples)
        if len(shape) != 2:
            raise ConfigurationError(f"Samples have the shape {shape}; give (draws, dimension).")
        for name in ("log_probabilities", "weights"):
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape[:1]:
                raise ConfigurationError(
                    f"{name} have the shape {np.shape(value)} for {shape[0]} draws; give one each."
                )


@dataclass(frozen=True)
class TrainingArtifacts:
    """What a training run leaves behind beside the weights; plain JSON throughout.

    Attributes:
        history: One list for each quantity, with one entry for each epoch.
        validation_metrics: Of the weights that were kept.
        metadata: How the run was made and how it ended.
    """

    history: Mapping[str, Any]
    validation_metrics: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return everything as plain JSON; `from_description` reads it."""
        return {
            "history": {name: list(values) for name, values in self.history.items()},
            "validation_metrics": dict(self.validation_metrics),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> TrainingArtifacts:
        """Return the artifacts that `describe` gave."""
        return cls(
            dict(description["history"]),
            dict(description["validation_metrics"]),
            dict(description.get("metadata", {})),
        )


@dataclass(frozen=True, eq=False)
class ObservationBlock:
    """One measured piece of an observation.

    Attributes:
        name: Its name, the same in every observation of a data set.
        modality: "spectrum", "photometry", "time_series" or "auxiliary".
        values: (L,) numbers.
        uncertainties: (L,) standard deviations in the units of ``values``, or None.
        coordinates: (L,) wavelengths, filters' centres or times, or None.
        mask: (L,) booleans, true where a value was measured; None: everywhere.
        metadata: Whatever else is known of the block.
    """

    name: str
    modality: str
    values: Any
    uncertainties: Any = None
    coordinates: Any = None
    mask: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ConfigurationError(
                f"Block {self.name!r} has the modality {self.modality!r}; "
                f"choose one of {', '.join(MODALITIES)}."
            )
        shape = np.shape(self.values)
        if len(shape) != 1 or not shape[0]:
            raise ConfigurationError(
                f"The values of block {self.name!r} have the shape {shape}; give a vector."
            )
        for name in ("uncertainties", "coordinates", "mask"):
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ConfigurationError(
                    f"The {name} of block {self.name!r} have the shape {np.shape(value)} for "
                    f"{shape[0]} values; give one each."
                )


@dataclass(frozen=True, eq=False)
class EncodedObservation:
    """One observation as a flow sees it.

    Attributes:
        embedding: (embedding_dim,) float32.
        metadata: Names and modalities of the blocks it was made of.
    """

    embedding: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)


def observation_rows(observations: Any) -> int:
    """Return how many observations there are, in any of the forms of a `PosteriorBatch`.

    Raises:
        ConfigurationError: A mapping of arrays with different numbers of rows, or no rows at all.
    """
    if isinstance(observations, Mapping):
        rows = {name: np.shape(value)[:1] for name, value in _leaves(observations)}
        if not rows or len(set(rows.values())) > 1 or () in rows.values():
            raise ConfigurationError(
                f"Observations have the rows {rows}; give every array the same first axis."
            )
        return next(iter(rows.values()))[0]
    try:
        return len(observations)
    except TypeError as error:
        raise ConfigurationError(
            f"Observations are a {type(observations).__name__}; give an array (batch, m), a "
            "mapping of arrays, or a list of lists of blocks."
        ) from error


def _leaves(mapping: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in mapping.items():
        where = f"{path}.{name}" if path else str(name)
        found += _leaves(value, where) if isinstance(value, Mapping) else [(where, value)]
    return found
