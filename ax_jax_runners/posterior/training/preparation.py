"""From a data set to what the compiled programs take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.coordinates import ParameterCoordinates
from ax_jax_runners.posterior.datasets import GatheredData
from ax_jax_runners.posterior.datasets.observations import take
from ax_jax_runners.posterior.encoders import ObservationSchema, Preprocessing
from ax_jax_runners.posterior.training.rows import Rows, TrainingData


@dataclass(frozen=True, eq=False)
class PreparedData:
    """A data set, standardised and in flow coordinates, and what did that to it.

    Attributes:
        data: For the compiled programs.
        schema: Of the observations.
        preprocessing: Of the observations, from the training rows.
        coordinates: Of the parameters, from the training rows.
    """

    data: TrainingData
    schema: ObservationSchema
    preprocessing: Preprocessing
    coordinates: ParameterCoordinates


def prepare(
    gathered: GatheredData, *, space: str, prior: ParameterSpace | None, raw: bool = False
) -> PreparedData:
    """Standardise a data set.

    Args:
        gathered: All its rows.
        space: "physical", "cube" or "unconstrained".
        prior: Of the parameters; None: the data set's own.
        raw: Whether the rows keep the observations as they were given, too.

    Raises:
        ConfigurationError: A space without its prior, fewer than two rows, none of one part, or
            parameters outside the prior's support.
        ParameterError: A prior that does not fit.
    """
    prior = gathered.space if prior is None else prior
    held = gathered.is_validation
    if held.all() or not held.any():
        raise ConfigurationError(
            f"Of {len(gathered)} rows {int(held.sum())} are held back for validation; training "
            "needs at least one row of each kind."
        )
    schema = ObservationSchema.of(gathered.observations)
    stacked = schema.stack(gathered.observations)
    training = {
        name: {channel: array[~held] for channel, array in channels.items()}
        for name, channels in stacked.items()
    }
    preprocessing = Preprocessing.fit(schema, training)
    coordinates = ParameterCoordinates.fit(space, prior, gathered.parameters[~held])
    y, log_slope = coordinates.to_flow(gathered.parameters)
    outside = np.flatnonzero(~np.isfinite(log_slope))
    if outside.size:
        raise ConfigurationError(
            f"{outside.size} of {len(y)} rows lie outside the prior's support, the first is row "
            f"{outside[0]} with {gathered.parameters[outside[0]].tolist()}; simulate from the "
            "prior, or use the physical space."
        )
    standardised = preprocessing.apply(stacked)
    # A likelihood is given arrays as they are, and lists of blocks stacked.
    blocks = isinstance(gathered.observations, list)
    given = stacked if blocks else gathered.observations

    def part(chosen: np.ndarray) -> Rows:
        with jax.enable_x64(False):
            return Rows(
                jnp.asarray(y[chosen], jnp.float32),
                jax.tree.map(lambda leaf: jnp.asarray(leaf[chosen]), standardised),
                jax.tree.map(_single, take(given, chosen)) if raw else None,
            )

    data = TrainingData(
        part(~held),
        part(held),
        log_slope[held],
        float(log_slope[~held].mean()),
        {block.name: np.float32(block.typical or 0.0) for block in preprocessing.blocks},
        has_edges=space != "physical",
    )
    return PreparedData(data, schema, preprocessing, coordinates)


def _single(leaf: Any) -> Any:
    array = np.asarray(leaf)
    return jnp.asarray(array.astype(np.float32) if array.dtype == np.float64 else array)
