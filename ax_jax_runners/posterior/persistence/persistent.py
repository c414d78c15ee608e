"""An estimator that can be saved, found again and loaded; what is trained is left to subclasses."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from ax_jax_runners.errors import (
    ArtifactCorrupt,
    AxJaxError,
    ConfigurationError,
    StoreError,
)
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.parameters import ParameterSpace
from ax_jax_runners.posterior.configuration import SPACES
from ax_jax_runners.posterior.estimator import PosteriorEstimator
from ax_jax_runners.posterior.persistence import schema
from ax_jax_runners.posterior.persistence.artifacts import ArtifactMetadata, ArtifactRegistry
from ax_jax_runners.posterior.persistence.document import (
    digest_of,
    plain,
    read_document,
    write_document,
)
from ax_jax_runners.posterior.persistence.families import class_of_family
from ax_jax_runners.posterior.persistence.priors import describe_prior, prior_of
from ax_jax_runners.posterior.persistence.state_folder import (
    open_state,
    publish_state,
    remove_other_states,
    written_state,
)
from ax_jax_runners.posterior.records import POSTERIOR_METADATA_SCHEMA_VERSION, TrainingArtifacts

_LOCK = "writer.lock"
_NO_DIGEST = "0" * 64


class PersistentPosteriorEstimator(PosteriorEstimator):
    """A posterior estimator that keeps its metadata and its weights in a folder.

    A subclass that can be made names its own ``estimator_family`` and says how it is configured
    and how its weights are written and read; `save` and `load` are the same for all.

    Attributes:
        parameter_dim: Number of parameters.
        parameter_space: "physical", "cube" or "unconstrained".
        seed: Of the weights it begins with, of training and of its draws.
        task_metadata: What was simulated, as plain JSON, as the user told it.
        prior: Of the parameters; None: the data set's.
        training_artifacts: What training left behind; None before it.
        task_name: Of what was simulated: from ``task_metadata``, else from the data set.
        task_version: The same of its version.
        task_fingerprint: The same of the fingerprint of the simulations.
        observation_schema: What observations look like, as plain JSON.
        preprocessing_metadata_payload: How they are standardised, as plain JSON.
        calibration: What calibration found, as plain JSON; None before it.
        artifact_metadata: The record with which the estimator was saved last, or loaded.
    """

    estimator_family: ClassVar[str] = "persistent_estimator"
    metadata_schema_version: ClassVar[str] = POSTERIOR_METADATA_SCHEMA_VERSION

    def __init__(
        self,
        parameter_dim: int,
        parameter_space: str = "unconstrained",
        seed: int = 0,
        task_metadata: Mapping[str, Any] | None = None,
        *,
        prior: ParameterSpace | None = None,
    ) -> None:
        """Check what every estimator is given.

        Raises:
            ConfigurationError: A value that cannot be used.
            ResultNotStorable: Task metadata that are not plain finite JSON.
        """
        if isinstance(parameter_dim, bool) or not isinstance(parameter_dim, int):
            raise ConfigurationError(f"parameter_dim is {parameter_dim!r}; give a whole number.")
        if parameter_dim < 1:
            raise ConfigurationError(f"parameter_dim is {parameter_dim}; give at least 1.")
        if parameter_space not in SPACES:
            raise ConfigurationError(
                f"parameter_space is {parameter_space!r}; choose one of {', '.join(SPACES)}."
            )
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigurationError(f"seed is {seed!r}; give a whole number.")
        if prior is not None and not isinstance(prior, ParameterSpace):
            raise ConfigurationError(
                f"prior is a {type(prior).__name__}; give a ParameterSpace, or None for that of "
                "the data set."
            )
        self.parameter_dim = parameter_dim
        self.parameter_space = parameter_space
        self.seed = seed
        self.task_metadata: Mapping[str, Any] = plain(task_metadata or {}, "task_metadata")
        self.prior = prior
        self.training_artifacts: TrainingArtifacts | None = None
        self.task_name: str | None = None
        self.task_version: str | None = None
        self.task_fingerprint: str | None = None
        self.observation_schema: Mapping[str, Any] = {}
        self.preprocessing_metadata_payload: Mapping[str, Any] = {}
        self.calibration: Mapping[str, Any] | None = None
        self.artifact_metadata: ArtifactMetadata | None = None
        self._other_metadata: dict[str, Any] = {}
        self.adopt_manifest({})

    @abstractmethod
    def _build_estimator_config(self) -> dict[str, Any]:
        """Return what `from_serialized_metadata` needs to know of this class, as plain JSON."""

    @classmethod
    @abstractmethod
    def from_serialized_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return an estimator without weights from the metadata of a saved one."""

    @abstractmethod
    def save_backend_state(self, output_path: Path) -> None:
        """Write the weights to files in a folder that is there and empty."""

    @abstractmethod
    def load_backend_state(self, input_path: Path) -> None:
        """Read the weights from the folder that `save_backend_state` wrote to.

        The digests of the files were checked, and `hydrate_loaded_metadata` was called.
        """

    def adopt_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Take the task's name, version and fingerprint from what tells of a data set.

        ``task_metadata`` go before the manifest. In both each is looked for as ``task_name`` and
        as ``name`` in a mapping ``task``, and likewise the others; in ``task_metadata`` also as
        ``name``, which in a manifest is that of something else, but for the ``fingerprint``.
        """
        mine = self.task_metadata
        data = {"fingerprint": manifest.get("fingerprint")}
        self.task_name = _told(mine, mine, "name") or _told(manifest, {}, "name")
        self.task_version = _told(mine, mine, "version") or _told(manifest, {}, "version")
        self.task_fingerprint = _told(mine, mine, "fingerprint") or _told(
            manifest, data, "fingerprint"
        )

    def save(
        self,
        output_directory: str | Path,
        artifact_registry: ArtifactRegistry | None = None,
        artifact_version: str = "0.1.0",
    ) -> None:
        """Write metadata and weights to a folder, replacing an estimator that is there.

        A process killed at any moment leaves the old estimator or the new one, whole.

        Args:
            output_directory: Made when missing.
            artifact_registry: Takes the estimator in once it is saved; None: it is only saved.
            artifact_version: Under which it is registered.

        Raises:
            ResultNotStorable: Something that has no place in the metadata.
            LeaseHeld: Another process is writing to the folder.
            ArtifactExists: The registry has the version already; the folder is written.
            OSError: The folder cannot be written; what was there stays.
        """
        directory = Path(output_directory)
        directory.mkdir(parents=True, exist_ok=True)
        lock = WriterLock.acquire(directory / _LOCK)
        try:
            with written_state(directory, self.save_backend_state) as (temporary, state):
                document, record = self._document(artifact_version, state)
                publish_state(temporary, state)
            write_document(directory, document)
            remove_other_states(directory, state)
        finally:
            lock.release()
        self.artifact_metadata = record
        if artifact_registry is not None:
            artifact_registry.register(record, directory)

    @classmethod
    def load(cls, input_directory: str | Path) -> Self:
        """Return the estimator of a folder, of the class that its metadata name by its family.

        Raises:
            ArtifactCorrupt: Metadata or weights are missing, damaged, or links.
            SchemaTooNew: A newer version of this package saved it.
            ConfigurationError: It is of another family than this class.
        """
        directory = Path(input_directory)
        metadata = schema.current(read_document(directory))
        final = class_of_family(cls, metadata["estimator_family"])
        state = open_state(directory, metadata["state"])
        try:
            estimator = final.from_serialized_metadata(metadata)
            estimator.hydrate_loaded_metadata(metadata)
        except StoreError:
            raise
        except (AxJaxError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactCorrupt(
                f"{final.__qualname__} cannot be made from the metadata in {directory} "
                f"({type(error).__name__}: {error}); restore them from a copy."
            ) from error
        estimator.load_backend_state(state)
        return cast("Self", estimator)

    def hydrate_loaded_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Take over from saved metadata what does not belong to the configuration.

        Keys that this version does not know are kept, and saved again.
        """
        task = metadata["task"]
        self.task_metadata = dict(task["metadata"])
        self.task_name = task["name"]
        self.task_version = task["version"]
        self.task_fingerprint = task["fingerprint"]
        self.observation_schema = dict(metadata["observation_schema"])
        self.preprocessing_metadata_payload = dict(metadata["preprocessing"])
        self.training_artifacts = self._load_training_artifacts(metadata)
        calibration = metadata.get("calibration")
        self.calibration = None if calibration is None else dict(calibration)
        if self.prior is None:
            self.prior = prior_of(metadata)
        record = metadata.get("artifact")
        self.artifact_metadata = (
            None if record is None else ArtifactMetadata.from_description(record)
        )
        self._other_metadata = {k: v for k, v in metadata.items() if k not in schema.KEYS}

    @staticmethod
    def _load_training_artifacts(metadata: Mapping[str, Any]) -> TrainingArtifacts | None:
        found = metadata.get("training_artifacts")
        return None if found is None else TrainingArtifacts.from_description(found)

    def build_artifact_metadata(self, version: str) -> ArtifactMetadata:
        """Return the record with which the estimator would be saved now.

        Raises:
            ConfigurationError: A version that is empty.
            ResultNotStorable: Something that has no place in the metadata.
        """
        with tempfile.TemporaryDirectory() as folder:
            with written_state(Path(folder), self.save_backend_state) as (_, state):
                return self._document(version, state)[1]

    def _build_artifact_metadata_payload(self) -> dict[str, Any]:
        """Return the fields of the record but for its version and digest."""
        family = self.estimator_family
        metrics = {} if self.training_artifacts is None else self.training_artifacts.describe()
        measured = plain(metrics.get("validation_metrics", {}), "validation_metrics", gaps=True)
        return {
            "name": family if self.task_name is None else f"{self.task_name}-{family}",
            "estimator_family": family,
            "schema_version": self.metadata_schema_version,
            "parameter_dim": self.parameter_dim,
            "parameter_space": self.parameter_space,
            "task_name": self.task_name,
            "task_version": self.task_version,
            "task_fingerprint": self.task_fingerprint,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": {
                name: value
                for name, value in measured.items()
                if isinstance(value, (int, float)) and not isinstance(value, bool)
            },
        }

    def _build_serialized_metadata(self, artifact_metadata: ArtifactMetadata) -> dict[str, Any]:
        """Return the metadata document but for what it says of the weights' files."""
        training = self.training_artifacts
        return {
            **self._other_metadata,
            "schema_version": self.metadata_schema_version,
            "estimator_family": self.estimator_family,
            "estimator_config": plain(self._build_estimator_config(), "estimator_config"),
            "parameter_dim": self.parameter_dim,
            "parameter_space": self.parameter_space,
            "prior": None if self.prior is None else describe_prior(self.prior),
            "seed": self.seed,
            "task": {
                "name": self.task_name,
                "version": self.task_version,
                "fingerprint": self.task_fingerprint,
                "metadata": plain(self.task_metadata, "task_metadata"),
            },
            "observation_schema": plain(self.observation_schema, "observation_schema"),
            "preprocessing": plain(self.preprocessing_metadata_payload, "preprocessing"),
            # A loss that ran away is part of a history.
            "training_artifacts": (
                None
                if training is None
                else plain(training.describe(), "training_artifacts", gaps=True)
            ),
            "calibration": plain(self.calibration, "calibration", gaps=True),
            "artifact": artifact_metadata.describe(),
        }

    def _document(
        self, version: str, state: Mapping[str, Any]
    ) -> tuple[dict[str, Any], ArtifactMetadata]:
        payload = self._build_artifact_metadata_payload()
        record = ArtifactMetadata(**payload, version=version, digest=_NO_DIGEST)
        document = {**self._build_serialized_metadata(record), "state": dict(state)}
        record = replace(record, digest=digest_of(document))
        return {**document, "artifact": record.describe()}, record


def _told(source: Mapping[str, Any], bare: Mapping[str, Any], what: str) -> str | None:
    task = source.get("task")
    nested = task.get(what) if isinstance(task, Mapping) else None
    for value in (source.get(f"task_{what}"), nested, bare.get(what)):
        if value is not None:
            return str(value)
    return None
