"""Saved posteriors in a store: found by version and by digest, once each, and loaded back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from ax_jax_runners import Store
from ax_jax_runners.errors import (
    ArtifactCorrupt,
    ArtifactExists,
    ArtifactNotFound,
    ConfigurationError,
    ResultNotStorable,
)
from ax_jax_runners.posterior.persistence import ArtifactMetadata, PersistentPosteriorEstimator
from ax_jax_runners.store import posteriors
from ax_jax_runners.store.schema import current_version, newest_version
from tests.unit.posterior_backends import GaussianBackend, trained

NAME = "rings-gaussian_of_another"


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def record_of(estimator: GaussianBackend) -> ArtifactMetadata:
    assert estimator.artifact_metadata is not None
    return estimator.artifact_metadata


def saved(tmp_path: Path, width: float = 0.7) -> tuple[ArtifactMetadata, Path]:
    estimator, folder = trained(width=width), tmp_path / f"estimator-{width}"
    estimator.save(folder)
    return record_of(estimator), folder


def test_what_was_registered_is_found_and_loads_as_it_was(store: Store, tmp_path: Path) -> None:
    registry, estimator = store.artifact_registry(), trained()
    estimator.save(tmp_path / "estimator", artifact_registry=registry, artifact_version="1.0")
    record = record_of(estimator)
    for found in (
        registry.find(NAME),
        registry.find(NAME, "1.0"),
        registry.find_digest(record.digest),
        *registry.list(),
    ):
        assert ArtifactMetadata.from_description(found.describe()) == record
    (tmp_path / "estimator").rename(tmp_path / "elsewhere")
    folder = registry.fetch(record.digest, tmp_path / "fetched" / "again")
    loaded = PersistentPosteriorEstimator.load(folder)
    assert isinstance(loaded, GaussianBackend)
    assert loaded.artifact_metadata == record
    for name, values in estimator.weights.items():
        assert np.array_equal(loaded.weights[name], values)
    # A registered estimator that was fetched is the one that is registered.
    registry.register(record, folder)
    registry.fetch(record.digest, folder)
    assert len(registry.list()) == 1


def test_the_last_one_registered_is_the_newest_version(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    for number, width in enumerate((0.5, 0.6, 0.7)):
        estimator = trained(width=width)
        estimator.save(tmp_path / "estimator", registry, f"{9 + number}.0")
    assert [each.version for each in registry.list()] == ["9.0", "10.0", "11.0"]
    assert registry.find(NAME).version == "11.0"
    assert registry.find(NAME, "10.0").digest != registry.find(NAME, "9.0").digest


def test_a_duplicate_is_refused_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    first, folder = saved(tmp_path)
    second, other = saved(tmp_path, width=0.8)
    registry.register(first, folder)
    registry.register(replace(first, created_at="2001-01-01T00:00:00+00:00"), folder)
    with pytest.raises(ArtifactExists, match=r"another posterior as version '0\.1\.0'.*new ver"):
        registry.register(second, other)
    with pytest.raises(ArtifactExists, match=r"this posterior.*as version '0\.1\.0' of 'rings"):
        registry.register(replace(first, version="0.2.0"), folder)
    with pytest.raises(ArtifactExists, match="'rings-gaussian_of_another' already"):
        registry.register(replace(first, name="another"), folder)
    estimator = trained(width=0.9)
    with pytest.raises(ArtifactExists, match="give this one a new version"):
        estimator.save(other, artifact_registry=registry)
    # The folder is written all the same, and can be registered otherwise.
    assert GaussianBackend.load(other).width == 0.9
    second = replace(record_of(estimator), version="0.2.0")
    registry.register(second, other)
    assert [(each.version, each.digest) for each in registry.list()] == [
        ("0.1.0", first.digest),
        ("0.2.0", second.digest),
    ]
    assert registry.find_digest(first.digest).created_at == first.created_at


def test_what_is_not_there_is_told_with_what_is(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    with pytest.raises(ArtifactNotFound, match="No posterior 'moons'.*it has none"):
        registry.find("moons")
    record, folder = saved(tmp_path)
    registry.register(record, folder)
    with pytest.raises(ArtifactNotFound, match=f"No posterior 'moons'.*it has '{NAME}'"):
        registry.find("moons")
    with pytest.raises(ArtifactNotFound, match=r"no version '7'.*it has '0\.1\.0'"):
        registry.find(NAME, "7")
    for ask in (registry.find_digest, lambda digest: registry.fetch(digest, tmp_path / "to")):
        with pytest.raises(ArtifactNotFound, match="No posterior with the digest"):
            ask("0" * 64)
    assert not (tmp_path / "to").exists()


def test_a_folder_that_is_not_what_was_saved_is_refused(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    record, folder = saved(tmp_path)
    _, other = saved(tmp_path, width=0.8)
    with pytest.raises(ConfigurationError, match="holds the posterior with the digest"):
        registry.register(record, other)
    with pytest.raises(ArtifactCorrupt, match=r"metadata\.json is missing"):
        registry.register(record, tmp_path / "nowhere")
    (weights,) = folder.glob("state-*/state.npz")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"?")
    with pytest.raises(ArtifactCorrupt, match=r"state\.npz does not have its digest"):
        registry.register(record, folder)
    weights.unlink()
    (tmp_path / "copy.npz").write_bytes(whole)
    weights.symlink_to(tmp_path / "copy.npz")
    with pytest.raises(ArtifactCorrupt, match="symbolic link"):
        registry.register(record, folder)
    (folder / "metadata.json").write_text("[]")
    with pytest.raises(ArtifactCorrupt, match="does not tell of a saved posterior"):
        registry.register(record, folder)
    assert registry.list() == []


def test_nothing_is_fetched_over_another_estimator(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    record, folder = saved(tmp_path)
    _, other = saved(tmp_path, width=0.8)
    registry.register(record, folder)
    with pytest.raises(ConfigurationError, match="Another posterior is in"):
        registry.fetch(record.digest, other)
    assert GaussianBackend.load(other).width == 0.8


def test_a_damaged_file_of_the_store_is_not_handed_out(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    record, folder = saved(tmp_path)
    registry.register(record, folder)
    assert store.files is not None
    for sha256 in registry.find_digest(record.digest).files.values():
        path = store.files.path(sha256)
        whole = path.read_bytes()
        path.write_bytes(whole + b"?")
        with pytest.raises(ArtifactCorrupt, match=sha256):
            registry.fetch(record.digest, tmp_path / "to")
        path.write_bytes(whole)
    assert GaussianBackend.load(registry.fetch(record.digest, tmp_path / "to")).width == 0.7


@pytest.mark.parametrize("path", ["../outside.npz", "/outside.npz", "state/../../outside.npz"])
def test_a_path_in_the_database_leads_nowhere_else(store: Store, tmp_path: Path, path: str) -> None:
    registry = store.artifact_registry()
    record, folder = saved(tmp_path)
    registry.register(record, folder)
    (sha256, *_) = registry.find_digest(record.digest).files.values()
    with store.unit_of_work() as connection:
        connection.execute(
            text("UPDATE posterior SET files = :files"),
            {"files": f'{{"{path}": "{sha256}", "metadata.json": "{sha256}"}}'},
        )
    with pytest.raises(ArtifactCorrupt, match="is no file of a posterior"):
        registry.fetch(record.digest, tmp_path / "deep" / "to")
    assert not list(tmp_path.rglob("outside.npz"))


def test_eight_that_register_one_version_at_once_leave_one(store: Store, tmp_path: Path) -> None:
    registry = store.artifact_registry()
    folders = [saved(tmp_path, width) for width in (0.5, 0.6)]
    refused: list[BaseException] = []

    def register(number: int) -> None:
        try:
            registry.register(*folders[number % 2])
        except BaseException as error:
            refused.append(error)

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in refused] == [ArtifactExists] * 4
    assert len(registry.list()) == 1


def test_a_registration_that_was_overtaken_is_told_so(
    store: Store, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process commits the same version between this one's look and its insert."""
    registry = store.artifact_registry()
    (first, folder), (second, other) = saved(tmp_path), saved(tmp_path, width=0.8)
    read, asked = posteriors.posterior_files.read_estimator, []

    def overtaken(directory: Path, digest: str) -> dict[str, bytes]:
        if not asked:
            asked.append(directory)
            elsewhere = Store.open(store_url, artifacts=tmp_path / "artifacts")
            elsewhere.artifact_registry().register(second, other)
            elsewhere.close()
        return read(directory, digest)

    monkeypatch.setattr(posteriors.posterior_files, "read_estimator", overtaken)
    with pytest.raises(ArtifactExists, match="another posterior as version"):
        registry.register(first, folder)
    assert [each.digest for each in registry.list()] == [second.digest]


def test_fields_that_are_no_json_are_refused(store: Store, tmp_path: Path) -> None:
    record, folder = saved(tmp_path)

    class Told:
        def __init__(self, **changes: object) -> None:
            self.changes = changes

        def describe(self) -> dict[str, object]:
            return {**record.describe(), **self.changes}

    registry = store.artifact_registry()
    with pytest.raises(ResultNotStorable, match="cannot be stored"):
        registry.register(Told(metrics={"nll": float("nan")}), folder)
    with pytest.raises(ResultNotStorable, match="cannot be stored"):
        registry.register(Told(metrics=3), folder)
    assert registry.list() == []


def test_a_database_of_the_version_before_is_upgraded(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    with store.unit_of_work() as connection:
        for later in ("TABLE posterior", "TABLE evaluation", "INDEX observation_member"):
            connection.execute(text(f"DROP {later}"))
        connection.execute(text("UPDATE axjax_version SET version_num = '0002'"))
    again = Store.open(store_url, artifacts=tmp_path / "artifacts")
    with again.reading() as connection:
        assert current_version(connection) == newest_version()
    record, folder = saved(tmp_path)
    again.artifact_registry().register(record, folder)
    assert again.artifact_registry().find(NAME).digest == record.digest
    again.close()


def test_files_need_a_folder(make_postgresql: Callable[[], str], tmp_path: Path) -> None:
    store = Store.open(make_postgresql())
    record, folder = saved(tmp_path)
    with pytest.raises(ConfigurationError, match="without a folder for files"):
        store.artifact_registry().register(record, folder)
    store.close()
