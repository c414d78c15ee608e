"""Named arrays as the bytes of one npz archive, and back.

The bytes depend on the names and values only (fixed time stamps, sorted names, no compression), so
that equal arrays have equal digests. What npz cannot say, such as a typed PRNG key or an
extension type like bfloat16, is said by one JSON member beside the arrays. Nothing is ever
unpickled.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable

_TYPES = "__types__.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def encode_arrays(arrays: Mapping[str, Any]) -> bytes:
    """Return ``arrays`` as the bytes of an npz archive that ``numpy.load`` also reads.

    Args:
        arrays: Arrays by name: NumPy or JAX arrays of numbers, booleans, strings or bytes, typed
            PRNG keys, or scalars.

    Raises:
        ResultNotStorable: A name that no archive can hold, or an array of Python objects.
    """
    types: dict[str, dict[str, str]] = {}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            _check_name(name)
            plain, label = _plain(name, arrays[name])
            if label is not None:
                types[name] = label
            member = io.BytesIO()
            np.lib.format.write_array(member, plain, allow_pickle=False)
            archive.writestr(_member(f"{name}.npy"), member.getvalue())
        archive.writestr(_member(_TYPES), json.dumps(types, sort_keys=True))
    return stream.getvalue()


def decode_arrays(data: bytes) -> dict[str, Any]:
    """Return the arrays that `encode_arrays` wrote, by name, with their types.

    Raises:
        ArtifactCorrupt: The bytes are not such an archive, or hold Python objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            types = json.loads(archive.read(_TYPES))
            names = [n.removesuffix(".npy") for n in archive.namelist() if n != _TYPES]
            return {name: _typed(_read_member(archive, name), types.get(name)) for name in names}
    except Exception as error:  # zipfile, zlib, json, tokenize and NumPy raise of many kinds
        raise ArtifactCorrupt(
            f"The bytes are not an array archive of this package ({error}); "
            "restore the file from a copy or run the trial again."
        ) from error


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(io.BytesIO(member.read()), allow_pickle=False)


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=_EPOCH)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name or "\0" in name or name == _TYPES:
        raise ResultNotStorable(
            f"Array name {name!r} cannot be stored; use a non-empty text without NUL."
        )
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ResultNotStorable(
            f"Array name {name!r} is not valid Unicode ({error.reason}); rename the array."
        ) from error


def _plain(name: str, value: Any) -> tuple[np.ndarray, dict[str, str] | None]:
    """Return a NumPy array that npz can hold, and what else is needed to rebuild ``value``."""
    if _is_typed_key(value):
        jax = import_module("jax")
        implementation = str(jax.random.key_impl(value))
        return np.asarray(jax.random.key_data(value)), {"key": implementation}
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ResultNotStorable(
            f"Array {name!r} holds Python objects; give numbers, booleans or text."
        )
    # Extension types (bfloat16, float8) are read back by NumPy as opaque bytes.
    if array.dtype.isbuiltin == 2 or (array.dtype.kind == "V" and array.dtype.names is None):
        label = {"extension": array.dtype.name, "shape": json.dumps(array.shape)}
        contiguous = np.ascontiguousarray(array).reshape(-1)
        return contiguous.view(f"u{array.dtype.itemsize}"), label
    return array, None


def _typed(array: np.ndarray, label: Mapping[str, str] | None) -> Any:
    if label is None:
        return array
    if "key" in label:
        return import_module("jax").random.wrap_key_data(array, impl=label["key"])
    extension = getattr(import_module("ml_dtypes"), label["extension"])
    return array.view(np.dtype(extension)).reshape(json.loads(label["shape"]))


def _is_typed_key(value: Any) -> bool:
    # A key cannot exist before JAX was imported: files without keys never need JAX.
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(value, jax.Array):
        return False
    return jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
