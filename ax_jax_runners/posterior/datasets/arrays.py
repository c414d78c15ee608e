"""A data set in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.datasets.observations import as_observations, columns
from ax_jax_runners.posterior.datasets.reading import BlockReader
from ax_jax_runners.posterior.datasets.splitting import check_fraction
from ax_jax_runners.posterior.records import observation_rows


class ArrayDataset(BlockReader):
    """Rows that are arrays in memory."""

    def __init__(
        self,
        parameters: Any,
        observations: Any,
        *,
        space: ParameterSpace | None = None,
        names: Sequence[str] | None = None,
        validation_fraction: float = 0.1,
    ) -> None:
        """Check the rows.

        Args:
            parameters: (N, d) finite numbers, physical units.
            observations: (N, m), a mapping of arrays (N, ...), or N lists of `ObservationBlock`.
            space: The prior of the parameters.
            names: Of the parameters; None: those of the space, else ``parameter_0`` and so on.
            validation_fraction: Share of the rows to hold back.

        Raises:
            ConfigurationError: No rows, parameters that are not finite, or numbers of rows,
                columns and names that do not fit each other.
        """
        self._parameters = as_parameters(parameters)
        self._observations = as_observations(observations)
        rows = observation_rows(self._observations)
        if rows != len(self._parameters):
            raise ConfigurationError(
                f"There are {len(self._parameters)} rows of parameters and {rows} of "
                "observations; give one observation for each row."
            )
        if not rows:
            raise ConfigurationError("The data set has no rows; give at least one.")
        columns(self._observations)
        self.names = parameter_names(self._parameters.shape[1], space, names)
        self.space = space
        self.validation_fraction = check_fraction(validation_fraction)

    @property
    def _sizes(self) -> Sequence[int]:
        return [len(self._parameters)]

    def _read(self, block: int) -> tuple[np.ndarray, Any, np.ndarray]:
        return self._parameters, self._observations, np.arange(len(self._parameters))


def as_parameters(parameters: Any, first_row: int = 0) -> np.ndarray:
    """Return parameters as float64 (N, d).

    Args:
        parameters: Array-like, physical units.
        first_row: Number of the first row, for the sentence.

    Raises:
        ConfigurationError: Another shape, not numbers, or a number that is not finite.
    """
    try:
        array = np.asarray(parameters, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The parameters are not numbers ({error}); give an array (rows, dimension)."
        ) from error
    if array.ndim != 2 or not array.shape[1]:
        raise ConfigurationError(
            f"The parameters have the shape {array.shape}; give (rows, dimension)."
        )
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0]
        raise ConfigurationError(
            f"Parameter {column} of row {first_row + row} is {array[row, column]}; leave out rows "
            "whose parameters are not finite."
        )
    return array


def parameter_names(dimension: int, space: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of parameters: given ones, else those of the space, else numbered ones.

    Raises:
        ConfigurationError: Not a `ParameterSpace`, or names or a space of another dimension.
    """
    if space is not None and not isinstance(space, ParameterSpace):
        raise ConfigurationError(
            f"The space is a {type(space).__name__}; give a ParameterSpace, or None."
        )
    if space is not None and space.dimension != dimension:
        raise ConfigurationError(
            f"The space has {space.dimension} free parameters ({', '.join(space.names)}) and the "
            f"rows have {dimension}; give the space of these rows."
        )
    if names is None:
        return space.names if space else tuple(f"parameter_{i}" for i in range(dimension))
    given = (names,) if isinstance(names, str) else tuple(map(str, names))
    if len(given) != dimension or len(set(given)) != dimension:
        raise ConfigurationError(
            f"The names are {', '.join(given)} for {dimension} parameters; give each one its own."
        )
    if space is not None and given != space.names:
        raise ConfigurationError(
            f"The names are {', '.join(given)} and the space has {', '.join(space.names)}; give "
            "the columns in the order of the space."
        )
    return given
