"""RW loses at most one checkpoint interval, whatever stops it, and goes on bit for bit."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError, LeaseHeld
from ax_jax_runners.exploration.isf import RW
from tests.unit.isf_walks import (
    ball,
    check_replay,
    names_of,
    ranges_of,
    reference,
    rows_of,
    seeds_at,
    walk_of,
)

FORMATS = pytest.mark.parametrize("shard_format", ["parquet", "npz"])
RADIUS = 0.06
POINTS = 22


@pytest.fixture(autouse=True)
def no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of walks; what a disk does when its power fails is not tested here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Stopped(BaseException):
    """What a test stops a walk by; nothing in the package catches it."""


def evaluate(p: pd.Series) -> tuple[bool, dict[str, Any]]:
    """Numbers always, a text and a list sometimes."""
    inside, features = ball(RADIUS, 3)(p)
    if inside:
        features |= {"count": 3, "label": "spiking", "flag": np.bool_(True)}
    elif features["distance"] > 0.07:
        features |= {"trace": [1.0, 2.5], "count": None}
    return inside, features


def make(folder: Path, evaluation: Callable[..., Any] = evaluate, **settings: Any) -> RW:
    return walk_of(
        3,
        folder,
        **{
            "evaluation_function": evaluation,
            "n_iterations": POINTS,
            "checkpoint_every": 4,
            "concat_every_n_save": 3,
            **settings,
        },
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "_lock" and p.is_file()}


@pytest.fixture(params=["parquet", "npz"])
def uninterrupted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, bytes]]:
    make(tmp_path / "whole", shard_format=request.param).run_RW(0, 0, 5)
    return request.param, contents(tmp_path / "whole" / "0" / "0")


def test_the_folder_holds_merged_shards_and_one_manifest(
    uninterrupted: tuple[str, dict[str, bytes]],
) -> None:
    kind, files = uninterrupted
    assert sorted(files) == sorted([f"12.{kind}", f"22.{kind}", "_manifest.json"])


def test_an_exception_at_any_iteration_costs_less_than_an_interval(
    uninterrupted: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    kind, files = uninterrupted
    for stop_at in range(POINTS + 1):
        calls: list[int] = []

        def fail(p: pd.Series, calls: list[int] = calls, stop_at: int = stop_at) -> Any:
            calls.append(1)
            if len(calls) > stop_at:
                raise Stopped
            return evaluate(p)

        place = tmp_path / str(stop_at)
        with pytest.raises(Stopped):
            make(place, fail, shard_format=kind).run_RW(0, 0, 5)
        before = len(calls)
        calls.clear()
        counted = make(place, lambda p, c=calls: (c.append(1), evaluate(p))[1], shard_format=kind)
        assert counted.run_RW(0, 0, 5).status == "completed"
        assert contents(place / "0" / "0") == files
        assert before - 1 + len(calls) <= POINTS + 1 + 4


@contextmanager
def killed_at(call: int, *, before: bool) -> Iterator[list[str]]:
    """Stop at the given call that changes a folder, before or after it takes effect."""
    made: list[str] = []
    real = {name: getattr(os, name) for name in ("replace", "rename", "unlink")}

    def wrap(name: str) -> Callable[..., None]:
        def change(*args: Any, **kwargs: Any) -> None:
            if ".partial-" in str(args[-1]):  # a killed process would not clean up
                real[name](*args, **kwargs)
                return
            made.append(name)
            if len(made) == call and before:
                raise Stopped
            real[name](*args, **kwargs)
            if len(made) == call:
                raise Stopped

        return change

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, wrap(name))
        yield made


@pytest.mark.parametrize("before", [True, False])
def test_a_kill_at_any_write_costs_less_than_an_interval(
    uninterrupted: tuple[str, dict[str, bytes]], tmp_path: Path, before: bool
) -> None:
    kind, files = uninterrupted
    call = 0
    while True:
        call += 1
        place = tmp_path / f"{call}"
        try:
            with killed_at(call, before=before) as made:
                make(place, shard_format=kind).run_RW(0, 0, 5)
            break
        except Stopped:
            pass
        evaluated: list[float] = []
        counted = make(
            place,
            lambda p, e=evaluated: (e.append(p["g0"]), evaluate(p))[1],
            shard_format=kind,
        )
        outcome = counted.run_RW(0, 0, 5)
        assert outcome.status == "completed"
        assert not outcome.damaged
        assert contents(place / "0" / "0") == files
        committed = (len(made) - 1 - (1 if before else 0)) // 2
        if 0 < committed < 3:  # before the first merge
            assert len(evaluated) == POINTS - 4 * committed
    # Manifest at the start; shard and manifest of six checkpoints; two merges of manifest,
    # shard, manifest and two removals.
    assert call - 1 == 1 + 2 * 6 + 2 * 5


def test_a_second_kill_while_recovering_is_recovered_too(
    uninterrupted: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    kind, files = uninterrupted
    first = 1 + 2 * 3 + 4  # one of two old shards is removed
    for second in range(1, 4):
        place = tmp_path / str(second)
        for call in (first, second):
            with pytest.raises(Stopped), killed_at(call, before=False):
                make(place, shard_format=kind).run_RW(0, 0, 5)
        make(place, shard_format=kind).run_RW(0, 0, 5)
        assert contents(place / "0" / "0") == files


def test_an_aim_count_is_not_doubled_by_a_resume(tmp_path: Path) -> None:
    table = ranges_of(3)
    aim = {"g1": float(table["min"]["g1"] + 0.5 * (table["max"]["g1"] - table["min"]["g1"]))}

    def aimed(place: Path) -> RW:
        # The seed point is at the aim: every point inside counts.
        return make(place, aim_params=aim, stop_n_inside_with_aim_params=9, checkpoint_every=5)

    whole = aimed(tmp_path / "whole").run_RW(0, 0, 5)
    assert whole.status == "aims_reached"
    assert whole.inside == 9
    files = contents(whole.directory)
    for call in range(1, 60):
        place = tmp_path / str(call)
        try:
            with killed_at(call, before=call % 2 == 0):
                aimed(place).run_RW(0, 0, 5)
            break
        except Stopped:
            outcome = aimed(place).run_RW(0, 0, 5)
            assert outcome.inside == 9
            assert contents(outcome.directory) == files
            flags = [p.name for p in (place / "0").glob("aim_params_successful_model_*")]
            assert flags == ["aim_params_successful_model_9"]
    else:
        pytest.fail("the walk never ran to its end")


def test_a_walk_may_be_lengthened(tmp_path: Path) -> None:
    for n in (7, 20, 33):
        make(tmp_path, n_iterations=n).run_RW(0, 0, 5)
    start = np.array([0.5, 0.5, 0.5])
    table = ranges_of(3)
    low, high = table["min"].to_numpy(), table["max"].to_numpy()
    start = (make(tmp_path).df_seeds.to_numpy()[0] - low) / (high - low)
    expected = reference(5, start, lambda z: bool(np.linalg.norm(z - 0.5) <= RADIUS), 33)
    check_replay(rows_of(tmp_path / "0" / "0"), expected, names_of(3))


def test_points_are_of_floats_before_and_after_a_resume(tmp_path: Path) -> None:
    seen: list[pd.Series] = []
    for n in (6, 12):
        make(tmp_path, lambda p: (seen.append(p), evaluate(p))[1], n_iterations=n).run_RW(0, 0, 5)
    assert len(seen) == 13
    assert {p.dtype for p in seen} == {np.dtype(np.float64)}


@FORMATS
def test_what_the_function_returns_is_kept(tmp_path: Path, shard_format: str) -> None:
    walk = make(tmp_path, shard_format=shard_format, n_iterations=300, concat_every_n_save=1000)
    walk.run_RW(0, "left-1", 5)
    folder = tmp_path / "0" / "left-1"
    frames = [walk._load_pickle_or_parquet(folder, n, shard_format)[0] for n in range(4, 301, 4)]
    walk._concatenate_and_clean(tmp_path / "0", "left-1")
    assert [p.name for p in folder.iterdir() if p.name[0] != "_"] == [f"300.{shard_format}"]
    merged, path = walk._load_pickle_or_parquet(folder, 300, shard_format)
    assert path == str(folder / f"300.{shard_format}")

    assert list(merged.columns[:4]) == [*names_of(3), "distance"]
    assert list(merged.columns[-4:]) == ["inside", "n_suggestion", "iteration", "particle_id"]
    assert set(merged.columns[4:-4]) == {"count", "label", "flag", "trace"}
    assert (merged["particle_id"] == "left-1").all()
    outside = ~merged["inside"]
    far = merged["distance"] > 0.07
    assert 0 < far.sum() < outside.sum() < len(merged)
    assert (merged["count"][merged.inside] == 3.0).all()
    assert merged["count"][outside].isna().all()
    assert (merged["label"][merged.inside] == "spiking").all()
    assert merged["label"][outside].isna().all()
    assert (merged["flag"][merged.inside] == 1.0).all()
    assert merged["trace"].notna().tolist() == far.tolist()
    assert json.loads(merged["trace"][far].iloc[0]) == [1.0, 2.5]
    small = pd.concat([f[["g0", "inside", "iteration", "distance"]] for f in frames])
    pd.testing.assert_frame_equal(
        small.reset_index(drop=True), merged[["g0", "inside", "iteration", "distance"]]
    )


def test_parameters_may_be_in_the_dictionary(tmp_path: Path) -> None:
    def with_parameters(p: pd.Series) -> tuple[bool, dict[str, Any]]:
        return True, {**p.to_dict(), "inside": "spoiled", "iteration": -1}

    make(tmp_path, with_parameters).run_RW(0, 0, 5)
    frame = rows_of(tmp_path / "0" / "0")
    assert list(frame.columns) == [
        *names_of(3),
        "inside",
        "n_suggestion",
        "iteration",
        "particle_id",
    ]
    assert frame["inside"].all()


def test_all_shards_of_a_particle_are_one_parquet_data_set(tmp_path: Path) -> None:
    make(tmp_path).run_RW(0, 0, 5)
    frame = pd.read_parquet(tmp_path / "0" / "0")
    assert sorted(frame["iteration"]) == list(range(POINTS + 1))


def test_a_damaged_shard_is_kept_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    walk = make(tmp_path, n_iterations=19)
    walk.run_RW(0, 0, 5)
    folder = tmp_path / "0" / "0"
    damaged = bytearray((folder / "16.parquet").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / "16.parquet").write_bytes(bytes(damaged))
    with pytest.raises(ArtifactCorrupt, match="16.parquet"):
        walk._load_pickle_or_parquet(folder, 16, "parquet")

    with caplog.at_level(logging.ERROR, logger="ax_jax_runners"):
        outcome = make(tmp_path).run_RW(0, 0, 5)
    assert "iterations 13 to 16" in caplog.text
    assert outcome.status == "completed"
    assert outcome.damaged == ("16.parquet",)
    (kept,) = folder.glob("_16.parquet.*.damaged")
    assert kept.read_bytes() == bytes(damaged)
    make(tmp_path / "whole").run_RW(0, 0, 5)
    whole = rows_of(tmp_path / "whole" / "0" / "0")
    lost = whole["iteration"].between(13, 16)
    pd.testing.assert_frame_equal(
        whole[~lost].reset_index(drop=True)[[*names_of(3), "inside", "iteration"]],
        rows_of(folder)[[*names_of(3), "inside", "iteration"]],
    )
    assert make(tmp_path).run_RW(0, 0, 5) == outcome


def test_a_shard_that_is_damaged_before_a_merge_does_not_take_the_others_with_it(
    tmp_path: Path,
) -> None:
    walk = make(tmp_path, n_iterations=8)
    walk.run_RW(0, 0, 5)
    folder = tmp_path / "0" / "0"
    (folder / "4.parquet").unlink()
    outcome = make(tmp_path, n_iterations=16).run_RW(0, 0, 5)
    assert outcome.damaged == ("4.parquet",)
    assert rows_of(folder)["iteration"].tolist() == list(range(5, 17))


def test_a_damaged_manifest_is_refused_and_left(tmp_path: Path) -> None:
    make(tmp_path, n_iterations=8).run_RW(0, 0, 5)
    place = tmp_path / "0" / "0" / "_manifest.json"
    text = place.read_text().replace('"iteration": 8', '"iteration": 4')
    place.write_text(text)
    before = contents(place.parent)
    with pytest.raises(ArtifactCorrupt, match="_manifest.json is damaged"):
        make(tmp_path).run_RW(0, 0, 5)
    assert contents(place.parent) == before


@pytest.mark.parametrize("name", ["100.pickle", "100.pickle.rngn"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "0" / "0"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    walk = make(tmp_path)
    with pytest.raises(ConfigurationError, match="is a pickle, which can run any code"):
        walk.run_RW(0, 0, 5)
    for mode in ("pickle", "pickle_load"):
        with pytest.raises(ConfigurationError, match="is a pickle"):
            walk._load_pickle_or_parquet(folder, 100, mode)
    with pytest.raises(ConfigurationError, match="is a pickle"):
        walk._clean_the_pickles(folder, [name], 200)
    assert (folder / name).is_file()


def test_parquet_of_another_program_is_read_but_not_continued(tmp_path: Path) -> None:
    folder = tmp_path / "0" / "0"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"g0": [1.0], "inside": [True]})
    table.to_parquet(folder / "100.parquet")
    walk = make(tmp_path)
    frame, _ = walk._load_pickle_or_parquet(folder, 100, "parquet_load")
    pd.testing.assert_frame_equal(frame, table)
    with pytest.raises(ConfigurationError, match=r"100\.parquet but no _manifest"):
        walk.run_RW(0, 0, 5)


def test_only_replaced_shards_are_removed_on_request(tmp_path: Path) -> None:
    walk = make(tmp_path, concat_every_n_save=100)
    walk.run_RW(0, 0, 5)
    folder = tmp_path / "0" / "0"
    with pytest.raises(ConfigurationError, match="holds rows"):
        walk._clean_the_pickles(folder, ["4.parquet"], 22)
    with pytest.raises(ConfigurationError, match="not removed"):
        walk._clean_the_pickles(folder, ["../../../x.parquet"], 22)
    old = (folder / "4.parquet").read_bytes()
    walk._concatenate_and_clean(tmp_path / "0", 0, 12)
    assert sorted(p.name for p in folder.glob("*.parquet")) == sorted(
        f"{n}.parquet" for n in (12, 16, 20, 22)
    )
    (folder / "4.parquet").write_bytes(old)
    walk._clean_the_pickles(folder, ["4.parquet", "12.parquet"], 12)
    assert not (folder / "4.parquet").exists()
    assert rows_of(folder)["iteration"].tolist() == list(range(POINTS + 1))


@pytest.mark.parametrize(
    "changed",
    [
        {"max_step_size": 0.03},
        {"mode": "expand"},
        {"params_to_explore": ["g1", "g0", "g2"]},
        {"df_seeds": seeds_at([0.5, 0.5, 0.51])},
        {"aim_params": {"g1": 1.0}},
    ],
)
def test_a_walk_does_not_go_on_under_another_law(tmp_path: Path, changed: dict[str, Any]) -> None:
    make(tmp_path, n_iterations=8).run_RW(0, 0, 5)
    before = contents(tmp_path / "0" / "0")
    with pytest.raises(ConfigurationError, match="was begun with"):
        make(tmp_path, **changed).run_RW(0, 0, 5)
    assert contents(tmp_path / "0" / "0") == before


def test_a_walk_keeps_its_stream_whatever_seed_is_given_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "a").run_RW(0, 0, 5)
    make(tmp_path / "b", n_iterations=8).run_RW(0, 0, 5)
    make(tmp_path / "b").run_RW(0, 0, 99)
    assert "keeps the random stream of seed 5" in caplog.text
    pd.testing.assert_frame_equal(
        rows_of(tmp_path / "a" / "0" / "0"), rows_of(tmp_path / "b" / "0" / "0")
    )


def test_time_decides_alone_where_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("ax_jax_runners.exploration.isf.particle.time.monotonic", lambda: clock[0])

    def slow(p: pd.Series) -> tuple[bool, dict[str, Any]]:
        clock[0] += 25.0
        return evaluate(p)

    make(tmp_path, slow, checkpoint_by_time=1.0, concat_every_n_save=100).run_RW(0, 0, 5)
    # Two minutes and a half are more than one after three points, and again after three more.
    names = sorted(int(p.stem) for p in (tmp_path / "0" / "0").glob("*.parquet"))
    assert names == [*range(3, 22, 3), 22]


def walk_slowly(folder: str, started: Any, go_on: Any) -> None:
    def wait(p: pd.Series) -> tuple[bool, dict[str, Any]]:
        started.set()
        go_on.wait(60)
        return evaluate(p)

    make(Path(folder), wait, n_iterations=1).run_RW(0, 0, 5)


def test_a_particle_belongs_to_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started, go_on = context.Event(), context.Event()
    process = context.Process(target=walk_slowly, args=(str(tmp_path), started, go_on))
    process.start()
    try:
        assert started.wait(60)
        with pytest.raises(LeaseHeld, match=f"in use by process {process.pid} on"):
            make(tmp_path).run_RW(0, 0, 5)
        assert make(tmp_path).run_RW(0, 1, 5).status == "completed"
    finally:
        process.kill()
        process.join()
        process.close()
    assert make(tmp_path).run_RW(0, 0, 5).status == "completed"


def test_a_particle_belongs_to_one_thread(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=walk_slowly, args=(str(tmp_path), started, go_on))
    thread.start()
    assert started.wait(60)
    with pytest.raises(LeaseHeld, match="in use by this process"):
        make(tmp_path).run_RW(0, 0, 5)
    go_on.set()
    thread.join()
    assert make(tmp_path).run_RW(0, 0, 5).status == "completed"


def test_particles_in_threads_count_their_aims_together(tmp_path: Path) -> None:
    table = ranges_of(3)
    aim = {"g1": float(table["min"]["g1"] + 0.5 * (table["max"]["g1"] - table["min"]["g1"]))}
    ends: dict[int, Any] = {}

    def explore(particle: int) -> None:
        walk = make(tmp_path, aim_params=aim, stop_n_inside_with_aim_params=1000)
        ends[particle] = walk.run_RW(0, particle, particle)

    threads = [threading.Thread(target=explore, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(end.inside for end in ends.values())
    flags = [p.name for p in (tmp_path / "0").glob("aim_params_successful_model_*")]
    assert flags == [f"aim_params_successful_model_{total}"]
