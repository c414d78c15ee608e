"""What a registry knows of a saved estimator, and what a registry does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ax_jax_runners.errors import ConfigurationError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class ArtifactMetadata:
    """A saved estimator as a registry sees it; plain JSON throughout.

    Attributes:
        name: Under which its versions are found.
        version: Any text; one estimator for each.
        estimator_family: Of the class that loads it.
        schema_version: Of its metadata file.
        digest: 64 lower-case hexadecimal digits: SHA-256 of its metadata and its weights, the same
            for equal estimators, whatever the version and the time.
        parameter_dim: Number of parameters.
        parameter_space: "physical", "cube" or "unconstrained".
        task_name: Of what was simulated.
        task_version: Of the same.
        task_fingerprint: Of the data that it was trained on.
        created_at: ISO 8601, UTC.
        metrics: Finite numbers by name.
    """

    name: str
    version: str
    estimator_family: str
    schema_version: str
    digest: str
    parameter_dim: int
    parameter_space: str
    task_name: str | None = None
    task_version: str | None = None
    task_fingerprint: str | None = None
    created_at: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("name", "version"):
            value = getattr(self, what)
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(
                    f"The {what} of an artifact is {value!r}; give a text that is not empty."
                )
        if not isinstance(self.digest, str) or not _DIGEST.match(self.digest):
            raise ConfigurationError(
                f"The digest of artifact {self.name!r} is {self.digest!r}; it is 64 lower-case "
                "hexadecimal digits."
            )
        for name, value in self.metrics.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ConfigurationError(
                    f"Metric {name!r} of artifact {self.name!r} is {value!r}; leave out what is "
                    "not a finite number."
                )

    def describe(self) -> dict[str, Any]:
        """Return everything as plain JSON; `from_description` reads it."""
        return {**vars(self), "metrics": dict(self.metrics)}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> ArtifactMetadata:
        """Return the metadata that `describe` gave; what else is in the mapping is passed over.

        Raises:
            ConfigurationError: Something is missing or cannot be used.
        """
        known = {name: description[name] for name in cls.__annotations__ if name in description}
        try:
            return cls(**known)
        except (TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"An artifact's description cannot be used ({error}); it has "
                f"{', '.join(sorted(known)) or 'nothing'}."
            ) from error


class Described(Protocol):
    """What a registry answers with: the fields of `ArtifactMetadata` as plain JSON."""

    def describe(self) -> Mapping[str, Any]:
        """Return the fields; `ArtifactMetadata.from_description` reads them."""
        ...


class ArtifactRegistry(Protocol):
    """Saved estimators by name and version, and by digest."""

    def register(self, metadata: ArtifactMetadata, directory: str | Path) -> None:
        """Take a saved estimator in; again with the same name, version and digest does nothing.

        Raises:
            ArtifactExists: The version, or the digest under another version, is there already.
        """
        ...

    def find(self, name: str, version: str | None = None) -> Described:
        """Return one version of a name; without a version the one that was registered last.

        Raises:
            ArtifactNotFound: There is none.
        """
        ...

    def find_digest(self, digest: str) -> Described:
        """Return the estimator of that digest.

        Raises:
            ArtifactNotFound: There is none.
        """
        ...

    def list(self) -> Sequence[Described]:
        """Return everything that is registered, oldest first."""
        ...

    def fetch(self, digest: str, directory: str | Path) -> Path:
        """Write the files of an estimator to a folder, from which it is loaded; return the folder.

        Raises:
            ArtifactNotFound: There is none of that digest.
        """
        ...
