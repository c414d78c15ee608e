"""The archive of a walk: the same bits come back, by every reader, and files stay few."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ax_jax_runners.errors import (
    ArtifactCorrupt,
    ConfigurationError,
    LeaseHeld,
    ResultNotStorable,
)
from ax_jax_runners.exploration.archive import ArchiveView, Checkpoint, WalkArchive, layout, shards

IDENTITY = {"kernel": {"name": "reflect", "step": 0.1}, "seed": 0, "parameters": ["a", "b"]}
NANS = np.array([0x7FF8000000000001, 0xFFF8000000000123, 0x7FF0000000000005], np.uint64)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def open_archive(folder: Path, **options: Any) -> WalkArchive:
    return WalkArchive.open(folder, **{"identity": IDENTITY, **options})


def chain(first: int, rows: list[tuple[int, int, int, int]]) -> dict[str, np.ndarray]:
    """Columns of rows given as (seed point, particle, iteration from ``first``, multiplicity)."""
    seed_point, particle, iteration, multiplicity = np.array(rows, np.int64).reshape(-1, 4).T
    return {
        "seed_point": seed_point.astype(np.int32),
        "particle": particle.astype(np.int32),
        "iteration": iteration + first,
        "multiplicity": multiplicity.astype(np.int32),
    }


def checkpoint(iteration: int, **facts: Any) -> Checkpoint:
    return Checkpoint(iteration, {"x": np.full(2, float(iteration))}, facts)


def save_steps(archive: WalkArchive, first: int, last: int) -> None:
    """One particle, one row an iteration, one checkpoint a row."""
    for iteration in range(first, last + 1):
        archive.save(
            chain(iteration, [(0, 0, 0, 1)]),
            checkpoint(iteration),
            parameters={"a": np.array([0.1 * iteration])},
        )


def same_bits(found: Any, expected: np.ndarray) -> bool:
    found = np.asarray(found)
    return (found.dtype, found.shape, found.tobytes()) == (
        expected.dtype,
        expected.shape,
        expected.tobytes(),
    )


def hard_values(rows: int) -> dict[str, np.ndarray]:
    special = np.array([-0.0, 0.0, np.inf, -np.inf, 5e-324, np.pi])
    random = np.random.default_rng(0)
    values = {
        name: random.integers(0, 2**8, rows * np.dtype(name).itemsize, np.uint8).view(name)
        for name in "int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()
    }
    for name in ("float16", "float32", "float64"):
        values[name] = np.resize(special, rows).astype(name)
    values["float64"][:3] = NANS.view(np.float64)
    values["float32"][:2] = np.array([0x7FC00001, 0xFF800007], np.uint32).view(np.float32)
    values["bool"] = random.random(rows) < 0.5
    values["vector"] = random.normal(size=(rows, 3)).astype(np.float32)
    values["matrix"] = random.normal(size=(rows, 2, 3))
    values["matrix"][0, 0] = NANS.view(np.float64)
    values["flags"] = random.random((rows, 4)) < 0.5
    values["counts"] = random.integers(-5, 5, (rows, 2))
    return values


@pytest.mark.parametrize("concat_every", [2, 60])
def test_every_bit_of_every_type_comes_back(tmp_path: Path, concat_every: int) -> None:
    rows, parts = 10, 5
    values = hard_values(rows * parts)
    columns = chain(1, [(0, 0, i, 1) for i in range(rows * parts)])
    with open_archive(tmp_path, concat_every=concat_every) as archive:
        for part in range(parts):
            of = slice(part * rows, (part + 1) * rows)
            archive.save(
                {name: array[of] for name, array in columns.items()},
                checkpoint((part + 1) * rows),
                features={name: array[of] for name, array in values.items()},
            )
        assert len(archive.shards) == (parts if concat_every == 60 else 2)
    view = WalkArchive.read(tmp_path)
    arrays, frame, expanded = view.arrays(), view.to_pandas(), view.to_xarray()
    loaded = view.dataset().to_table()
    assert list(arrays) == list(frame) == loaded.column_names == [*columns, *values]
    for name, expected in {**columns, **values}.items():
        assert same_bits(arrays[name], expected), name
        whole = np.stack(list(frame[name])) if expected.ndim > 1 else frame[name].to_numpy()
        assert same_bits(whole, expected), name
        column = loaded[name].combine_chunks()
        flat = column.flatten() if expected.ndim > 1 else column
        assert same_bits(flat.to_numpy(zero_copy_only=False), expected.reshape(-1)), name
        if name in values:
            assert same_bits(expanded[name].to_numpy()[:, 0], expected), name


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    import jax

    arrays = {
        "x": np.array([NANS.view(np.float64), [-0.0, np.inf, 1e-320]]),
        "key": jax.random.key(3),
        "names/with.dots": np.array(["a", "b"]),
        "about": np.arange(3, dtype=np.uint8),
    }
    facts = {"status": "running", "step": 0.1 + 0.2, "counts": [1, 2], "text": "π", "none": None}
    with open_archive(tmp_path) as archive:
        assert archive.latest is None
        assert archive.status == {}
        archive.save({}, Checkpoint(7, arrays, facts))
    with open_archive(tmp_path) as archive:
        for latest in (archive.latest, WalkArchive.read(tmp_path).latest):
            assert latest is not None
            assert latest.iteration == 7
            assert latest.facts == facts
            assert set(latest.arrays) == set(arrays)
            assert same_bits(latest.arrays["x"], arrays["x"])
            assert same_bits(latest.arrays["about"], arrays["about"])
            assert latest.arrays["key"] == arrays["key"]
        assert archive.status == facts


def test_shards_say_which_iterations_and_how_many_rows_they_hold(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        archive.save(chain(1, [(0, 0, 0, 3), (0, 1, 0, 1), (0, 1, 1, 2)]), checkpoint(3))
        archive.save(chain(4, []), checkpoint(5))
        archive.save(chain(6, [(0, 0, 0, 1)]), checkpoint(9))
        first, second = archive.shards
    assert (first.rows, first.first_iteration, first.last_iteration) == (3, 1, 5)
    assert (second.rows, second.first_iteration, second.last_iteration) == (1, 6, 9)
    for shard in (first, second):
        data = (tmp_path / shard.name).read_bytes()
        assert len(data) == shard.size
        assert shard.sha256[:16] in shard.name


def test_files_are_compressed_and_name_their_run(tmp_path: Path) -> None:
    from pyarrow import parquet

    names = []
    for number, identity in enumerate([IDENTITY, IDENTITY, {**IDENTITY, "seed": 1}]):
        with open_archive(tmp_path / f"{number}", identity=identity) as archive:
            save_steps(archive, 1, 1)
            file = parquet.ParquetFile(tmp_path / f"{number}" / archive.shards[0].name)
            names.append((file.schema_arrow.metadata, archive.shards[0].sha256))
            columns = [file.metadata.row_group(0).column(i) for i in range(5)]
            assert {column.compression for column in columns} == {"ZSTD"}
    # The same rows of the same run are the same bytes.
    assert names[0] == names[1]
    assert names[0][0] != names[2][0]


def test_clashing_names_are_told_apart(tmp_path: Path) -> None:
    columns = {**chain(1, [(0, 0, 0, 1)]), "inside": np.array([True])}
    parameters = {"iteration": np.array([1.0]), "g": np.array([2.0]), "violation": np.array([3.0])}
    features = {
        "g": np.array([4.0]),
        "inside": np.array([5.0]),
        "parameter.iteration": np.array([6.0]),
        "v": np.array([7.0]),
    }
    with open_archive(tmp_path) as archive:
        archive.save(columns, checkpoint(1), parameters=parameters, features=features)
    view = WalkArchive.read(tmp_path)
    assert view.parameters == {
        "iteration": "parameter.iteration",
        "g": "g",
        "violation": "parameter.violation",
    }
    assert view.features == {
        "g": "feature.g",
        "inside": "feature.inside",
        "parameter.iteration": "feature.parameter.iteration",
        "v": "v",
    }
    row = view.to_pandas().iloc[0]
    for given, stored in ((parameters, view.parameters), (features, view.features)):
        for name, values in given.items():
            assert row[stored[name]] == values[0]


def test_columns_are_chosen_by_name_and_order(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        save_steps(archive, 1, 3)
        frame = archive.to_pandas(["a", "iteration"])
        assert list(frame) == archive.table(["a", "iteration"]).column_names == ["a", "iteration"]
        assert frame["iteration"].tolist() == [1, 2, 3]
        assert archive.to_pandas([]).columns.tolist() == []
        with pytest.raises(ConfigurationError, match="no column 'b'; it has seed_point, particle"):
            archive.to_pandas(["b"])
        with pytest.raises(ConfigurationError, match=r"write \['a'\]"):
            archive.table("a")


def test_an_archive_without_rows_can_be_read(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        assert archive.to_pandas().empty
        assert archive.dataset().count_rows() == 0
        archive.save({}, checkpoint(2))
        assert archive.shards == ()
        archive.save(chain(3, []), checkpoint(4), parameters={"a": np.zeros(0, np.float32)})
        assert archive.table().schema.names == [*chain(1, []), "a"]
        assert archive.to_pandas()["a"].dtype == np.float32
        assert dict(archive.to_xarray().sizes) == {"iteration": 0, "particle": 0}
        assert archive.view.iteration == 4
    with open_archive(tmp_path) as archive:
        archive.save(
            chain(5, [(0, 0, 0, 1)]), checkpoint(5), parameters={"a": np.zeros(1, np.float32)}
        )
        assert archive.shards[0].first_iteration == 5


def test_multiplicities_are_expanded_by_iteration_and_particle(tmp_path: Path) -> None:
    rows = [(4, 0, 0, 2), (4, 1, 0, 3), (7, 0, 0, 1), (4, 0, 2, 1), (7, 0, 1, 2)]
    values = np.array([1, 2, 3, 4, 5], np.int32)
    with open_archive(tmp_path) as archive:
        archive.save(
            chain(1, rows), checkpoint(3), features={"f": values, "v": np.stack([values] * 2, 1)}
        )
        archive.save(
            chain(4, [(4, 0, 0, 1), (4, 1, 0, 1), (7, 0, 0, 1)]),
            checkpoint(4),
            features={"f": values[:3], "v": np.stack([values[:3]] * 2, 1)},
        )
        found = archive.to_xarray()
    assert found["f"].dims == ("iteration", "particle")
    assert found["f"].dtype == np.int32
    assert found["f"].values.tolist() == [[1, 2, 3], [1, 2, 5], [4, 2, 5], [1, 2, 3]]
    assert found["v"].dims == ("iteration", "particle", "v_0")
    assert (found["v"].isel(v_0=1) == found["f"]).all()
    assert found["iteration"].values.tolist() == [1, 2, 3, 4]
    assert found["seed_point"].values.tolist() == [4, 4, 7]
    assert found["particle"].values.tolist() == [0, 1, 0]
    assert json.loads(found.attrs["identity"]) == IDENTITY
    assert "ragged" not in found.attrs


def test_ends_of_different_length_are_explained(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        archive.save(
            chain(1, [(0, 0, 0, 3), (0, 1, 0, 1)]),
            checkpoint(3),
            features={"n": np.array([1, 2]), "f": np.array([1.5, 2.5], np.float32)},
        )
        found = archive.to_xarray()
    assert found["n"].dtype == np.float64
    assert found["f"].dtype == np.float32
    np.testing.assert_array_equal(found["n"], [[1, 2], [1, np.nan], [1, np.nan]])
    assert found.attrs["ragged"].startswith("1 of 2 particles ended before iteration 3;")


def test_thinned_states_lie_at_their_iterations(tmp_path: Path) -> None:
    with open_archive(tmp_path, thin=10) as archive:
        archive.save(
            chain(0, [(0, 0, 10, 2), (0, 0, 30, 1)]), checkpoint(35), features={"n": np.arange(2)}
        )
        archive.save(chain(0, [(0, 0, 40, 2)]), checkpoint(50), features={"n": np.array([2])})
        found = archive.to_xarray()
    assert found["iteration"].values.tolist() == [10, 20, 30, 40, 50]
    assert found["n"].values.tolist() == [[0], [0], [1], [2], [2]]
    with pytest.raises(ConfigurationError, match="thin is 10 there and 1 here"):
        open_archive(tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 0, 1), (0, 0, 2, 1)],
        [(0, 0, 0, 2), (0, 0, 1, 2)],
        [(0, 0, 0, 1), (0, 1, 0, 3), (0, 0, 0, 1)],
    ],
    ids=["hole", "overlap", "twice"],
)
def test_rows_that_are_no_whole_chains_are_not_expanded(
    tmp_path: Path, rows: list[tuple[int, int, int, int]]
) -> None:
    with open_archive(tmp_path) as archive:
        archive.save(chain(1, rows), checkpoint(3))
        assert len(archive.to_pandas()) == len(rows)
        with pytest.raises(ConfigurationError, match=r"Particle 0 of seed point 0 .* to_pandas"):
            archive.to_xarray()


def test_rows_without_chains_are_not_expanded(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        archive.save({"iteration": np.array([1])}, checkpoint(1))
        with pytest.raises(ConfigurationError, match="no column 'seed_point'"):
            archive.to_xarray()


def test_another_identity_is_refused_with_both_values(tmp_path: Path) -> None:
    open_archive(tmp_path).close()
    other = {
        "kernel": {"name": "reflect", "step": 0.2},
        "seed": 0,
        "parameters": ["a", "b"],
        "adapt": True,
    }
    with pytest.raises(
        ConfigurationError,
        match=r"kernel\.step is 0\.1 there and 0\.2 here; adapt is absent there and true here\.",
    ):
        open_archive(tmp_path, identity=other)
    # The refused one holds no lock, and the first identity is still that of the archive.
    same = {"seed": 0, "parameters": ("a", "b"), "kernel": {"step": 0.1, "name": "reflect"}}
    with open_archive(tmp_path, identity=same) as archive:
        assert archive.identity == IDENTITY


@pytest.mark.parametrize("identity", [{"a": float("nan")}, {"a": np.zeros(2)}, {"a": {1, 2}}])
def test_an_identity_is_plain_json(tmp_path: Path, identity: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="not plain finite JSON"):
        open_archive(tmp_path / "walk", identity=identity)
    assert not (tmp_path / "walk").exists()


@pytest.mark.parametrize("options", [{"concat_every": 1}, {"concat_every": True}, {"thin": 0}])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="give a whole number from"):
        open_archive(tmp_path / "walk", **options)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "walk").write_text("")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        open_archive(tmp_path / "walk")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.json is missing"):
        WalkArchive.read(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web application"}')
    for read in (WalkArchive.read, open_archive):
        with pytest.raises(ArtifactCorrupt, match=r"manifest\.json is not a manifest"):
            read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"a": np.zeros(2)}, ConfigurationError, "different lengths"),
        ({"a": np.zeros(1, np.float32)}, ConfigurationError, r"'a'.*\(float64\).*\(float32\)"),
        ({"a": np.zeros((1, 2))}, ConfigurationError, r"'a'.*of shape \(2,\)"),
        ({"b": np.zeros(1)}, ConfigurationError, "Column 'a'.*absent now"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, ConfigurationError, "'b'.*absent so far"),
        ({"a": np.array(["x"])}, ResultNotStorable, "booleans, integers"),
        ({"a": np.array([1j])}, ResultNotStorable, "booleans, integers"),
        ({"a": np.array([{}])}, ResultNotStorable, "booleans, integers"),
        ({"a": np.zeros((1, 0))}, ResultNotStorable, "not empty"),
        ({"a": 1.0}, ResultNotStorable, "for each row"),
        ({"": np.zeros(1)}, ResultNotStorable, "non-empty text"),
        ({"\ud800": np.zeros(1)}, ResultNotStorable, "non-empty text"),
        ({3: np.zeros(1)}, ResultNotStorable, "non-empty text"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    tmp_path: Path, parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with open_archive(tmp_path) as archive:
        save_steps(archive, 1, 1)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(error, match=message):
            archive.save(chain(2, [(0, 0, 0, 1)]), checkpoint(2), parameters=parameters)
        assert sorted(tmp_path.iterdir()) == before
        save_steps(archive, 2, 2)


def test_columns_in_another_order_are_named(tmp_path: Path) -> None:
    columns = chain(1, [(0, 0, 0, 1)])
    with open_archive(tmp_path) as archive:
        archive.save(columns, checkpoint(1))
        columns = dict(reversed(chain(2, [(0, 0, 0, 1)]).items()))
        with pytest.raises(ConfigurationError, match="another order"):
            archive.save(columns, checkpoint(2))


@pytest.mark.parametrize(
    ("row", "iteration"),
    [((0, 0, 5, 1), 5), ((0, 0, 5, 1), 6), ((0, 0, 7, 2), 7), ((0, 0, 6, 0), 7), ((0, 0, 6, 1), 4)],
)
def test_rows_lie_between_their_checkpoints(
    tmp_path: Path, row: tuple[int, int, int, int], iteration: int
) -> None:
    with open_archive(tmp_path) as archive:
        archive.save(chain(1, [(0, 0, 0, 5)]), checkpoint(5))
        with pytest.raises(ConfigurationError, match="belong behind|do not lie between"):
            archive.save(chain(0, [row]), checkpoint(iteration))
        with pytest.raises(ConfigurationError, match="belong behind"):
            archive.save({}, checkpoint(4))
        archive.save({}, checkpoint(5, status="done"))
        assert archive.status == {"status": "done"}


@pytest.mark.parametrize("facts", [{"a": float("inf")}, {"a": np.float32(1)}, {"a": object()}])
def test_facts_are_plain_json(tmp_path: Path, facts: dict[str, Any]) -> None:
    with open_archive(tmp_path) as archive:
        with pytest.raises(ResultNotStorable, match="facts of a checkpoint"):
            archive.save({}, checkpoint(1, **facts))
        with pytest.raises(ResultNotStorable, match="Python objects"):
            archive.save({}, Checkpoint(1, {"x": np.array([{}])}, {}))
        assert archive.latest is None


def test_only_one_archive_of_a_process_writes(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        with pytest.raises(LeaseHeld, match=f"process {os.getpid()} on"):
            open_archive(tmp_path)
        save_steps(archive, 1, 1)
    with pytest.raises(ConfigurationError, match="closed; open it again"):
        save_steps(archive, 2, 2)
    # A closed one still reads.
    assert len(archive.to_pandas()) == 1
    open_archive(tmp_path).close()


def test_an_archive_that_was_forgotten_keeps_nobody_out(tmp_path: Path) -> None:
    forgotten = open_archive(tmp_path)
    save_steps(forgotten, 1, 1)
    del forgotten
    gc.collect()
    with open_archive(tmp_path) as archive:
        assert len(archive.to_pandas()) == 1


@pytest.mark.slow
def test_a_thousand_checkpoints_make_few_files(tmp_path: Path) -> None:
    most = 0
    with open_archive(tmp_path, concat_every=4) as archive:
        for hundred in range(10):
            save_steps(archive, 100 * hundred + 1, 100 * hundred + 100)
            most = max(most, len(list(tmp_path.iterdir())))
            # Three of a level at most, and a level for each power of four.
            assert len(archive.shards) <= 3 * 5
        assert (tmp_path / "manifest.json").stat().st_size < 10_000
        assert most < 60
        frame = archive.to_pandas()
        ranges = [(s.first_iteration, s.last_iteration) for s in archive.shards]
    assert frame["iteration"].tolist() == list(range(1, 1001))
    assert same_bits(frame["a"], np.array([0.1 * i for i in range(1, 1001)]))
    assert [first for first, _ in ranges] == [1, *(last + 1 for _, last in ranges[:-1])]
    with open_archive(tmp_path) as archive:
        assert archive.latest is not None
        assert archive.latest.iteration == 1000


def test_merged_shards_do_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 40_000
    monkeypatch.setattr(shards, "_LARGEST_MERGED", largest)
    random = np.random.default_rng(0)
    with open_archive(tmp_path, concat_every=2) as archive:
        for iteration in range(1, 41):
            rows = chain(iteration, [(0, 0, 0, 1)])
            archive.save(rows, checkpoint(iteration), features={"v": random.random((1, 500))})
        sizes = [shard.size for shard in archive.shards]
        # 40 times 4,000 bytes, by eights; those that are not full yet are of different levels.
        assert max(sizes) <= largest
        assert len([size for size in sizes if size > largest / 2]) == 5
        assert len(sizes) <= 5 + 3
        assert archive.to_pandas()["iteration"].tolist() == list(range(1, 41))


def test_merging_holds_few_row_groups_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    monkeypatch.setattr(layout, "_ROW_GROUP_BYTES", 2**18)
    random = np.random.default_rng(0)
    rows, before = 20_000, pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    with open_archive(tmp_path, concat_every=8) as archive:

        def save(part: int) -> None:
            columns = {"iteration": np.arange(part * rows, (part + 1) * rows) + 1}
            points = {"p": random.random((rows, 8))}
            archive.save(columns, checkpoint((part + 1) * rows), parameters=points)

        for part in range(7):
            save(part)
        written = sum(shard.size for shard in archive.shards)
        pa.set_memory_pool(pool)
        try:
            save(7)
        finally:
            pa.set_memory_pool(before)
        (merged,) = archive.shards
    assert merged.rows == 8 * rows
    assert written > 7 * 2**20
    # One shard of the eight was encoded too.
    assert pool.max_memory() < written / 2


def test_a_view_stays_as_it_was_while_the_archive_grows_and_merges(tmp_path: Path) -> None:
    views: list[tuple[ArchiveView, int]] = []
    with open_archive(tmp_path, concat_every=3) as archive:
        for iteration in range(1, 30):
            save_steps(archive, iteration, iteration)
            views.append((WalkArchive.read(tmp_path), iteration))
        gone = 0
        for view, iteration in views:
            gone += not all((tmp_path / shard.name).exists() for shard in view.shards)
            assert view.rows == iteration
            expected = list(range(1, iteration + 1))
            assert view.to_pandas()["iteration"].tolist() == expected
            assert view.to_xarray()["iteration"].values.tolist() == expected
            assert view.table(["a"]).num_rows == iteration
            assert view.dataset().count_rows() >= iteration
        assert gone > 10
    assert not (tmp_path / "writer.lock").exists()
