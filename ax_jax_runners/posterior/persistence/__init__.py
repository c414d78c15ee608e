"""Saving estimators, loading them, and telling a registry of them."""

from __future__ import annotations

from ax_jax_runners.posterior.persistence.artifacts import ArtifactMetadata, ArtifactRegistry
from ax_jax_runners.posterior.persistence.persistent import PersistentPosteriorEstimator
from ax_jax_runners.posterior.persistence.priors import prior_of
from ax_jax_runners.posterior.persistence.state_files import load_arrays, save_arrays

__all__ = [
    "ArtifactMetadata",
    "ArtifactRegistry",
    "PersistentPosteriorEstimator",
    "load_arrays",
    "prior_of",
    "save_arrays",
]
