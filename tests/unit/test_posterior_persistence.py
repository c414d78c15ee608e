"""Estimators come back from their folders as they were, or are refused with a sentence."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from ax_jax_runners.errors import (
    ArtifactCorrupt,
    ConfigurationError,
    LeaseHeld,
    ResultNotStorable,
    SchemaTooNew,
)
from ax_jax_runners.files.lock import WriterLock
from ax_jax_runners.parameters import Parameter, ParameterSpace
from ax_jax_runners.posterior.estimator import PosteriorEstimator
from ax_jax_runners.posterior.persistence import (
    ArtifactMetadata,
    PersistentPosteriorEstimator,
    load_arrays,
    prior_of,
    save_arrays,
)
from ax_jax_runners.posterior.records import TrainingArtifacts
from tests.unit.posterior_backends import PRIOR, GaussianBackend, OtherBackend, trained

POINTS = np.array([[0.3, 0.2], [1.0, -1.0]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained().save(tmp_path / "estimator")
    return tmp_path / "estimator"


def metadata_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metadata.json").read_text())


def change(folder: Path, **changes: Any) -> None:
    document = {**metadata_of(folder), **changes}
    (folder / "metadata.json").write_text(json.dumps(document))


def weights_file(folder: Path) -> Path:
    return folder / metadata_of(folder)["state"]["folder"] / "state.npz"


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def log_densities(estimator: GaussianBackend) -> list[float]:
    return estimator.log_prob(estimator.encode_observation([0.0, 0.0]), POINTS).tolist()


# ---------------------------------------------------------------------- the base classes


def test_an_incomplete_estimator_is_refused_with_what_it_lacks() -> None:
    class Nothing(PosteriorEstimator):
        pass

    class NoBackend(PersistentPosteriorEstimator):
        pass

    abstract = {"fit", "encode_observation", "sample_posterior", "log_prob", "save", "load"}
    assert PosteriorEstimator.__abstractmethods__ == abstract
    own = {"_build_estimator_config", "from_serialized_metadata"}
    own |= {"save_backend_state", "load_backend_state"}
    assert PersistentPosteriorEstimator.__abstractmethods__ == own | abstract - {"save", "load"}
    incomplete: list[tuple[Any, tuple[int, ...]]] = [(Nothing, ()), (NoBackend, (2,))]
    for kind, arguments in incomplete:
        with pytest.raises(TypeError) as caught:
            kind(*arguments)
        for name in kind.__abstractmethods__:
            assert re.search(rf"\b{name}\b", str(caught.value))


def test_a_new_estimator_has_the_attributes_that_will_be_filled() -> None:
    estimator = GaussianBackend(3)
    assert (estimator.parameter_dim, estimator.parameter_space, estimator.seed) == (
        3,
        "unconstrained",
        0,
    )
    assert estimator.metadata_schema_version == "0.2.0"
    assert PersistentPosteriorEstimator.estimator_family == "persistent_estimator"
    for name in ("prior", "training_artifacts", "artifact_metadata", "calibration"):
        assert getattr(estimator, name) is None
    for name in ("task_name", "task_version", "task_fingerprint"):
        assert getattr(estimator, name) is None
    for name in ("task_metadata", "observation_schema", "preprocessing_metadata_payload"):
        assert getattr(estimator, name) == {}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parameter_dim": 0}, "at least 1"),
        ({"parameter_dim": 2.0}, "whole number"),
        ({"parameter_dim": True}, "whole number"),
        ({"parameter_space": "sphere"}, "physical, cube, unconstrained"),
        ({"seed": None}, "seed is None"),
        ({"prior": {"a": 1}}, "give a ParameterSpace"),
    ],
)
def test_what_no_estimator_can_use_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        GaussianBackend(**{"parameter_dim": 2, **changes})


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"a": {"b": [0.0, math.nan]}}, r"task_metadata\.a\.b\[1\] is nan"),
        ({"a": object()}, r"task_metadata\.a is a object"),
        ({3: 1}, "task_metadata has the key 3"),
    ],
)
def test_task_metadata_are_plain_finite_json(metadata: Any, where: str) -> None:
    with pytest.raises(ResultNotStorable, match=where):
        GaussianBackend(2, task_metadata=metadata)


def test_what_the_user_tells_of_the_task_goes_before_the_data() -> None:
    manifest = {"version": 1, "name": "a format", "fingerprint": "f00", "task_version": "7"}
    told = GaussianBackend(2, task_metadata={"task_name": "rings", "fingerprint": "abc"})
    told.adopt_manifest(manifest)
    assert (told.task_name, told.task_version, told.task_fingerprint) == ("rings", "7", "abc")
    silent = GaussianBackend(2)
    silent.adopt_manifest({**manifest, "task": {"name": "moons"}})
    assert (silent.task_name, silent.task_version, silent.task_fingerprint) == ("moons", "7", "f00")


# ---------------------------------------------------------------------- there and back


def test_a_backend_of_another_one_is_saved_and_loaded(folder: Path) -> None:
    mine = trained()
    for loaded in (GaussianBackend.load(folder), PersistentPosteriorEstimator.load(str(folder))):
        assert type(loaded) is GaussianBackend
        assert (loaded.width, loaded.seed, loaded.parameter_space) == (0.7, 3, "unconstrained")
        assert loaded.prior == PRIOR
        assert (loaded.task_name, loaded.task_version) == ("rings", "2")
        assert loaded.task_metadata == {"name": "rings", "version": 2}
        assert loaded.observation_schema == mine.observation_schema
        assert loaded.preprocessing_metadata_payload == mine.preprocessing_metadata_payload
        assert loaded.calibration == {"p_value": 0.4, "ranks": [1, 2]}
        # What is not finite has no place in JSON.
        assert loaded.training_artifacts == TrainingArtifacts(
            {"loss": [2.5, None, 1.5]}, {"nll": 1.5, "worst": None}, {"epochs": 3}
        )
        assert log_densities(loaded) == log_densities(mine)


def test_the_metadata_hold_what_they_promise(folder: Path) -> None:
    document = metadata_of(folder)
    assert set(document) == {
        "schema_version",
        "estimator_family",
        "estimator_config",
        "parameter_dim",
        "parameter_space",
        "prior",
        "seed",
        "task",
        "observation_schema",
        "preprocessing",
        "training_artifacts",
        "calibration",
        "artifact",
        "state",
    }
    assert document["schema_version"] == "0.2.0"
    assert document["estimator_family"] == "gaussian_of_another"
    assert document["estimator_config"] == {"width": 0.7}
    assert document["task"] == {
        "name": "rings",
        "version": "2",
        "fingerprint": None,
        "metadata": {"name": "rings", "version": 2},
    }
    assert prior_of(document) == PRIOR
    assert prior_of({**document, "prior": None}) is None
    assert files_of(folder) == {
        "metadata.json",
        f"{document['state']['folder']}/state.npz",
    }


def test_the_record_tells_equal_estimators_from_others(tmp_path: Path) -> None:
    records = []
    for number, changes in enumerate(({}, {}, {"width": 0.8}, {"seed": 4}, {"prior": None})):
        estimator = trained(**changes)
        estimator.save(tmp_path / str(number), artifact_version=f"{number}.0")
        record = estimator.artifact_metadata
        assert record is not None
        built = estimator.build_artifact_metadata("9.0")
        assert (built.digest, built.version) == (record.digest, "9.0")
        loaded = GaussianBackend.load(tmp_path / str(number))
        assert loaded.artifact_metadata == record
        assert loaded.build_artifact_metadata("9.0").digest == record.digest
        records.append(record)
    assert len({record.digest for record in records}) == 4
    assert records[0].digest == records[1].digest
    other = trained()
    other.weights["mean"] = np.nextafter(other.weights["mean"], np.float32(9))
    assert other.build_artifact_metadata("0.0").digest != records[0].digest
    assert records[0].name == "rings-gaussian_of_another"
    assert records[0].metrics == {"nll": 1.5}
    assert ArtifactMetadata.from_description(records[0].describe()) == records[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": " "}, "version of an artifact"),
        ({"name": None}, "name of an artifact"),
        ({"digest": "abc"}, "64 lower-case"),
        ({"metrics": {"nll": math.inf}}, "not a finite number"),
        ({"metrics": None}, "cannot be used"),
    ],
)
def test_a_record_that_no_registry_could_use_is_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    whole = trained().build_artifact_metadata("1").describe()
    with pytest.raises(ConfigurationError, match=sentence):
        ArtifactMetadata.from_description({**whole, **changes})
    del whole["digest"]
    with pytest.raises(ConfigurationError, match="digest"):
        ArtifactMetadata.from_description(whole)


def test_a_prior_that_could_not_be_read_back_is_refused_when_saving(tmp_path: Path) -> None:
    class OwnNormal(dist.Normal):
        pass

    estimator = trained(prior=ParameterSpace([Parameter("a", OwnNormal(0.0, 1.0))]))
    with pytest.raises(ResultNotStorable, match="OwnNormal.*numpyro"):
        estimator.save(tmp_path)
    assert files_of(tmp_path) == set()


def test_an_estimator_before_its_training_is_saved_too(tmp_path: Path) -> None:
    estimator = GaussianBackend(1, parameter_space="physical")
    zero = np.zeros(1, dtype=np.float32)
    estimator.weights = {"mean": zero, "spread": zero}
    estimator.save(tmp_path)
    loaded = GaussianBackend.load(tmp_path)
    assert loaded.training_artifacts is None
    assert loaded.prior is None
    assert loaded.artifact_metadata is not None
    assert loaded.artifact_metadata.name == "gaussian_of_another"


# ---------------------------------------------------------------------- families


def test_a_family_is_loaded_by_its_own_class_only(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'gaussian_of_another', and OtherBackend loads"):
        OtherBackend.load(folder)
    change(folder, estimator_family="other_of_another")
    assert type(PersistentPosteriorEstimator.load(folder)) is OtherBackend
    # The class below the one that was asked.
    assert type(GaussianBackend.load(folder)) is OtherBackend


def test_an_unknown_family_imports_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    for family in ("planted", "planted:Estimator", "os.path", "persistent_estimator", ""):
        change(folder, estimator_family=family)
        with pytest.raises(ConfigurationError, match=r"Import the module that defines its class"):
            PersistentPosteriorEstimator.load(folder)


def test_a_class_that_only_narrows_another_loads_as_itself(folder: Path) -> None:
    class Narrow(GaussianBackend):
        pass

    assert type(Narrow.load(folder)) is Narrow
    assert type(PersistentPosteriorEstimator.load(folder)) is GaussianBackend


def test_two_classes_of_one_family_are_told(folder: Path) -> None:
    class Twin(GaussianBackend):
        estimator_family = "twins"

    def another() -> type[GaussianBackend]:
        class Twin(GaussianBackend):
            estimator_family = "twins"

        return Twin

    change(folder, estimator_family="twins")
    kept = another()
    with pytest.raises(ConfigurationError, match=r"is that of .*Twin and .*Twin"):
        PersistentPosteriorEstimator.load(folder)
    assert type(kept.load(folder)) is kept
    # As when the cell of a notebook runs again.
    kept.__qualname__ = Twin.__qualname__
    assert type(PersistentPosteriorEstimator.load(folder)) is kept


# ---------------------------------------------------------------------- versions


def test_a_later_patch_is_read_and_what_it_adds_is_kept(folder: Path, tmp_path: Path) -> None:
    task = {**metadata_of(folder)["task"], "more": 1}
    change(folder, schema_version="0.2.7", ensemble={"members": [1, 2]}, task=task)
    loaded = GaussianBackend.load(folder)
    assert log_densities(loaded) == log_densities(trained())
    loaded.save(tmp_path / "again")
    document = metadata_of(tmp_path / "again")
    assert document["ensemble"] == {"members": [1, 2]}
    assert document["schema_version"] == "0.2.0"


@pytest.mark.fault(19)
def test_an_estimator_of_version_0_1_is_read(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    mine = trained(prior=None)
    save_arrays(old, mine.weights)
    document = {
        "schema_version": "0.1.3",
        "estimator_family": "gaussian_of_another",
        "estimator_config": {"width": 0.7},
        "parameter_dim": 2,
        "parameter_space": "physical",
        "seed": 3,
        "task_name": "rings",
        "task_version": "2",
        "task_fingerprint": "f00",
        "task_metadata": {"telescope": "small"},
        "observation_schema": {"kind": "vector"},
        "preprocessing_metadata": {"mean": [0.25]},
        "training_artifacts": {"history": {"loss": [1.0]}, "validation_metrics": {"nll": 1.5}},
        "artifact": {"name": "rings", "version": "0.1.0"},
        "note": "mine",
    }
    (old / "metadata.json").write_text(json.dumps(document))
    loaded = PersistentPosteriorEstimator.load(old)
    assert isinstance(loaded, GaussianBackend)
    assert log_densities(loaded) == log_densities(mine)
    assert (loaded.task_name, loaded.task_version, loaded.task_fingerprint) == ("rings", "2", "f00")
    assert loaded.task_metadata == {"telescope": "small"}
    assert loaded.preprocessing_metadata_payload == {"mean": [0.25]}
    assert loaded.training_artifacts == TrainingArtifacts({"loss": [1.0]}, {"nll": 1.5})
    assert (loaded.prior, loaded.calibration, loaded.artifact_metadata) == (None, None, None)
    loaded.save(tmp_path / "new")
    assert metadata_of(tmp_path / "new")["schema_version"] == "0.2.0"
    assert metadata_of(tmp_path / "new")["note"] == "mine"
    again = GaussianBackend.load(tmp_path / "new")
    assert log_densities(again) == log_densities(mine)
    assert again.artifact_metadata is not None
    # In its own folder too, where the weights of before lie beside the metadata.
    loaded.save(old)
    assert log_densities(GaussianBackend.load(old)) == log_densities(mine)


@pytest.mark.fault(19)
@pytest.mark.parametrize("version", ["0.3.0", "0.10.0", "1.0.0", "12.0.1"])
def test_a_newer_version_is_refused(folder: Path, version: str) -> None:
    change(folder, schema_version=version)
    with pytest.raises(SchemaTooNew, match=f"schema version {re.escape(version)}.*Upgrade"):
        PersistentPosteriorEstimator.load(folder)


@pytest.mark.parametrize("version", ["0.0.9", "0.2", "two", "", None, 0.2, "-1.0.0", "0.2.0\n"])
def test_what_is_no_version_is_refused(folder: Path, version: Any) -> None:
    change(folder, schema_version=version)
    with pytest.raises(ArtifactCorrupt, match="schema version"):
        PersistentPosteriorEstimator.load(folder)


# ---------------------------------------------------------------------- damage


def test_every_key_that_is_missing_or_of_another_type_is_named(folder: Path) -> None:
    whole = metadata_of(folder)
    for key in set(whole) - {"schema_version"}:
        lacking = {name: value for name, value in whole.items() if name != key}
        for document in (lacking, {**whole, key: True}):
            (folder / "metadata.json").write_text(json.dumps(document))
            with pytest.raises(ArtifactCorrupt, match=f"metadata (lack|hold a bool as) {key}"):
                PersistentPosteriorEstimator.load(folder)
    for key in whole["task"]:
        task = {**whole["task"], key: 3}
        (folder / "metadata.json").write_text(json.dumps({**whole, "task": task}))
        with pytest.raises(ArtifactCorrupt, match=rf"hold a int as task\.{key}"):
            PersistentPosteriorEstimator.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameter_dim": 0},
        {"parameter_space": "sphere"},
        {"estimator_config": {"height": 2}},
        {"training_artifacts": {"loss": 3}},
        {"artifact": {"name": "a"}},
        {"prior": {"parameters": 3}},
        {"prior": {"parameters": [], "constraints": [3]}},
    ],
)
def test_metadata_that_make_no_estimator_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    change(folder, **changes)
    with pytest.raises(ArtifactCorrupt, match="from the metadata|damaged"):
        PersistentPosteriorEstimator.load(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"3", b'{"seed": NaN}', b"[" * 100_000, b"{"]
)
def test_a_file_that_is_no_metadata_is_refused(folder: Path, content: bytes) -> None:
    (folder / "metadata.json").write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=r"metadata\.json is not"):
        PersistentPosteriorEstimator.load(folder)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    for nowhere in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ArtifactCorrupt, match=r"metadata\.json is missing"):
            PersistentPosteriorEstimator.load(nowhere)
    weights = weights_file(folder)
    weights.unlink()
    with pytest.raises(ArtifactCorrupt, match=r"state\.npz in .* is missing"):
        PersistentPosteriorEstimator.load(folder)
    weights.parent.rmdir()
    with pytest.raises(ArtifactCorrupt, match=r"state-\w+ is missing"):
        PersistentPosteriorEstimator.load(folder)


@pytest.mark.fault(15)
def test_weights_that_changed_are_refused(folder: Path) -> None:
    weights = weights_file(folder)
    whole = weights.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:]):
        weights.write_bytes(damaged)
        with pytest.raises(ArtifactCorrupt, match=r"state\.npz in .* is not what was saved"):
            PersistentPosteriorEstimator.load(folder)
    weights.write_bytes(whole)
    weights.with_name("more.npz").write_bytes(whole)
    with pytest.raises(ArtifactCorrupt, match=r"more\.npz in .* is not what was saved"):
        PersistentPosteriorEstimator.load(folder)
    weights.with_name("more.npz").unlink()
    assert log_densities(GaussianBackend.load(folder)) == log_densities(trained())


@pytest.mark.fault(10)
@pytest.mark.parametrize("what", ["metadata.json", "the state", "its file"])
def test_a_link_is_refused(folder: Path, tmp_path: Path, what: str) -> None:
    weights = weights_file(folder)
    linked = {
        "metadata.json": folder / "metadata.json",
        "the state": weights.parent,
        "its file": weights,
    }[what]
    linked.rename(tmp_path / "outside")
    linked.symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactCorrupt, match="symbolic link"):
        PersistentPosteriorEstimator.load(folder)


@pytest.mark.fault(10)
@pytest.mark.parametrize("name", ["../outside", "/", "state-1", None, 3, "."])
def test_the_state_is_in_the_folder(folder: Path, tmp_path: Path, name: Any) -> None:
    shutil.copytree(weights_file(folder).parent, tmp_path / "outside")
    change(folder, state={**metadata_of(folder)["state"], "folder": name})
    with pytest.raises(ArtifactCorrupt, match="which is none"):
        PersistentPosteriorEstimator.load(folder)


# ---------------------------------------------------------------------- overwriting


def test_saving_again_replaces_and_leaves_nothing_behind(folder: Path) -> None:
    before = files_of(folder)
    trained().save(folder)
    assert files_of(folder) == before
    other = trained(width=0.9)
    other.weights["mean"] += 1
    other.save(folder)
    assert len(files_of(folder)) == 2
    assert log_densities(GaussianBackend.load(folder)) == log_densities(other)
    (folder / "notes.txt").write_text("mine")
    trained().save(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_saving_again_heals_weights(folder: Path) -> None:
    weights_file(folder).write_bytes(b"damaged")
    trained().save(folder)
    assert log_densities(GaussianBackend.load(folder)) == log_densities(trained())
    assert len(files_of(folder)) == 2


def test_a_backend_that_fails_changes_nothing(folder: Path) -> None:
    before = files_of(folder)
    broken = trained(width=0.9)
    broken.weights["mean"] = broken.weights["mean"].astype(np.float64)
    with pytest.raises(ResultNotStorable, match=r"\['mean'\].*float64"):
        broken.save(folder)
    unstorable = trained()
    unstorable.observation_schema = {"of": object()}
    with pytest.raises(ResultNotStorable, match=r"observation_schema\.of"):
        unstorable.save(folder)
    assert broken.artifact_metadata is None
    assert log_densities(GaussianBackend.load(folder)) == log_densities(trained())
    trained().save(folder)
    assert files_of(folder) == before


def test_one_writer_at_a_time(folder: Path) -> None:
    lock = WriterLock.acquire(folder / "writer.lock")
    with pytest.raises(LeaseHeld, match="is being written by process"):
        trained(width=0.9).save(folder)
    lock.release()
    assert GaussianBackend.load(folder).width == 0.7


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.unit.posterior_backends as backends

folder = Path(sys.argv[1])
# Without a prior, so that JAX does nothing: its threads do not survive a fork.
estimator = backends.trained(width=0.9, prior=None)
estimator.weights["mean"] += 1

def dying(call, left):
    def step(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return step

steps = 0
while True:
    child = os.fork()
    if not child:
        left = [steps]
        for name in ("replace", "rename", "fsync", "mkdir", "rmdir", "unlink"):
            setattr(os, name, dying(getattr(os, name), left))
        estimator.save(folder / str(steps))
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    steps += 1
    assert steps < 100
print(steps)
"""


@pytest.mark.fault(16)
def test_killed_at_any_step_the_old_or_the_new_one_is_there(tmp_path: Path) -> None:
    before = trained(prior=None)
    for step in range(40):
        before.save(tmp_path / str(step))
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert killed.returncode == 0, killed.stderr
    steps = int(killed.stdout)
    # A lock, a state, its name, the metadata, what is left: each with what makes it durable.
    assert 8 < steps < 40
    found = [GaussianBackend.load(tmp_path / str(step)) for step in range(steps + 1)]
    newest = log_densities(GaussianBackend.load(tmp_path / str(steps)))
    seen = [(each.width, log_densities(each)) for each in found]
    old, new = (0.7, log_densities(before)), (0.9, newest)
    count = seen.count(old)
    assert count > 4
    assert seen == [old] * count + [new] * (len(seen) - count)
    assert len(seen) - count > 1
    for step in range(steps):
        trained(width=0.8, prior=None).save(tmp_path / str(step))
        assert GaussianBackend.load(tmp_path / str(step)).width == 0.8
        assert len(files_of(tmp_path / str(step))) == 2


# ---------------------------------------------------------------------- weights


def test_arrays_come_back_bit_by_bit_where_they_were(tmp_path: Path) -> None:
    values = np.array([0.1, -0.0, np.nan, np.inf, 1e-45], dtype=np.float32)
    tree = {"a": [jax.numpy.asarray(values), None], "b": (np.float32(2) * values, 3, jax.nn.relu)}
    save_arrays(tmp_path, tree)
    templates = {
        "same": tree,
        "shapes": jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((5,), np.float32) if hasattr(leaf, "dtype") else leaf,
            tree,
        ),
    }
    for template in templates.values():
        loaded = load_arrays(tmp_path, template)
        assert jax.tree.structure(loaded) == jax.tree.structure(tree)
        for found, expected in zip(jax.tree.leaves(loaded), jax.tree.leaves(tree), strict=True):
            if hasattr(expected, "dtype"):
                assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()
            else:
                assert found is expected
    assert isinstance(load_arrays(tmp_path, templates["same"])["b"][0], np.ndarray)
    assert isinstance(load_arrays(tmp_path, templates["shapes"])["a"][0], jax.Array)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ({"a": np.zeros(3, np.float32)}, r"\['a'\] in .* shape \(2,\), .* of \(3,\)"),
        ({"a": np.zeros((2, 1), np.float32)}, r"\['a'\] in .* shape \(2,\), .* of \(2, 1\)"),
        ({}, r"a leaf too many, \['a'\]"),
        ({"b": np.zeros(2, np.float32)}, r"a leaf too many, \['a'\]"),
        ({"a": np.zeros(2, np.float32), "b": np.zeros(2)}, r"no leaf \['b'\]"),
        ([np.zeros(2, np.float32)], r"no leaf \[0\]|too many, \['a'\]"),
    ],
)
def test_weights_of_another_model_are_refused_by_the_leaf(
    tmp_path: Path, template: Any, sentence: str
) -> None:
    save_arrays(tmp_path, {"a": np.ones(2, np.float32)})
    with pytest.raises(ArtifactCorrupt, match=sentence):
        load_arrays(tmp_path, template)


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match=r"state\.npz is missing"):
        load_arrays(tmp_path, {})
    (tmp_path / "state.npz").write_bytes(b"PK, or not")
    with pytest.raises(ArtifactCorrupt, match="not an array archive"):
        load_arrays(tmp_path, {})
