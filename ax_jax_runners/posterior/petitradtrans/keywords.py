"""Flat keywords as attributes, and in the metadata of a saved estimator."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ax_jax_runners.posterior.persistence import prior_of

#: Keywords that metadata keep elsewhere, or that belong to one run only.
_ELSEWHERE = frozenset(
    {
        "self",
        "parameter_dim",
        "parameter_space",
        "seed",
        "prior",
        "task_metadata",
        "checkpoint_directory",
        "resume_from_checkpoint",
        "verbose_diagnostics",
        "diagnostics_output_directory",
    }
)


def _keywords(kind: type) -> tuple[str, ...]:
    return tuple(inspect.signature(kind.__init__).parameters)


def keep_keywords(estimator: Any, kind: type, given: Mapping[str, Any]) -> None:
    """Make an attribute of each keyword of ``kind`` that is given."""
    for name in _keywords(kind):
        if name != "self":
            setattr(estimator, name, given[name])


def kept_config(estimator: Any, kind: type) -> dict[str, Any]:
    """Return the keywords that decide an estimator and stand nowhere else in its metadata."""
    return {name: getattr(estimator, name) for name in _keywords(kind) if name not in _ELSEWHERE}


def known_config(metadata: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return the keywords that metadata hold and ``kind`` knows."""
    known = set(_keywords(kind)) - _ELSEWHERE
    return {name: v for name, v in metadata["estimator_config"].items() if name in known}


def from_flat(kind: Any, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Return the estimator that metadata and its keywords describe, with untrained weights."""
    estimator = kind(
        parameter_dim=metadata["parameter_dim"],
        parameter_space=metadata["parameter_space"],
        seed=metadata["seed"],
        task_metadata=metadata["task"]["metadata"],
        prior=prior_of(metadata),
        **config,
    )
    estimator.hydrate_loaded_metadata(metadata)
    return estimator
