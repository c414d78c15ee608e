"""Frozen states in a folder: two generations, whole or not at all, by names that nobody chooses."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ax_jax_runners.errors import ArtifactCorrupt, ConfigurationError, ResultNotStorable
from ax_jax_runners.files import FrozenFolder

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> FrozenFolder:
    return FrozenFolder(tmp_path / "frozen")


def save(folder: FrozenFolder, *generations: int, key: str = KEY) -> None:
    for number in generations:
        folder.save(key, number, {"x": np.arange(4.0) * number}, {"slices": number})


def loaded(folder: FrozenFolder, key: str = KEY) -> list[int]:
    """The generations that are whole, newest first; their arrays and manifests fit together."""
    found = list(folder.load(key))
    for arrays, about in found:
        np.testing.assert_array_equal(arrays["x"], np.arange(4.0) * about["slices"])
    return [about["slices"] for _, about in found]


def names(folder: FrozenFolder) -> list[str]:
    return sorted(path.suffix for path in (folder.folder / KEY).iterdir())


def test_nothing_is_there_before_the_first_write(folder: FrozenFolder) -> None:
    assert (loaded(folder), folder.keys(), folder.sweep()) == ([], [], 0)
    folder.discard(KEY)
    assert not folder.folder.exists()


def test_the_newest_two_generations_are_kept(folder: FrozenFolder) -> None:
    save(folder, 1)
    assert loaded(folder) == [1]
    save(folder, 2, 3, 11)
    assert loaded(folder) == [11, 3]
    assert names(folder) == [".json", ".json", ".npz", ".npz"]


def test_a_generation_that_is_written_again_is_replaced(folder: FrozenFolder) -> None:
    save(folder, 1, 2)
    folder.save(KEY, 2, {"x": np.zeros(2)}, {"again": True})
    ((arrays, about), (_, before)) = folder.load(KEY)
    assert about == {"again": True}
    assert arrays["x"].tolist() == [0.0, 0.0]
    assert before == {"slices": 1}
    assert names(folder) == [".json", ".json", ".npz", ".npz"]


def test_generations_of_equal_arrays_share_a_file(folder: FrozenFolder) -> None:
    for number in (1, 2, 3):
        folder.save(KEY, number, {"x": np.ones(2)}, {"slices": number})
    assert names(folder) == [".json", ".json", ".npz"]
    assert [about["slices"] for _, about in folder.load(KEY)] == [3, 2]


def test_keys_are_apart(folder: FrozenFolder) -> None:
    save(folder, 1)
    save(folder, 5, key=OTHER)
    (folder.folder / "something else").mkdir()
    assert folder.keys() == [KEY, OTHER]
    folder.discard(KEY)
    assert (loaded(folder), loaded(folder, OTHER)) == ([], [5])


def damage_manifest(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": '{"slices": 3}'},
        {"version": 2},
        {"digest": "0" * 64},
        {"arrays": "0" * 64},
        {"arrays": "../../outside"},
        {"arrays": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_manifest_that_was_changed_is_passed_over(
    folder: FrozenFolder, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    save(folder, 1, 2)
    newest = max((folder.folder / KEY).glob("*.json"))
    damage_manifest(newest, **changes)
    assert loaded(folder) == [1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(newest) in caplog.text
    assert caplog.records[0].name.startswith("ax_jax_runners")


@pytest.mark.fault(15)
@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_passed_over(folder: FrozenFolder, content: bytes) -> None:
    save(folder, 1, 2)
    max((folder.folder / KEY).glob("*.json")).write_bytes(content)
    assert loaded(folder) == [1]
    # The next write finds its way, and keeps what is whole.
    save(folder, 3)
    assert loaded(folder)[0] == 3


@pytest.mark.fault(7)
@pytest.mark.parametrize("manifest", [{"x": float("nan")}, {"x": {1}}, {"x": np.ones(1)}])
def test_a_manifest_that_is_not_json_is_refused(folder: FrozenFolder, manifest: Any) -> None:
    save(folder, 1)
    with pytest.raises(ResultNotStorable, match="not plain finite JSON"):
        folder.save(KEY, 2, {"x": np.ones(1)}, manifest)
    assert loaded(folder) == [1]


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "key", ["", "..", "../" * 21 + "a", "/" + "a" * 63, "A" * 64, "a" * 63, "a" * 64 + "\n", None]
)
def test_only_digests_are_keys(folder: FrozenFolder, tmp_path: Path, key: Any) -> None:
    for verb in (
        lambda: folder.save(key, 1, {}, {}),
        lambda: list(folder.load(key)),
        lambda: folder.discard(key),
    ):
        with pytest.raises(ConfigurationError, match="64 lower-case"):
            verb()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(10)
def test_links_lead_nowhere(folder: FrozenFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0000000001.json").write_text("mine")
    (outside / "mine.npz").write_text("mine")
    save(folder, 1)
    (folder.folder / OTHER).symlink_to(outside)
    for verb in (
        lambda: folder.save(OTHER, 1, {"x": np.ones(1)}, {}),
        lambda: list(folder.load(OTHER)),
        lambda: folder.discard(OTHER),
    ):
        with pytest.raises(ArtifactCorrupt, match="symbolic link"):
            verb()
    # Links in place of files are replaced and removed, not followed.
    place = folder.folder / KEY
    for number in (2, 3):
        (place / f"{number:010d}.json").symlink_to(outside / "0000000001.json")
    (place / f"{'c' * 64}.npz").symlink_to(outside / "mine.npz")
    save(folder, 2, 3, 4, 5)
    assert loaded(folder) == [5, 4]
    assert {path.name: path.read_text() for path in outside.iterdir()} == {
        "0000000001.json": "mine",
        "mine.npz": "mine",
    }
