"""Archives of walks that are ended, killed, damaged, full, or opened twice: no row is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ax_jax_runners.errors import ArtifactCorrupt, LeaseHeld, LeaseLost, SchemaTooNew, StoreFull
from ax_jax_runners.exploration.archive import ArchiveView, Checkpoint, WalkArchive
from tests.faults.archived_walks import IDENTITY, INTERVAL, Walkers, assert_rows, go_on, run

UNTIL = 5 * INTERVAL


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and waiting for the disk takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def walkers() -> Iterator[Walkers]:
    started = Walkers()
    yield started
    started.close()


def open_again(folder: Path, **options: Any) -> WalkArchive:
    return WalkArchive.open(folder, identity=IDENTITY, **{"concat_every": 2, **options})


@pytest.mark.fault(1, 16)
def test_a_walk_that_ends_before_any_operation_on_the_disk_loses_one_interval_at_most(
    walkers: Walkers, tmp_path: Path
) -> None:
    found = walkers.ask("end everywhere", str(tmp_path))
    assert found["failed"] == []
    # Five checkpoints of four files, and three merges of three.
    assert found["ended"] > 5 * 4 * 3 + 3 * 3 * 3


@pytest.mark.fault(1, 16)
def test_a_walk_that_is_killed_at_random_moments_comes_to_the_same_end(
    walkers: Walkers, tmp_path: Path
) -> None:
    folder = tmp_path / "walk"
    moments = random.Random(0)
    for _ in range(20):
        pid = walkers.walk(folder, 10**6)
        time.sleep(moments.uniform(0.0, 0.4))
        walkers.kill(pid)
    with open_again(folder) as archive:
        latest = archive.latest
        assert latest is not None
        assert latest.iteration > INTERVAL
        end = latest.iteration + 3 * INTERVAL
        go_on(archive, end)
        assert_rows(archive.view.arrays(), end)


@pytest.mark.fault(12)
@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("name", ["fsync", "replace", "open"])
def test_a_full_disk_leaves_the_checkpoint_before_and_the_rows_can_be_saved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = getattr(os, name)
    calls, fail_at = 0, 0

    def sometimes(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        writes = name != "open" or arguments[1] & os.O_CREAT
        calls += bool(writes)
        if writes and calls == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    refused = 0
    with open_again(tmp_path / "walk") as archive:
        monkeypatch.setattr(os, name, sometimes)
        for interval in range(12):
            end = (interval + 1) * INTERVAL
            # Another call of each save; those behind its manifest belong to merges.
            calls, fail_at = 0, interval + 1
            before = archive.latest
            try:
                go_on(archive, end)
            except StoreFull:
                refused += 1
                latest = archive.latest
                assert (latest and latest.iteration) == (before and before.iteration)
                fail_at = 0
                if refused % 2:
                    go_on(archive, end)
            fail_at = 0
            go_on(archive, end)
            assert_rows(archive.view.arrays(), end)
    assert refused >= 3
    with open_again(tmp_path / "walk") as archive:
        assert_rows(archive.view.arrays(), 12 * INTERVAL)


def test_a_disk_that_is_really_full_is_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_again(tmp_path) as archive:
        go_on(archive, INTERVAL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                go_on(archive, 2 * INTERVAL)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".partial")]
        go_on(archive, 2 * INTERVAL)
        assert_rows(archive.view.arrays(), 2 * INTERVAL)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def link(path: Path) -> None:
    # Its content is right, and yet another file is not to be read.
    target = path.parent.parent / path.name
    path.rename(target)
    path.symlink_to(target)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [truncate, flip, empty, Path.unlink, link, folder_instead]


@pytest.fixture
def archived(tmp_path: Path, quick_disk: None) -> Path:
    """Five checkpoints, of which the first four are merged into one shard."""
    run(tmp_path / "walk", UNTIL)
    return tmp_path / "walk"


def named(folder: Path, what: str) -> Path:
    shards = WalkArchive.read(folder).shards
    names = {
        "the manifest": "manifest.json",
        "the manifest before": "manifest.previous.json",
        "the newest shard": shards[-1].name,
        "a merged shard": shards[0].name,
        "the newest state": shards[-1].state.name,
        "the state behind a merged shard": shards[0].state.name,
    }
    return folder / names[what]


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["the newest shard", "a merged shard"])
def test_a_damaged_shard_is_named_kept_and_computed_again(
    archived: Path, damage: Callable[[Path], None], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = named(archived, what)
    damage(path)
    view = WalkArchive.read(archived)
    for read in (view.table, view.to_pandas, view.to_xarray, view.dataset):
        with pytest.raises(ArtifactCorrupt, match=path.name):
            read()
    with caplog.at_level(logging.WARNING), open_again(archived) as archive:
        assert path.name in caplog.text
        reached = 0 if archive.latest is None else archive.latest.iteration
        assert reached == (0 if what == "a merged shard" else 4 * INTERVAL)
        kept = archived / f"{path.name}.damaged"
        assert os.path.lexists(kept) == (damage is not Path.unlink)
        if what == "a merged shard":
            assert [p for p in archived.iterdir() if p.name.endswith(".parquet.dropped")]
        go_on(archive, UNTIL)
        assert_rows(archive.view.arrays(), UNTIL)
    caplog.clear()
    with caplog.at_level(logging.WARNING), open_again(archived) as archive:
        assert_rows(archive.view.arrays(), UNTIL)
    assert caplog.text == ""
    assert os.path.lexists(kept) == (damage is not Path.unlink)


@pytest.mark.fault(15)
@pytest.mark.usefixtures("quick_disk")
def test_rows_before_a_damaged_shard_are_kept(tmp_path: Path) -> None:
    with open_again(tmp_path, concat_every=60) as archive:
        go_on(archive, UNTIL)
        third = archive.shards[2]
    truncate(tmp_path / third.name)
    with open_again(tmp_path, concat_every=60) as archive:
        latest = archive.latest
        assert latest is not None
        assert latest.iteration == 2 * INTERVAL
        assert dict(archive.status) == {"status": "running", "iteration": 2 * INTERVAL}
        assert_rows(archive.view.arrays(), 2 * INTERVAL)
        go_on(archive, UNTIL)
        assert_rows(archive.view.arrays(), UNTIL)


@pytest.mark.fault(15)
@pytest.mark.usefixtures("quick_disk")
def test_a_damaged_shard_that_was_just_merged_is_read_from_its_parts(tmp_path: Path) -> None:
    run(tmp_path, 4 * INTERVAL)
    (merged,) = WalkArchive.read(tmp_path).shards
    flip(tmp_path / merged.name)
    with open_again(tmp_path) as archive:
        latest = archive.latest
        assert latest is not None
        assert latest.iteration == 4 * INTERVAL
        assert_rows(archive.view.arrays(), 4 * INTERVAL)


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["the newest state", "the manifest"])
def test_a_damaged_state_or_manifest_costs_one_interval(
    archived: Path, damage: Callable[[Path], None], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = named(archived, what)
    damage(path)
    with pytest.raises(ArtifactCorrupt, match=path.name):
        _ = WalkArchive.read(archived).latest
    with caplog.at_level(logging.WARNING), open_again(archived) as archive:
        assert path.name in caplog.text
        latest = archive.latest
        assert latest is not None
        assert latest.iteration == 4 * INTERVAL
        go_on(archive, UNTIL)
        assert_rows(archive.view.arrays(), UNTIL)


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["the manifest before", "the state behind a merged shard"])
def test_damage_behind_the_newest_checkpoint_does_not_matter_to_it(
    archived: Path, damage: Callable[[Path], None], what: str
) -> None:
    damage(named(archived, what))
    with open_again(archived) as archive:
        latest = archive.latest
        assert latest is not None
        assert latest.iteration == UNTIL
        go_on(archive, 2 * UNTIL)
        assert_rows(archive.view.arrays(), 2 * UNTIL)


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", DAMAGES)
def test_without_any_manifest_nothing_is_removed(
    archived: Path, damage: Callable[[Path], None]
) -> None:
    for what in ("the manifest before", "the manifest"):
        damage(named(archived, what))
    before = sorted(path.name for path in archived.iterdir())
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.json"):
        WalkArchive.read(archived)
    with pytest.raises(ArtifactCorrupt, match="restore a manifest from a copy"):
        open_again(archived)
    assert sorted(path.name for path in archived.iterdir()) == before


@pytest.mark.fault(10, 15)
def test_a_manifest_cannot_name_files_elsewhere(archived: Path) -> None:
    outside = archived.parent / "shard-000000000001-000000000016-0123456789abcdef.parquet"
    outside.write_bytes(named(archived, "a merged shard").read_bytes())
    manifest = archived / "manifest.json"
    body = json.loads(manifest.read_bytes())["manifest"]
    body["shards"][0]["name"] = f"../{outside.name}"
    seal(manifest, body)
    with pytest.raises(ArtifactCorrupt, match="no name of a shard"):
        WalkArchive.read(archived)


@pytest.mark.fault(19)
def test_a_newer_version_is_left_alone(archived: Path) -> None:
    manifest = archived / "manifest.json"
    body = json.loads(manifest.read_bytes())["manifest"]
    seal(manifest, {**body, "version": 2, "something": "new"})
    before = {path.name: path.read_bytes() for path in archived.iterdir()}
    for read in (WalkArchive.read, open_again):
        with pytest.raises(SchemaTooNew, match="version 2"):
            read(archived)
    assert {path.name: path.read_bytes() for path in archived.iterdir()} == before


def seal(path: Path, body: dict[str, Any]) -> None:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps({"digest": digest, "manifest": body}))


@pytest.mark.fault(16)
def test_what_a_killed_writer_left_is_swept_by_the_next_writer_only(archived: Path) -> None:
    orphans = [
        archived / "shard-000000000021-000000000024-0123456789abcdef.parquet",
        archived / "state-000000000024-0123456789abcdef.npz",
        archived / ".partial-host-1-0123456789abcdef",
    ]
    strangers = [archived / "notes.txt", archived / "shard.parquet"]
    for path in [*orphans, *strangers]:
        path.write_bytes(b"half")
    view = WalkArchive.read(archived)
    assert_rows(view.arrays(), UNTIL)
    assert view.dataset().count_rows() == view.rows
    assert all(path.exists() for path in orphans)
    open_again(archived).close()
    assert not any(path.exists() for path in orphans)
    assert all(path.exists() for path in strangers)


@pytest.mark.fault(10)
def test_links_with_names_of_orphans_are_removed_but_not_followed(archived: Path) -> None:
    target = archived.parent / "precious"
    target.write_text("precious")
    link = archived / "shard-000000000021-000000000024-0123456789abcdef.parquet"
    link.symlink_to(target)
    open_again(archived).close()
    assert not os.path.lexists(link)
    assert target.read_text() == "precious"


@pytest.mark.fault(10)
def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "writer.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactCorrupt, match="symbolic link"):
        open_again(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def living_writer(walkers: Walkers, tmp_path: Path) -> tuple[int, Path]:
    """The process id and the folder of a walk that has made checkpoints and goes on."""
    folder = tmp_path / "walk"
    pid = walkers.walk(folder, 10**6)
    deadline = time.monotonic() + 60
    while not (folder / "manifest.json").exists() or not WalkArchive.read(folder).iteration:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pid, folder


@pytest.mark.fault(13)
def test_a_second_writer_is_refused_until_the_first_is_dead(
    walkers: Walkers, living_writer: tuple[int, Path]
) -> None:
    pid, folder = living_writer
    with pytest.raises(LeaseHeld, match=f"process {pid} on"):
        open_again(folder)
    walkers.kill(pid)
    with open_again(folder) as archive:
        latest = archive.latest
        assert latest is not None
        assert_rows(archive.view.arrays(), latest.iteration)


def rows_in_files(view: ArchiveView) -> int:
    """Count them; a file that is merged away just now is looked for again, in the next one."""
    while True:
        with suppress(FileNotFoundError):
            return view.dataset().count_rows()


def test_a_reader_beside_a_writer_sees_the_walk_so_far(
    walkers: Walkers, living_writer: tuple[int, Path]
) -> None:
    pid, folder = living_writer
    views: list[ArchiveView] = []
    deadline = time.monotonic() + 120.0

    def is_kept(view: ArchiveView) -> bool:
        return any((folder / shard.name).exists() for shard in view.shards)

    while len(views) < 30 or (is_kept(views[0]) and time.monotonic() < deadline):
        views.append(WalkArchive.read(folder))
        view = views[len(views) // 2]
        assert_rows(view.arrays(), view.iteration)
        latest = view.latest
        assert latest is not None
        assert latest.iteration >= view.iteration
        assert rows_in_files(view) >= view.rows
    walkers.kill(pid)
    assert views[-1].rows > views[0].rows
    # Merged away long ago, and still to be read.
    assert not is_kept(views[0])


@pytest.mark.fault(13)
@pytest.mark.usefixtures("quick_disk")
def test_a_writer_that_lost_its_lock_writes_no_more(tmp_path: Path) -> None:
    with open_again(tmp_path) as first:
        go_on(first, INTERVAL)
        (tmp_path / "writer.lock").unlink()
        with open_again(tmp_path) as second:
            with pytest.raises(LeaseLost, match="taken over"):
                go_on(first, 2 * INTERVAL)
            first.close()
            go_on(second, 2 * INTERVAL)
            assert_rows(second.view.arrays(), 2 * INTERVAL)


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({}, True),
        ({"pid": 2**22 + 1}, False),
        ({"started": 1}, False),
        ({"machine": "0-0-0/pid:[1]"}, False),
        ({"host": "elsewhere"}, True),
        ({"host": "elsewhere", "silent": True}, False),
        ({"silent": True}, True),
    ],
    ids=["alive", "dead", "number used again", "before a boot", "elsewhere", "silent", "busy"],
)
def test_a_lock_is_held_while_its_owner_may_be_alive(
    tmp_path: Path, change: dict[str, Any], held: bool
) -> None:
    open_again(tmp_path).close()
    lock = tmp_path / "writer.lock"
    with open_again(tmp_path):
        about = json.loads(lock.read_bytes())
    change = dict(change)
    silent = change.pop("silent", False)
    lock.write_text(json.dumps({**about, **change}))
    if silent:
        os.utime(lock, (0, 0))
    if held:
        with pytest.raises(LeaseHeld, match="remove writer.lock"):
            open_again(tmp_path)
    else:
        open_again(tmp_path).close()
        assert not lock.exists()


@pytest.mark.fault(13, 16)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": null}'])
def test_a_lock_whose_writer_died_within_writing_it_holds_nobody(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "writer.lock").write_bytes(content)
    with open_again(tmp_path) as archive:
        go_on(archive, INTERVAL)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".json",
        ".json",
        ".npz",
        ".parquet",
    ]


@pytest.mark.usefixtures("quick_disk")
def test_a_save_that_fails_for_another_reason_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with open_again(tmp_path) as archive:
        go_on(archive, INTERVAL)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            with pytest.raises(PermissionError):
                archive.save({}, Checkpoint(INTERVAL + 1, {"x": np.zeros(1)}, {}))
        assert archive.status["iteration"] == INTERVAL
        go_on(archive, UNTIL)
        assert_rows(archive.view.arrays(), UNTIL)
