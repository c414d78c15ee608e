"""The shards of random walks, read as data sets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ax_jax_runners import FeatureEvaluator, Parameter, ParameterSpace
from ax_jax_runners.errors import ArtifactCorrupt, AxJaxError, ConfigurationError, SchemaTooNew
from ax_jax_runners.exploration import Constraint, RandomWalk
from ax_jax_runners.exploration.archive import ArchiveView, Checkpoint, WalkArchive
from ax_jax_runners.posterior.datasets import (
    ArrayDataset,
    SimulatedDataset,
    WalkDataset,
    gather,
    simulate,
)
from ax_jax_runners.posterior.datasets.sealed import read_sealed, seal

SPACE = ParameterSpace([Parameter(name, lower=0.0, upper=1.0) for name in "ab"])
STAYS = ((0.25, 3), (0.5, 1), (0.125, 4), (0.75, 2), (0.25, 2), (0.875, 5))


def disc(values: dict[str, Any]) -> dict[str, Any]:
    return {"radius": (values["a"] - 0.5) ** 2 + (values["b"] - 0.5) ** 2, "a": values["a"]}


WALK = RandomWalk(
    FeatureEvaluator(disc, SPACE, chunk=8),
    (Constraint("radius", upper=0.1),),
    kernel="self_loop",
    max_step_size=0.3,
    warm_up=0,
    n_iterations=120,
    checkpoint_every=25,
)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk")
    WALK.run({"a": 0.5, "b": 0.5}, particles=4, directory=folder)
    return folder


def write(
    folder: Path, stays: Any, sizes: list[int], *, merge_every: int = 60, **features: Any
) -> Path:
    """An archive with stays in shards of these sizes."""
    identity = {"space": SPACE.describe()}
    with WalkArchive.open(folder, identity=identity, concat_every=merge_every) as archive:
        start = iteration = 0
        for size in sizes:
            part = slice(start, start + size)
            points, multiplicity = map(np.array, zip(*stays[part], strict=True))
            iteration += int(multiplicity.sum())
            archive.save(
                {"multiplicity": multiplicity.astype(np.int32)},
                Checkpoint(iteration, {"x": np.zeros(1)}, {}),
                parameters={"a": points, "b": 1 - points},
                features={name: np.array(f)[part] for name, f in features.items()},
            )
            start += size
    return folder


def everything(dataset: Any, **options: Any) -> tuple[np.ndarray, Any]:
    [batch] = dataset.iter_batches(10**6, **options)
    return batch.parameters, batch.observations


def test_every_recorded_visit_of_a_walk_is_a_row(walked: Path) -> None:
    dataset = WalkDataset.open(walked)
    assert len(dataset) == 4 * 120
    assert (dataset.space, dataset.names, dataset.failed) == (SPACE, ("a", "b"), 0)
    parameters, observations = everything(dataset)
    view = ArchiveView.read(walked).arrays()
    repeats = view["multiplicity"]
    assert parameters[:, 0].tolist() == np.repeat(view["a"], repeats).tolist()
    assert observations["radius"].tolist() == np.repeat(view["radius"], repeats).tolist()
    assert observations["a"].tolist() == parameters[:, 0].tolist()
    assert (repeats > 1).any()
    # The states of the walk, whatever their order.
    states = np.sort(WALK.run({"a": 0.5, "b": 0.5}, particles=4).states.reshape(-1, 2), axis=0)
    assert np.sort(parameters, axis=0).tolist() == states.tolist()


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "seed": 1}])
def test_batches_hold_every_visit_once_and_parts_share_no_point(
    walked: Path, options: dict[str, Any]
) -> None:
    dataset = WalkDataset.open(walked, validation_fraction=0.3)
    numbers = np.concatenate(
        [batch.metadata["rows"] for batch in dataset.iter_batches(37, **options)]
    )
    assert sorted(numbers) == list(range(480))
    points, rows = {}, {}
    for split in ("train", "validation"):
        batches = list(dataset.iter_batches(37, split=split, **options))
        points[split] = {tuple(row) for batch in batches for row in batch.parameters}
        rows[split] = [n for batch in batches for n in batch.metadata["rows"]]
    assert not points["train"] & points["validation"]
    assert sorted(rows["train"] + rows["validation"]) == list(range(480))
    share = len(points["validation"]) / len(points["train"] | points["validation"])
    assert 0.15 < share < 0.45


def test_a_stay_counts_as_often_as_it_lasted(tmp_path: Path) -> None:
    dataset = WalkDataset.open(write(tmp_path, STAYS, [2, 3, 1], f=np.arange(6.0)))
    expected = [point for point, times in STAYS for _ in range(times)]
    parameters, observations = everything(dataset)
    assert parameters[:, 0].tolist() == expected
    assert observations["f"].tolist() == [n for n, s in enumerate(STAYS) for _ in range(s[1])]
    assert dataset.fingerprint == ArrayDataset(parameters, observations, space=SPACE).fingerprint
    data = gather(dataset, seed=0, validation_fraction=0.5)
    assert sorted(data.parameters[:, 0]) == sorted(expected)
    assert (data.space, data.fingerprint) == (SPACE, dataset.fingerprint)


@pytest.mark.parametrize("every", [1, 2, 3, 5, 100])
def test_thinning_keeps_one_visit_of_so_many_whatever_the_shards(
    tmp_path: Path, every: int
) -> None:
    expected = [point for point, times in STAYS for _ in range(times)][::every]
    for number, sizes in enumerate([[6], [2, 3, 1], [1] * 6]):
        folder = write(tmp_path / str(number), STAYS, sizes, f=np.arange(6.0))
        dataset = WalkDataset.open(folder, every=every)
        assert len(dataset) == len(expected)
        assert everything(dataset)[0][:, 0].tolist() == expected


def test_merged_shards_are_the_same_data_set(tmp_path: Path) -> None:
    apart = WalkDataset.open(write(tmp_path / "apart", STAYS, [1] * 6, f=np.arange(6.0)))
    merged = WalkDataset.open(
        write(tmp_path / "merged", STAYS, [1] * 6, merge_every=2, f=np.arange(6.0))
    )
    assert len(list(merged.directory.glob("shard-*"))) < 6
    assert merged.fingerprint == apart.fingerprint
    for split in ("train", "validation"):
        rows = [
            [n for batch in dataset.iter_batches(4, split=split) for n in batch.metadata["rows"]]
            for dataset in (apart, merged)
        ]
        assert rows[0] == rows[1]


def test_visits_with_features_that_are_not_finite_are_counted_and_left_out(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(6, 2)
    values[1, 0], values[4, 1] = np.nan, np.inf
    folder = write(tmp_path, STAYS, [2, 4], f=values, features=np.arange(6))
    dataset = WalkDataset.open(folder, every=2)
    kept = [n for n in (0, 2, 3, 5) for _ in range(STAYS[n][1])][::2]
    assert dataset.failed == 1 + 2
    assert everything(dataset)[1]["features"].tolist() == kept


def test_a_simulator_of_one_array_gives_one_array(tmp_path: Path) -> None:
    array = np.arange(36.0).reshape(6, 2, 3)
    dataset = WalkDataset.open(write(tmp_path, STAYS, [6], features=array), every=3)
    _, observations = everything(dataset)
    assert observations.shape == (len(dataset), 6)
    assert observations[0].tolist() == list(range(6))


def test_a_walk_that_goes_on_is_read_as_it_was_opened(tmp_path: Path) -> None:
    folder = write(tmp_path, STAYS, [2, 2], f=np.arange(6.0))
    dataset = WalkDataset.open(folder)
    with WalkArchive.open(folder, identity={"space": SPACE.describe()}, concat_every=60) as archive:
        archive.save(
            {"multiplicity": np.array([7], np.int32)},
            Checkpoint(99, {"x": np.zeros(1)}, {}),
            parameters={"a": np.array([0.5]), "b": np.array([0.5])},
            features={"f": np.array([9.0])},
        )
    assert len(dataset) == 10
    assert len(WalkDataset.open(folder)) == 17


def without_space(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "identity": {}}


def test_a_space_that_cannot_be_made_again_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, STAYS, [6], f=np.arange(6.0))
    path = folder / "manifest.json"
    path.write_bytes(seal(without_space(read_sealed(path, advice=""))))
    with caplog.at_level(logging.WARNING, "ax_jax_runners.posterior"):
        dataset = WalkDataset.open(folder)
    assert "the prior is not known" in caplog.text
    assert (dataset.space, dataset.names) == (None, ("a", "b"))
    assert gather(dataset, seed=0).space is None
    assert WalkDataset.open(folder, space=SPACE).space == SPACE
    with pytest.raises(ConfigurationError, match="has the free parameters x"):
        WalkDataset.open(folder, space=ParameterSpace([Parameter("x", lower=0, upper=1)]))


@pytest.fixture
def cases(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    folder = write(tmp_path / "walk", STAYS, [3, 3], f=np.arange(6.0))
    path = folder / "manifest.json"
    whole = read_sealed(path, advice="")

    def change(changes: dict[str, Any]) -> Path:
        path.write_bytes(seal({**whole, **changes}))
        return folder

    return change


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"version": 2}, SchemaTooNew, "newer version"),
        ({"shards": []}, ConfigurationError, "no points yet"),
        ({"layout": []}, ConfigurationError, "no points yet"),
        ({"layout": [{"name": "a"}]}, ArtifactCorrupt, "not the manifest of a walk"),
        ({"shards": [{"name": "../shard.parquet"}]}, ArtifactCorrupt, "not the manifest of a walk"),
    ],
)
def test_manifests_that_cannot_be_read_are_refused(
    cases: Callable[[dict[str, Any]], Path],
    changes: dict[str, Any],
    error: type[AxJaxError],
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        WalkDataset.open(cases(changes))


def test_damaged_shards_and_other_folders_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "walk", STAYS, [3, 3], f=np.arange(6.0))
    dataset = WalkDataset.open(folder)
    shard = sorted(folder.glob("shard-*"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactCorrupt, match="does not have its digest; restore it"):
        list(dataset.iter_batches())
    shard.unlink()
    with pytest.raises(ArtifactCorrupt, match="is missing; .* open the data set again"):
        list(WalkDataset.open(folder).iter_batches())
    with pytest.raises(ArtifactCorrupt, match="is missing"):
        WalkDataset.open(tmp_path / "nothing")
    with pytest.raises(ArtifactCorrupt, match="something else than simulations"):
        SimulatedDataset.open(folder)
    simulate(WALK.evaluator, None, 20, directory=tmp_path / "simulated")
    with pytest.raises(ArtifactCorrupt, match="not the manifest of a walk"):
        WalkDataset.open(tmp_path / "simulated")
    with pytest.raises(ConfigurationError, match="every is 0"):
        WalkDataset.open(write(tmp_path / "other", STAYS, [6], f=np.arange(6.0)), every=0)
