from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.files import FileStore, write_atomically
from ax_jax_runners.files.arrays import decode_arrays, encode_arrays

KINDS = st.sampled_from(["f4", "f8", "c8", "c16", "i1", "i8", "u2", "?", "U3", "S4"])


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(
            lambda n: "\0" not in n and n.isprintable() and n != "__types__.json"
        ),
        KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_side=4))),
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
@pytest.mark.fault(7)
def test_arrays_come_back_with_their_bits_types_and_shapes(arrays):
    back = decode_arrays(encode_arrays(arrays))
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_keys_and_extension_types_survive(tmp_path: Path):
    keys = jax.random.split(jax.random.key(5), 4)
    store = FileStore(tmp_path)
    stored = store.write_arrays({"keys": keys, "half": jnp.full((2, 0, 3), 1.5, jnp.bfloat16)})
    back = store.read_arrays(stored.sha256)
    assert back["half"].dtype == jnp.bfloat16
    assert back["half"].shape == (2, 0, 3)
    assert back["keys"].dtype == keys.dtype
    np.testing.assert_array_equal(
        jax.vmap(jax.random.normal)(back["keys"]), jax.vmap(jax.random.normal)(keys)
    )


def test_equal_arrays_have_one_file_whatever_their_order(tmp_path: Path):
    store = FileStore(tmp_path)
    first = store.write_arrays({"a": np.arange(3), "b": np.ones(2)})
    inode = store.path(first.sha256).stat().st_ino
    assert store.write_arrays({"b": np.ones(2), "a": np.arange(3)}) == first
    assert store.path(first.sha256).stat().st_ino == inode
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [store.path(first.sha256)]
    with np.load(store.path(first.sha256)) as archive:
        np.testing.assert_array_equal(archive["a"], np.arange(3))


def test_json_and_text_come_back_exactly(tmp_path: Path):
    store = FileStore(tmp_path)
    value = {"x": [0.1, 1e-310, -0.0, 2**70], "é": None, "nested": {"t": True}}
    assert store.read_json(store.write_json(value).sha256) == value
    assert store.read_text(store.write_text("naïve\n").sha256) == "naïve\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", np.ones(2), object()])
@pytest.mark.fault(7)
def test_json_that_is_not_plain_and_finite_is_refused(tmp_path: Path, value):
    with pytest.raises(ResultNotStorable):
        FileStore(tmp_path).write_json({"value": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a\0b", "__types__.json", "\ud800", 3])
def test_names_that_no_archive_holds_are_refused(name):
    with pytest.raises(ResultNotStorable):
        encode_arrays({name: np.ones(1)})


@pytest.mark.fault(8)
def test_objects_are_neither_written_nor_read():
    with pytest.raises(ResultNotStorable, match="'bad'"):
        encode_arrays({"bad": np.array([{}], dtype=object)})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member = io.BytesIO()
        np.lib.format.write_array(member, np.array([print], dtype=object), allow_pickle=True)
        archive.writestr("planted.npy", member.getvalue())
        archive.writestr("__types__.json", "{}")
    with pytest.raises(ArtifactCorrupt):
        decode_arrays(stream.getvalue())


def archive(types: str = "{}", member: bytes = b"", **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as written:
        written.writestr("x.npy", member)
        written.writestr("__types__.json", types)
    return stream.getvalue()


def described(shape: str, code: str = "<f8") -> bytes:
    """The head of an array file that promises such a shape, and nothing after it."""
    head = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()


@pytest.mark.fault(8, 15)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x05\x06" + b"\0" * 18,
        archive("[" * 100_000),
        archive("[]"),
        archive('{"x": 3}', described("()") + b"\0" * 8),
        archive('{"x": {"key": "evil"}}', described("()") + b"\0" * 8),
        archive('{"x": {"extension": "os"}}', described("()") + b"\0" * 8),
        archive(member=b"no array"),
        archive(member=described("(10000000000000000,)")),
        archive(member=described("(-1, -1)")),
        archive(member=described("__import__('os')")),
        archive(member=described("(" * 60)),
        archive(member=described("()", code="|O")),
        archive(member=b"\0" * 1_000, compression=zipfile.ZIP_DEFLATED)[:-150],
    ],
    ids=range(14),
)
def test_bytes_that_are_no_archive_are_refused(data: bytes):
    with pytest.raises(ArtifactCorrupt, match="not an array archive"):
        decode_arrays(data)


@pytest.mark.fault(15)
def test_every_damage_is_noticed_and_writing_again_heals(tmp_path: Path):
    store = FileStore(tmp_path)
    arrays = {"a": np.arange(5.0)}
    stored = store.write_arrays(arrays)
    path = store.path(stored.sha256)
    whole = path.read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 16)):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArtifactCorrupt, match="digest"):
            store.read_arrays(stored.sha256)
        path.write_bytes(whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :])
        with pytest.raises(ArtifactCorrupt, match="digest"):
            store.read_arrays(stored.sha256)
    path.unlink()
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        store.read_arrays(stored.sha256)
    path.write_bytes(whole[:-1] + b"x")
    store.write_arrays(arrays)
    np.testing.assert_array_equal(store.read_arrays(stored.sha256)["a"], arrays["a"])


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "%2e" * 21 + "a", None, 7]
)
@pytest.mark.fault(10)
def test_only_digests_name_files(tmp_path: Path, name):
    with pytest.raises(ArtifactCorrupt, match="64 lower-case"):
        FileStore(tmp_path).path(name)


@pytest.mark.fault(10)
def test_links_are_not_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    store = FileStore(tmp_path / "store")
    stored = store.write_text("public")
    path = store.path(stored.sha256)
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(ArtifactCorrupt, match="symbolic link"):
        store.read_text(stored.sha256)
    with pytest.raises(ArtifactCorrupt, match="symbolic link"):
        store.write_text("public")
    assert outside.read_text() == "secret"


@pytest.mark.fault(16)
def test_a_failed_write_leaves_the_old_content_and_no_temporary(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(16)
def test_a_temporary_of_a_killed_writer_is_swept_and_that_of_a_live_one_kept(tmp_path: Path):
    store = FileStore(tmp_path)
    stored = store.write_text("kept")
    code = (
        "import os, pathlib, sys\n"
        "import ax_jax_runners.files.atomic as atomic\n"
        "atomic.os.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "atomic.write_atomically(pathlib.Path(sys.argv[1]) / 'never', b'half')\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert process.returncode == -9
    mine = tmp_path / (next(tmp_path.glob(".partial-*")).name.rsplit("-", 2)[0])
    mine = tmp_path / f"{mine.name}-{os.getpid()}-0"
    mine.write_bytes(b"being written")
    assert store.sweep() == 1
    assert mine.exists()
    assert store.read_text(stored.sha256) == "kept"
    assert not (tmp_path / "never").exists()
    assert FileStore(tmp_path / "absent").sweep() == 0


def test_the_room_needs_no_jax():
    code = (
        "import sys, ax_jax_runners.files as f\n"
        "f.FileStore('unused')\n"
        "assert not {'jax', 'torch', 'ax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
