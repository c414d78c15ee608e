"""One observation, or many, in any of the forms in which they are given, as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ax_jax_runners.posterior.encoders import (
    BlockPreprocessing,
    ObservationSchema,
    Preprocessing,
)
from ax_jax_runners.posterior.records import ObservationBlock


def as_batch(observation: Any) -> Any:
    """Return one observation as a batch of one.

    Args:
        observation: A vector (m,), a mapping of arrays, or a list of `ObservationBlock`.
    """
    if isinstance(observation, Mapping):
        return {name: as_batch(value) for name, value in observation.items()}
    if is_block_list(observation):
        return [list(observation)]
    return np.asarray(observation)[None]


def joined(observations: Sequence[Any]) -> Any:
    """Return single observations of one form as a batch."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {name: joined([each[name] for each in observations]) for name in first}
    if is_block_list(first):
        return [list(each) for each in observations]
    return np.stack([np.asarray(each) for each in observations])


def is_block_list(observation: Any) -> bool:
    """Whether an observation is a list of blocks."""
    return (
        isinstance(observation, Sequence)
        and len(observation) > 0
        and all(isinstance(item, ObservationBlock) for item in observation)
    )


def observation_metadata(schema: ObservationSchema) -> dict[str, Any]:
    """Return what is told of an encoded observation: its blocks' names and modalities."""
    return {"blocks": {block.name: block.modality for block in schema.blocks}}


def neutral_preprocessing(schema: ObservationSchema) -> Preprocessing:
    """Return a standardisation that changes nothing, for a model that was not trained."""
    return Preprocessing(
        tuple(
            BlockPreprocessing(
                block.name,
                (0.0,),
                (1.0,),
                typical=0.0 if "uncertainties" in block.channels else None,
            )
            for block in schema.blocks
        )
    )
