"""Results as bytes: JSON for the structure, npy for the arrays, in one uncompressed zip.

Kept exactly: nested dicts with string keys, lists, tuples, None, bools, ints of any size, floats
(NaN and infinities too), complex numbers, strings, numpy arrays and scalars of every dtype that
holds no Python object, bfloat16 and the other short floats among them. JAX arrays come back as
numpy arrays, typed PRNG keys as such. Reading never runs code and never allocates more than the
stream holds.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import IO, Any, NoReturn

import ml_dtypes
import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable

_FORMAT = "ax_jax_runners.results/1"
_STRUCTURE = "structure.json"
#: Integers up to here are exact in every JSON reader.
_PLAIN_INT = 2**53


def _refuse(path: str, value: Any, why: str) -> NoReturn:
    raise ResultNotStorable(
        f"Result {path or 'itself'} is a {type(value).__name__} {why}; store dicts with string "
        f"keys, lists, tuples, scalars, strings and arrays."
    )


class _Writer:
    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._open: set[int] = set()

    def array(self, array: np.ndarray, path: str, kind: str) -> dict[str, Any]:
        if array.dtype.hasobject:
            _refuse(path, array, "that holds Python objects")
        node: dict[str, Any] = {kind: len(self.arrays)}
        if array.dtype.kind == "V" and array.dtype.fields is None:
            # bfloat16, float8 and the like: npy has no name for them.
            name = array.dtype.name
            if not hasattr(ml_dtypes, name):
                _refuse(path, array, f"of the dtype {array.dtype}")
            node["dtype"] = name
            array = array.view(f"u{array.dtype.itemsize}")
        self.arrays.append(array)
        return node

    def node(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return value if abs(value) <= _PLAIN_INT else {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if kind is complex:
            return {"$complex": [self.node(value.real, path), self.node(value.imag, path)]}
        if kind is np.ndarray:
            return self.array(value, path, "$array")
        if isinstance(value, np.generic):
            return self.array(np.asarray(value), path, "$scalar")
        if kind in (list, tuple) or isinstance(value, dict):
            return self.container(value, path)
        return self.jax_array(value, path)

    def container(self, value: Any, path: str) -> Any:
        if id(value) in self._open:
            _refuse(path, value, "that contains itself")
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                wrong = [key for key in value if type(key) is not str]
                if wrong:
                    _refuse(path, value, f"with the key {wrong[0]!r}")
                return {"$dict": {k: self.node(v, f"{path}[{k!r}]") for k, v in value.items()}}
            items = [self.node(item, f"{path}[{i}]") for i, item in enumerate(value)]
            return items if type(value) is list else {"$tuple": items}
        finally:
            self._open.discard(id(value))

    def jax_array(self, value: Any, path: str) -> Any:
        import jax
        import jax.numpy as jnp
        from jax.core import Tracer

        if not isinstance(value, jax.Array) or isinstance(value, Tracer):
            _refuse(path, value, "that has no exact place in JSON or npy")
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            node = self.array(np.asarray(jax.random.key_data(value)), path, "$key")
            return {**node, "implementation": str(jax.random.key_impl(value))}
        return self.array(np.asarray(value), path, "$array")


def write_results(stream: IO[bytes], results: Any) -> None:
    """Write results to a byte stream, deterministically.

    Args:
        stream: open for writing bytes; need not be seekable.
        results: any nesting of what the module's docstring lists.

    Raises:
        ResultNotStorable: a value of another kind, named by its path.
    """
    writer = _Writer()
    try:
        tree = writer.node(results, "")
        text = json.dumps({"format": _FORMAT, "results": tree}, allow_nan=False)
        structure = text.encode("ascii")
    except RecursionError:
        raise ResultNotStorable(
            "Result itself is nested too deeply; flatten it before it is stored."
        ) from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_STRUCTURE), structure)
        for i, array in enumerate(writer.arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{i}.npy"), content.getvalue())
    stream.write(buffer.getvalue())


def _array_from(content: bytes) -> np.ndarray:
    """Read one npy file whose header claims no more than the file holds."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    data = content[file.tell() :]
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("an array's header does not fit its data")
    if len(data) == 0:
        return np.empty(shape, dtype, order="F" if fortran else "C")
    array = np.frombuffer(data, dtype=dtype).copy()
    return array.reshape(shape, order="F" if fortran else "C")


class _Reader:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def array(self, node: dict[str, Any], kind: str) -> np.ndarray:
        array = _array_from(self.archive.read(f"{int(node[kind])}.npy"))
        if "dtype" in node:
            array = array.view(np.dtype(getattr(ml_dtypes, node["dtype"])))
        return array

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        [kind] = [key for key in node if key.startswith("$")]
        content = node[kind]
        if kind == "$dict":
            return {key: self.value(item) for key, item in content.items()}
        if kind == "$tuple":
            return tuple(self.value(item) for item in content)
        if kind == "$int":
            return int(content, 16)
        if kind == "$float":
            return float(content)
        if kind == "$complex":
            real, imag = (float(self.value(part)) for part in content)
            return complex(real, imag)
        if kind == "$array":
            return self.array(node, kind)
        if kind == "$scalar":
            return self.array(node, kind)[()]
        if kind == "$key":
            import jax
            import jax.numpy as jnp

            data = jnp.asarray(self.array(node, kind))
            return jax.random.wrap_key_data(data, impl=node["implementation"])
        raise ValueError(f"an entry of the unknown kind {kind!r}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_results(stream: IO[bytes]) -> Any:
    """Read results from a byte stream, to its end.

    Raises:
        ArtifactCorrupt: the stream was not written by :func:`write_results`, or is damaged.
    """
    content = stream.read()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                # Written uncompressed, so that nothing unpacks to more than the stream holds.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                    raise ValueError(f"{entry.filename!r} is compressed")
            text = archive.read(_STRUCTURE)
            document = json.loads(text, parse_constant=_no_constant)
            if not isinstance(document, dict) or document.get("format") != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT}")
            return _Reader(archive).value(document["results"])
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        OverflowError,
        EOFError,
        SyntaxError,
        NotImplementedError,
        RuntimeError,
        RecursionError,
        MemoryError,
        zipfile.BadZipFile,
    ) as error:
        raise ArtifactCorrupt(
            f"The stream of {len(content)} bytes holds no readable results ({error}); write it "
            f"with write_results, or restore it from a copy."
        ) from error
