"""From raw observations to embeddings: schema, standardisation, noise and networks."""

from __future__ import annotations

from ax_jax_runners.posterior.encoders.build import build_encoder
from ax_jax_runners.posterior.encoders.fusion import FusionEncoder, VectorEncoder
from ax_jax_runners.posterior.encoders.noise import Row, add_observation_noise
from ax_jax_runners.posterior.encoders.preprocessing import BlockPreprocessing, Preprocessing
from ax_jax_runners.posterior.encoders.schema import BlockSchema, ObservationSchema, Stacked

__all__ = [
    "BlockPreprocessing",
    "BlockSchema",
    "FusionEncoder",
    "ObservationSchema",
    "Preprocessing",
    "Row",
    "Stacked",
    "VectorEncoder",
    "add_observation_noise",
    "build_encoder",
]
