"""Frozen states and arrays that are flipped, cut, exchanged, planted, deleted or do not fit."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import resource
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from sqlalchemy import NullPool, create_engine, inspect, text

from ax_jax_runners import Campaign, Store
from ax_jax_runners.errors import ArtifactCorrupt, CampaignError
from ax_jax_runners.files import FileStore
from tests.faults.long_campaigns import (
    BEFORE_A_SLICE,
    SLICES,
    LongTrial,
    PowerCut,
    cut_at,
    long_campaign,
    outcome_of,
    results_of,
)
from tests.faults.long_tasks import times_done


@pytest.fixture
def power() -> Iterator[list[Callable[[Any], None]]]:
    yield BEFORE_A_SLICE
    BEFORE_A_SLICE.clear()


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A trial of which half is done, and the outcome of a straight run."""
    folder = tmp_path_factory.mktemp("undamaged")
    straight = outcome_of(LongTrial(folder / "straight").run()[1])
    half = LongTrial(folder / "half")
    half.run(SLICES // 2)
    return half.folder, straight


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)


def cut(path: Path, place: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(place * len(data))])


def go_on(undamaged: tuple[Path, Any], folder: Path, damage: Callable[[LongTrial], Any]) -> int:
    """Damage a copy of the half trial and run it to its end; return how often a slice came again.

    The log of slices is part of the task, so that the copy takes the place of the original.
    """
    half, straight = undamaged
    whole = folder / "whole"
    shutil.copytree(half, whole)
    trial = LongTrial(half)
    try:
        damage(trial)
        _, found = trial.run()
        assert outcome_of(found) == straight
        counts = times_done(trial.log)[1.5]
        assert sorted(counts) == list(range(1, SLICES + 1))
        return sum(counts.values()) - SLICES
    finally:
        shutil.rmtree(half)
        shutil.copytree(whole, half)


@pytest.mark.fault(15)
def test_an_undamaged_state_is_taken_up(undamaged: tuple[Path, Any], tmp_path: Path) -> None:
    assert go_on(undamaged, tmp_path, lambda trial: None) == 0


@pytest.mark.fault(15)
@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("damage", [flip, cut], ids=["flip", "cut"])
def test_a_damaged_state_falls_back_to_the_one_before(
    undamaged: tuple[Path, Any], tmp_path: Path, suffix: str, damage: Any
) -> None:
    for part in range(16):

        def strike(trial: LongTrial, part: int = part) -> None:
            manifests = [path for path in trial.state_files if path.suffix == ".json"]
            assert len(manifests) == 2
            arrays = json.loads(manifests[-1].read_text())["arrays"]
            newest = {".json": manifests[-1], ".npz": manifests[-1].with_name(f"{arrays}.npz")}
            damage(newest[suffix], part / 16)

        assert go_on(undamaged, tmp_path / str(part), strike) == 1


def _both(trial: LongTrial) -> None:
    for path in trial.state_files:
        flip(path, 0.5)


def _exchanged(trial: LongTrial) -> None:
    first, second = (path for path in trial.state_files if path.suffix == ".npz")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def _emptied(trial: LongTrial) -> None:
    for path in trial.state_files:
        path.unlink()


def _deleted(trial: LongTrial) -> None:
    shutil.rmtree(trial.kept / "frozen")


def _folders(trial: LongTrial) -> None:
    for path in trial.state_files:
        path.unlink()
        path.mkdir()


@pytest.mark.fault(15)
@pytest.mark.parametrize("damage", [_both, _exchanged, _emptied, _deleted, _folders])
def test_without_any_whole_state_the_trial_begins_again(
    undamaged: tuple[Path, Any], tmp_path: Path, damage: Any
) -> None:
    assert go_on(undamaged, tmp_path, damage) == SLICES // 2


@pytest.mark.fault(15, 21)
def test_a_campaign_goes_on_from_damaged_states_to_the_same_results(
    store: Store, tmp_path: Path, power: list[Callable[[Any], None]]
) -> None:
    straight = results_of(long_campaign(store, tmp_path, "straight").run(4))
    campaign = long_campaign(store, tmp_path)
    frozen = tmp_path / "artifacts" / "frozen"
    for at, damage in ((3, flip), (5, cut)):
        power.append(cut_at(at))
        with pytest.raises(PowerCut):
            campaign.run(4)
        power.clear()
        manifests = sorted(frozen.rglob("*.json"), key=lambda path: path.name)
        assert manifests
        damage(manifests[-1], 0.4)
        campaign = long_campaign(store, tmp_path)
    campaign.run(4)
    loaded = Campaign.load("long", store=store)
    assert results_of(campaign) == results_of(loaded) == straight
    for _, _, outcome in straight.values():
        (digest,) = set(outcome[2].values())
        assert store.files is not None
        store.files.read_arrays(digest)
    # Results are recorded, so that no state is needed any more.
    assert not any(frozen.iterdir())
    counts = Counter(n for c in times_done(tmp_path / "long.slices").values() for n in c.elements())
    # Each cut costs the slice in flight, each damage one more, of one trial.
    assert sum(counts.values()) <= 4 * SLICES + 4


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault(12)
def test_a_full_disk_keeps_the_last_state_and_the_trial_goes_on(
    undamaged: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fill_up(trial: LongTrial) -> None:
        before = {path: path.read_bytes() for path in trial.state_files}
        with largest_file(512):
            _, found = trial.run(2)
        assert outcome_of(found).step == SLICES // 2 + 2
        assert {path: path.read_bytes() for path in trial.state_files} == before
        assert not list(trial.kept.rglob(".partial-*"))
        assert any("cannot be frozen" in message for message in caplog.messages)

    # With room again, what could not be frozen is done again.
    assert go_on(undamaged, tmp_path, fill_up) == 2


@pytest.mark.fault(12)
def test_arrays_that_find_no_room_fail_their_trial_until_there_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = 3_000_000
    real = FileStore.write_arrays

    def write_large(self: FileStore, arrays: dict[str, Any]) -> Any:
        return real(self, {**arrays, "large": np.zeros(large, np.int8)})

    monkeypatch.setattr(FileStore, "write_arrays", write_large)
    campaign = long_campaign(store, tmp_path)
    campaign.run(2)
    # Where nothing but failures came of a run, it says so.
    with largest_file(large), contextlib.suppress(CampaignError):
        campaign.run(3)
    last = campaign.experiment.trials[2]
    assert last.status is TrialStatus.FAILED
    assert "could not be kept" in (last.status_reason or "")
    artifacts = tmp_path / "artifacts"
    assert len(list(artifacts.glob("??/*"))) == 2
    assert not list(artifacts.rglob(".partial-*"))
    campaign.retry_failed()
    assert campaign.experiment.trials[2].status is TrialStatus.COMPLETED
    assert Campaign.load("long", store=store).to_frame().equals(campaign.to_frame())
    assert len(list(artifacts.glob("??/*"))) == 3


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def object_archive(canary: Path) -> bytes:
    """An npz file as one of ours, with an array of objects in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member = io.BytesIO()
        np.save(member, np.array([Canary(canary)], dtype=object), allow_pickle=True)
        for name in (".arms['total'].npy", "total.npy"):
            archive.writestr(name, member.getvalue())
        archive.writestr("__types__.json", "{}")
    return stream.getvalue()


@pytest.mark.fault(8)
@pytest.mark.parametrize("form", ["npz", "pickle"])
def test_planted_arrays_are_refused(tmp_path: Path, form: str) -> None:
    canary = tmp_path / "canary"
    data = object_archive(canary) if form == "npz" else pickle.dumps(Canary(canary))
    files = FileStore(tmp_path / "artifacts")
    digest = hashlib.sha256(data).hexdigest()
    path = files.path(digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(ArtifactCorrupt):
        files.read_arrays(digest)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))  # noqa: S301
    assert canary.exists(), "the canary sings when it is let"


@pytest.mark.fault(8)
@pytest.mark.parametrize("form", ["npz", "pickle"])
def test_a_planted_state_is_passed_over(
    undamaged: tuple[Path, Any], tmp_path: Path, form: str
) -> None:
    canary = tmp_path / "canary"

    def plant(trial: LongTrial) -> None:
        """Write a generation with all its digests right, by somebody who knows the format."""
        data = object_archive(canary) if form == "npz" else pickle.dumps(Canary(canary))
        newest = [path for path in trial.state_files if path.suffix == ".json"][-1]
        record = json.loads(newest.read_text())
        del record["digest"]
        record["arrays"] = hashlib.sha256(data).hexdigest()
        record["digest"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        newest.with_name(f"{record['arrays']}.npz").write_bytes(data)
        newest.with_name(f"{9:010d}.json").write_text(json.dumps(record))

    assert go_on(undamaged, tmp_path, plant) == 0
    assert not canary.exists()


CRAFTED = (
    '{"__type": "os.mkdir", "value": CANARY, "path": CANARY, "py/object": "os.mkdir", '
    '"py/reduce": [{"py/function": "os.mkdir"}, [CANARY]]}',
    '{"__type": "type", "index": "type", "class": "canary_module.Task", "module": "canary_module", '
    '"task": {"reference": "canary_module:task"}}',
)


@pytest.mark.parametrize(
    "crafted", [CRAFTED[0], pytest.param(CRAFTED[1], marks=pytest.mark.slow)], ids=["call", "type"]
)
@pytest.mark.parametrize(
    "store_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.fault(8)
def test_crafted_records_in_the_database_run_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crafted: str
) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "canary_module.py").write_text(f"import os\nos.mkdir({str(canary)!r})\ntask = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    long_campaign(store, tmp_path).run(2)
    engine = create_engine(store.url, poolclass=NullPool)
    with engine.connect() as connection:
        columns = [
            (table, column["name"])
            for table in inspect(connection).get_table_names()
            for column in inspect(connection).get_columns(table)
            if str(column["type"]).upper() == "TEXT"
        ]
    refused = planted = 0
    for table, column in columns:
        quoted = f'"{table}" SET "{column}"'
        with engine.connect() as connection:
            rows = connection.execute(text(f'SELECT "{column}" FROM "{table}"')).scalars().all()  # noqa: S608
        held = [row for row in rows if isinstance(row, str) and row[:1] in "{["]
        if not held:
            continue
        planted += 1
        change = {"value": crafted.replace("CANARY", json.dumps(str(canary))), "held": held[0]}
        with engine.begin() as connection:
            connection.execute(text(f'UPDATE {quoted} = :value WHERE "{column}" = :held'), change)
        try:
            Campaign.load("long", store=store).to_frame()
        except Exception:
            # Whether and how it is refused depends on the place; that nothing runs does not.
            refused += 1
        with engine.begin() as connection:
            connection.execute(text(f'UPDATE {quoted} = :held WHERE "{column}" = :value'), change)
        assert not canary.exists(), (table, column)
    assert planted >= 5
    assert refused > 0
    assert len(Campaign.load("long", store=store).to_frame()) == 2
