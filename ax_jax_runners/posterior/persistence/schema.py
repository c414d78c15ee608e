"""Versions of the metadata of saved estimators: what each holds, and the way to the newest.

0.2: ``schema_version``, ``estimator_family``, ``estimator_config``, ``parameter_dim``,
``parameter_space``, ``prior``, ``seed``, ``task`` (name, version, fingerprint, metadata),
``observation_schema``, ``preprocessing``, ``training_artifacts``, ``calibration``, ``artifact`` and
``state`` (folder and digests of the weights' files). A later 0.2 may hold more, which is kept.

0.1: the task's entries lie flat as ``task_name``, ``task_version``, ``task_fingerprint`` and
``task_metadata``, preprocessing is ``preprocessing_metadata``, the weights lie beside the metadata
without a digest, and there is neither a prior nor a calibration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt, SchemaTooNew
from ax_jax_runners.posterior.configuration import SPACES
from ax_jax_runners.posterior.records import POSTERIOR_METADATA_SCHEMA_VERSION

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)\Z", re.ASCII)
_NEWEST = (0, 2)

_OPTIONAL_MAPPING = (Mapping, type(None))
_OPTIONAL_TEXT = (str, type(None))
_TYPES: dict[str, type | tuple[type, ...]] = {
    "schema_version": str,
    "estimator_family": str,
    "estimator_config": Mapping,
    "parameter_dim": int,
    "parameter_space": str,
    "prior": _OPTIONAL_MAPPING,
    "seed": int,
    "task": Mapping,
    "observation_schema": Mapping,
    "preprocessing": Mapping,
    "training_artifacts": _OPTIONAL_MAPPING,
    "calibration": _OPTIONAL_MAPPING,
    "artifact": _OPTIONAL_MAPPING,
    "state": Mapping,
}
_TASK_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": _OPTIONAL_TEXT,
    "version": _OPTIONAL_TEXT,
    "fingerprint": _OPTIONAL_TEXT,
    "metadata": Mapping,
}
KEYS = frozenset(_TYPES)


def current(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metadata document as version 0.2, checked.

    Raises:
        SchemaTooNew: A newer version of this package wrote it.
        ArtifactCorrupt: It is no such document, or something is missing or of the wrong type.
    """
    found = document.get("schema_version")
    match = _VERSION.match(found) if isinstance(found, str) else None
    if match is None:
        raise ArtifactCorrupt(
            f"The metadata have the schema version {found!r}; they are not those of an estimator, "
            "or damaged. Restore them from a copy."
        )
    version = int(match[1]), int(match[2])
    if version > _NEWEST:
        raise SchemaTooNew(
            f"The estimator was saved with schema version {found}; this package reads versions "
            f"0.1 and 0.2. Upgrade ax-jax-runners to load it."
        )
    if version < (0, 1):
        raise ArtifactCorrupt(
            f"The metadata have the schema version {found}, older than any that was in use; they "
            "are damaged. Restore them from a copy."
        )
    newest = dict(document) if version == _NEWEST else _from_0_1(document)
    _check(newest, _TYPES, "")
    _check(newest["task"], _TASK_TYPES, "task.")
    if newest["parameter_dim"] < 1 or newest["parameter_space"] not in SPACES:
        raise ArtifactCorrupt(
            f"The metadata tell of {newest['parameter_dim']} parameters in the space "
            f"{newest['parameter_space']!r}; they are damaged. Restore them from a copy."
        )
    return newest


def _from_0_1(document: Mapping[str, Any]) -> dict[str, Any]:
    moved = {"task_name", "task_version", "task_fingerprint", "task_metadata"}
    moved |= {"preprocessing_metadata"}
    kept = {name: value for name, value in document.items() if name not in moved}
    return {
        "observation_schema": {},
        "training_artifacts": None,
        **kept,
        "schema_version": POSTERIOR_METADATA_SCHEMA_VERSION,
        "task": {
            "name": document.get("task_name"),
            "version": document.get("task_version"),
            "fingerprint": document.get("task_fingerprint"),
            "metadata": document.get("task_metadata") or {},
        },
        "preprocessing": document.get("preprocessing_metadata") or {},
        "prior": None,
        "calibration": None,
        # Its digest was of another document; saved again, the estimator gets a new record.
        "artifact": None,
        "state": {"folder": None, "files": None},
    }


def _check(
    document: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]], where: str
) -> None:
    for name, expected in types.items():
        if name not in document:
            raise ArtifactCorrupt(
                f"The metadata lack {where}{name}; they are damaged. Restore them from a copy."
            )
        value = document[name]
        if not isinstance(value, expected) or isinstance(value, bool):
            raise ArtifactCorrupt(
                f"The metadata hold a {type(value).__name__} as {where}{name}; they are damaged. "
                "Restore them from a copy."
            )
