"""Results survive as bytes, exactly, and a hostile stream is only ever refused."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.evaluation import FeatureEvaluator


def written(results: Any) -> bytes:
    stream = io.BytesIO()
    FeatureEvaluator.write_results(stream, results)
    return stream.getvalue()


def back(results: Any) -> Any:
    return FeatureEvaluator.read_results(io.BytesIO(written(results)))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (np.ndarray, np.generic)):
        if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return np.asarray(a).tobytes() == np.asarray(b).tobytes()
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), arrays
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(trees)
@pytest.mark.fault(7)
def test_anything_storable_comes_back_the_same(results: Any) -> None:
    assert same(results, back(results))


def test_special_values() -> None:
    results = {
        "$dict": {"$array": 0, "": [(), {}, []]},
        "big": [10**400, -(10**400), 2**53, 2**53 + 1, -(2**63)],
        "floats": [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1],
        "complex": complex(math.nan, -math.inf),
        "scalars": (np.float32(0.1), np.int8(-3), np.bool_(True), np.complex64(1j), np.str_("x")),
        "bfloat16": np.array([1.5, np.nan], dtype=ml_dtypes.bfloat16),
        "float8": np.array([1.5], dtype=ml_dtypes.float8_e4m3fn),
        "scalar bfloat16": ml_dtypes.bfloat16(2.5),
        "order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "endian": np.arange(3, dtype=">f8"),
        "strided": np.arange(10)[::3],
        "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        "unicode": "\ud800 \u20ac \x00",
    }
    assert same(results, back(results))
    assert back(results)["order"].flags.f_contiguous


def test_jax_arrays_come_back_as_numpy_and_keys_as_keys() -> None:
    with jax.enable_x64(True):
        double = jnp.linspace(0, 1, 5)
    found = back({"x": double, "b": jnp.ones(2, jnp.bfloat16), "key": jax.random.key(5)})
    assert isinstance(found["x"], np.ndarray)
    np.testing.assert_array_equal(found["x"], np.asarray(double))
    assert found["b"].dtype == ml_dtypes.bfloat16
    assert jax.random.key_data(found["key"]).tolist() == [0, 5]


def test_writing_is_deterministic_and_arrays_are_writable() -> None:
    results = {"a": np.arange(4.0), "b": (1, 2)}
    assert written(results) == written(results)
    back(results)["a"][0] = 7.0


class _Evil:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


loop: list = []
loop.append({"self": loop})
deep: Any = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("results", "path"),
    [
        ({"a": [1, {"b": _Evil()}]}, r"\['a'\]\[1\]\['b'\] is a _Evil"),
        ({"f": print}, r"\['f'\]"),
        ({1: 2}, "the key 1"),
        ({"s": {1, 2}}, "is a set"),
        ({"b": b"x"}, "is a bytes"),
        ([np.array([1, None])], r"\[0\] is a ndarray that holds Python objects"),
        (np.ma.masked_array([1.0], [True]), "itself is a MaskedArray"),
        (np.zeros(2, dtype=[("a", object)]), "holds Python objects"),
        (loop, "contains itself"),
        (deep, "nested too deeply"),
    ],
)
@pytest.mark.fault(7)
def test_what_cannot_be_stored_is_named(results: Any, path: str) -> None:
    with pytest.raises(ResultNotStorable, match=path):
        written(results)


def archive(
    document: Any, arrays: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        file.writestr(
            "structure.json", document if isinstance(document, str) else json.dumps(document)
        )
        for name, content in arrays.items():
            file.writestr(name, content)
    return stream.getvalue()


def one_array(header: str, data: bytes = b"", **node: object) -> bytes:
    """Return an archive of one array whose npy header is given as text."""
    text = header.ljust(117) + "\n"
    npy = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data
    return archive(document({**({} if node else {"$array": 0}), **node}), {"0.npy": npy})


def described(dtype: str, shape: str) -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


def document(tree: Any) -> dict:
    return {"format": "ax_jax_runners.results/1", "results": tree}


FORMAT = '{"format": "ax_jax_runners.results/1", "results": '
FLIPPED = bytearray(written({"a": np.arange(100.0)}))
FLIPPED[len(FLIPPED) // 2] ^= 1
HOSTILE = {
    "empty": b"",
    "text": b"not a zip",
    "pickle": pickle.dumps(_Evil()),
    "cut": written({"a": np.arange(100.0)})[:-30],
    "flipped": bytes(FLIPPED),
    "other format": archive({"format": "other", "results": 1}, {}),
    "no json": archive("{", {}),
    "nan": archive(FORMAT + "NaN}", {}),
    "unknown kind": archive(document({"$object": "os.system"}), {}),
    "two kinds": archive(document({"$dict": {}, "$array": 0}), {}),
    "no kind": archive(document({"a": 1}), {}),
    "missing array": archive(document({"$array": 0}), {}),
    "path": archive(document({"$array": "../../etc/passwd"}), {}),
    "bad dict": archive(document({"$dict": [1]}), {}),
    "bad key": one_array(
        described("<u4", "(1,)"), b"\0" * 4, **{"$key": 0, "implementation": "evil"}
    ),
    "object array": one_array(described("|O", "(1,)"), pickle.dumps([_Evil()])),
    "huge shape": one_array(described("<f8", "(1000000000000,)")),
    "negative shape": one_array(described("<f8", "(-1, -1)"), b"\0" * 8),
    "code header": one_array("print('executed')"),
    "bomb": archive(document({"$array": 0}), {"0.npy": b"\0" * 10**6}, zipfile.ZIP_DEFLATED),
    "dtype": one_array(described("<u2", "(1,)"), b"\0\0", **{"$array": 0, "dtype": "finfo"}),
    "deep": archive(FORMAT + "[" * 10**5 + "]" * 10**5 + "}", {}),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.fault(8)
def test_hostile_streams_are_refused(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArtifactCorrupt, match="holds no readable results"):
        FeatureEvaluator.read_results(io.BytesIO(HOSTILE[case]))
    assert "executed" not in capsys.readouterr().out
