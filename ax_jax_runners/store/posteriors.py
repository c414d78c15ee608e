"""The registry of saved posterior estimators: rows that name them, files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, insert, or_, select
from sqlalchemy.exc import IntegrityError

from ax_jax_runners.errors import (
    ArtifactExists,
    ArtifactNotFound,
    ConfigurationError,
    ResultNotStorable,
)
from ax_jax_runners.store import posterior_files
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.tables import posterior as table

if TYPE_CHECKING:
    from ax_jax_runners.files import FileStore
    from ax_jax_runners.store.store import Store

_SHOWN = 10


class Described(Protocol):
    """A record that tells its fields as plain JSON."""

    def describe(self) -> Mapping[str, Any]:
        """Return the fields of `RegisteredPosterior` but for its files."""
        ...


@dataclass(frozen=True)
class RegisteredPosterior:
    """One estimator of a registry.

    Attributes:
        name: Under which its versions are found.
        version: One estimator for each.
        digest: Of its metadata and weights, 64 hexadecimal digits.
        estimator_family: Of the class that loads it.
        schema_version: Of its metadata file.
        parameter_dim: Number of parameters.
        parameter_space: "physical", "cube" or "unconstrained".
        task_name: Of what was simulated.
        task_version: Of the same.
        task_fingerprint: Of the data that it was trained on.
        created_at: When it was saved, ISO 8601.
        metrics: Numbers by name.
        files: The SHA-256 of each file by its path in the estimator's folder.
    """

    name: str
    version: str
    digest: str
    estimator_family: str
    schema_version: str
    parameter_dim: int
    parameter_space: str
    task_name: str | None
    task_version: str | None
    task_fingerprint: str | None
    created_at: str | None
    metrics: dict[str, float]
    files: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """Return everything but the files as plain JSON."""
        described = asdict(self)
        del described["files"]
        return described


@dataclass(frozen=True)
class PosteriorRegistry:
    """Saved estimators of one store, by name and version and by digest.

    An estimator is known by what its own metadata file says (``artifact.digest`` and the files of
    ``state``); its files are kept with the store's others, each once.

    Attributes:
        store: Where they are.
    """

    store: Store

    def register(self, metadata: Described, directory: str | Path) -> None:
        """Take in an estimator that was saved to a folder, files first.

        Registering it again under the same name and version does nothing.

        Args:
            metadata: Tells the fields of `RegisteredPosterior`.
            directory: Where the estimator was saved.

        Raises:
            ArtifactExists: Another estimator has the version, or this one has another.
            ArtifactCorrupt: A file in the folder is missing, damaged or a link.
            ConfigurationError: The folder holds another estimator, or the store has no folder.
            ResultNotStorable: A field is missing or is not plain JSON.
            StoreError: The database cannot be read or written.
        """
        values = _values(metadata.describe())
        files = self._files()
        with self.store.reading() as connection:
            if self._has(connection, values):
                return
        contents = posterior_files.read_estimator(Path(directory), values["digest"])
        stored = {path: files.write_bytes(data, "npz").sha256 for path, data in contents.items()}
        values["files"] = json.dumps(stored, sort_keys=True)

        def write(connection: Connection) -> None:
            if self._has(connection, values):
                return
            row = {**values, "registered": database_time(connection)}
            try:
                with connection.begin_nested():
                    connection.execute(insert(table).values(row))
            except IntegrityError:
                # Another process was quicker, with the same estimator or another one.
                if not self._has(connection, values):
                    raise

        self.store.transact(write)

    def find(self, name: str, version: str | None = None) -> RegisteredPosterior:
        """Return one version of a name; without a version the one that was registered last.

        Raises:
            ArtifactNotFound: There is none; the message lists what there is.
        """
        statement = select(table).where(table.c.name == name).order_by(table.c.id)
        with self.store.reading() as connection:
            found = [_record(row) for row in connection.execute(statement)]
        wanted = [each for each in found if version in (None, each.version)]
        if wanted:
            return wanted[-1]
        if found:
            versions = ", ".join(repr(each.version) for each in found[-_SHOWN:])
            raise ArtifactNotFound(
                f"Posterior {name!r} has no version {version!r} in {self.store.description}; it "
                f"has {versions}."
            )
        names = list(dict.fromkeys(each.name for each in self.list()))
        listed = f"it has {', '.join(map(repr, names[:_SHOWN]))}" if names else "it has none"
        raise ArtifactNotFound(f"No posterior {name!r} in {self.store.description}; {listed}.")

    def find_digest(self, digest: str) -> RegisteredPosterior:
        """Return the estimator of that digest.

        Raises:
            ArtifactNotFound: There is none.
        """
        with self.store.reading() as connection:
            row = connection.execute(select(table).where(table.c.digest == digest)).one_or_none()
        if row is None:
            raise ArtifactNotFound(
                f"No posterior with the digest {digest!r} in {self.store.description}; list() "
                "tells those that are there."
            )
        return _record(row)

    def list(self) -> Sequence[RegisteredPosterior]:
        """Return everything that is registered, oldest first."""
        with self.store.reading() as connection:
            return [_record(row) for row in connection.execute(select(table).order_by(table.c.id))]

    def fetch(self, digest: str, directory: str | Path) -> Path:
        """Write an estimator's files to a folder, from which it is loaded; return the folder.

        Args:
            digest: See `find_digest`.
            directory: Made when missing; another estimator must not be there.

        Raises:
            ArtifactNotFound: There is none of that digest.
            ArtifactCorrupt: A file of the store is missing or damaged.
            ConfigurationError: Another estimator is in the folder, or the store has no folder.
            OSError: The folder cannot be written.
        """
        record, files = self.find_digest(digest), self._files()
        contents = {path: files.read_bytes(sha256) for path, sha256 in record.files.items()}
        return posterior_files.write_estimator(Path(directory), contents)

    def _files(self) -> FileStore:
        if self.store.files is None:
            raise ConfigurationError(
                f"{self.store.description} was opened without a folder for files, where "
                "posteriors are kept; give one with Store.open(url, artifacts=FOLDER)."
            )
        return self.store.files

    def _has(self, connection: Connection, values: Mapping[str, Any]) -> bool:
        """Whether this very estimator is registered so; another one in its place is refused."""
        same_version = (table.c.name == values["name"]) & (table.c.version == values["version"])
        statement = select(table.c.name, table.c.version, table.c.digest).where(
            or_(same_version, table.c.digest == values["digest"])
        )
        rows = connection.execute(statement).all()
        wanted = values["name"], values["version"], values["digest"]
        for name, version, digest in rows:
            if (name, version) == wanted[:2] and digest != wanted[2]:
                raise ArtifactExists(
                    f"{self.store.description} has another posterior as version {version!r} of "
                    f"{name!r} (digest {digest[:12]}...); give this one a new version."
                )
        for name, version, digest in rows:
            if (name, version) != wanted[:2]:
                raise ArtifactExists(
                    f"{self.store.description} has this posterior (digest {digest[:12]}...) as "
                    f"version {version!r} of {name!r} already; find it there."
                )
        return bool(rows)


def _values(description: Mapping[str, Any]) -> dict[str, Any]:
    fields = [c.name for c in table.c if c.name not in {"id", "files", "registered"}]
    try:
        values = {name: description[name] for name in fields}
        values["metrics"] = json.dumps(dict(values["metrics"]), allow_nan=False, sort_keys=True)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultNotStorable(
            f"What is told of the posterior cannot be stored ({type(error).__name__}: {error}); "
            f"tell {', '.join(fields)} as plain finite JSON."
        ) from error
    return values


def _record(row: Any) -> RegisteredPosterior:
    values = row._asdict()
    for name in ("id", "registered"):
        del values[name]
    for name in ("metrics", "files"):
        values[name] = json.loads(values[name])
    return RegisteredPosterior(**values)
