"""All rows of a reader in memory, for an estimator to learn from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.datasets.arrays import as_parameters, parameter_names
from ax_jax_runners.posterior.datasets.digest import RowsDigest
from ax_jax_runners.posterior.datasets.observations import as_observations, columns, join, shown
from ax_jax_runners.posterior.datasets.splitting import check_fraction, is_validation
from ax_jax_runners.posterior.records import observation_rows

_BATCH = 4096
_NAMES = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, eq=False)
class GatheredData:
    """All rows of a data set.

    Attributes:
        parameters: (N, d) float64, physical units.
        observations: An array (N, m), a mapping of arrays (N, ...), or N lists of blocks.
        is_validation: (N,) bool, the rows that are held back.
        fingerprint: Tells this content from another.
        names: Of the parameters.
        space: Their prior; None where the reader does not tell it.
        manifest: What the reader tells of the rows' making; None: nothing.
        preprocessing_metadata: What it tells was done to the observations; None: nothing.
    """

    parameters: np.ndarray
    observations: Any
    is_validation: np.ndarray
    fingerprint: str
    names: tuple[str, ...]
    space: ParameterSpace | None = None
    manifest: Mapping[str, Any] | None = None
    preprocessing_metadata: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.parameters)


def gather(reader: Any, *, seed: int, validation_fraction: float = 0.1) -> GatheredData:
    """Read a whole data set.

    ``iter_batches`` is given those of batch_size, shuffle, seed and split that its signature
    names. A reader that takes ``split`` says itself which rows are held back; where it does not,
    or holds none back, or yields the same rows for every split, they are drawn by their numbers.

    Args:
        reader: See `DatasetReader`.
        seed: Of what is drawn.
        validation_fraction: Share of the rows to hold back where the reader does not say which.

    Raises:
        ConfigurationError: No reader, no rows, columns that change between batches, or parameters
            that are not finite.
    """
    fraction = check_fraction(validation_fraction)
    accepted = _accepted(reader)
    options = {"batch_size": _BATCH, "shuffle": False, "seed": seed}
    given = {name: value for name, value in options.items() if name in accepted}
    if "split" not in accepted:
        parameters, observations = _read(reader, given)
        held = None
    else:
        parameters, observations, held = _read_parts(reader, given)
    if held is None:
        rows = len(parameters)
        held = is_validation(0, rows, rows, fraction=fraction, seed=seed)
    space = getattr(reader, "space", None)
    names = parameter_names(parameters.shape[1], space, getattr(reader, "names", None))
    manifest = getattr(reader, "manifest", None)
    return GatheredData(
        parameters,
        observations,
        held,
        _fingerprint(reader, manifest) or _digest(parameters, observations, names),
        names,
        space,
        manifest,
        getattr(reader, "preprocessing_metadata", None),
    )


def _accepted(reader: Any) -> frozenset[str]:
    """The options of ``iter_batches`` that can be passed by name."""
    method = getattr(reader, "iter_batches", None)
    if not callable(method):
        raise ConfigurationError(
            f"The data set is a {type(reader).__name__} without iter_batches; give a reader, or "
            "ArrayDataset(parameters, observations) for arrays."
        )
    options = {"batch_size", "shuffle", "seed", "split"}
    try:
        taken = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken):
        return frozenset(options)
    return frozenset(options & {p.name for p in taken if p.kind in _NAMES})


def _read_parts(reader: Any, given: dict[str, Any]) -> tuple[np.ndarray, Any, np.ndarray | None]:
    train = _read(reader, {**given, "split": "train"})
    validation = _read(reader, {**given, "split": "validation"}, empty=True, like=train[1])
    if validation is None or _equal(train[0], validation[0]):
        return *train, None
    parameters = np.concatenate([train[0], validation[0]])
    held = np.arange(len(parameters)) >= len(train[0])
    return parameters, join([train[1], validation[1]]), held


def _read(reader: Any, given: dict[str, Any], *, empty: bool = False, like: Any = None) -> Any:
    """Return all rows of a pass; None where it has none and that is allowed."""
    kind = type(reader).__name__
    known = None if like is None else columns(like)
    parameters: list[np.ndarray] = []
    observations: list[Any] = []
    rows = 0
    for number, batch in enumerate(reader.iter_batches(**given)):
        try:
            found = batch.parameters, batch.observations
        except AttributeError as error:
            raise ConfigurationError(
                f"{kind}.iter_batches yields a {type(batch).__name__}; yield PosteriorBatch("
                "parameters, observations)."
            ) from error
        theta = as_parameters(found[0], rows)
        seen = as_observations(found[1])
        if observation_rows(seen) != len(theta):
            raise ConfigurationError(
                f"Batch {number} of {kind} has {len(theta)} rows of parameters and "
                f"{observation_rows(seen)} of observations; yield one observation for each row."
            )
        if not len(theta):
            continue
        if parameters and theta.shape[1] != parameters[0].shape[1]:
            raise ConfigurationError(
                f"Batch {number} of {kind} has {theta.shape[1]} parameters and the ones before "
                f"{parameters[0].shape[1]}; yield the same columns in every batch."
            )
        told = columns(seen)
        if known is not None and told != known:
            raise ConfigurationError(
                f"Batch {number} of {kind} has the observations {shown(told)} and the ones "
                f"before {shown(known)}; yield the same columns in every batch."
            )
        known = told
        rows += len(theta)
        parameters.append(theta)
        observations.append(seen)
    if not rows and empty:
        return None
    if not rows:
        part = f" for split={given['split']!r}" if "split" in given else ""
        raise ConfigurationError(
            f"{kind} yields no rows{part}; give a data set with at least one row."
        )
    return np.concatenate(parameters), join(observations)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _fingerprint(reader: Any, manifest: Any) -> str | None:
    told = getattr(reader, "fingerprint", None)
    if told is None and isinstance(manifest, Mapping):
        told = manifest.get("fingerprint")
    return None if told is None else str(told)


def _digest(parameters: np.ndarray, observations: Any, names: tuple[str, ...]) -> str:
    digest = RowsDigest()
    digest.update(parameters, observations)
    return digest.hexdigest(names)
