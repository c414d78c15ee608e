"""The metadata file of a saved estimator: plain finite JSON, written and read whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import ArtifactCorrupt, ResultNotStorable
from ax_jax_runners.files.atomic import write_atomically
from ax_jax_runners.files.whole import open_file

METADATA_FILE = "metadata.json"


def plain(value: Any, where: str, *, gaps: bool = False) -> Any:
    """Return a value as plain finite JSON.

    Args:
        value: Mappings with text keys, sequences, NumPy arrays and scalars, numbers, texts, None.
        where: What it is, for the message.
        gaps: Whether numbers that are not finite become null; else they are refused.

    Raises:
        ResultNotStorable: Something that JSON has no place for; the message says where.
    """
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ResultNotStorable(f"{where} has the key {name!r}; keys are texts.")
        return {name: plain(item, f"{where}.{name}", gaps=gaps) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]", gaps=gaps) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufU":
            return plain(array.tolist(), where, gaps=gaps)
    elif isinstance(value, int):
        return int(value)
    elif isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        if gaps:
            return None
        raise ResultNotStorable(f"{where} is {value}; leave out what is not finite.")
    raise ResultNotStorable(
        f"{where} is a {type(value).__name__}, which has no place in JSON; give numbers, texts, "
        "lists and mappings."
    )


def canonical(value: Any) -> bytes:
    """Return JSON bytes that are the same for equal values."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a metadata document but for its artifact record.

    The document holds the digests of the weights' files, so equal digests mean equal estimators.
    """
    content = {name: value for name, value in document.items() if name != "artifact"}
    return hashlib.sha256(canonical(content)).hexdigest()


def write_document(directory: Path, document: Mapping[str, Any]) -> None:
    """Write the metadata file, replacing another one in one step."""
    text = json.dumps(document, allow_nan=False, sort_keys=True, indent=1)
    write_atomically(directory / METADATA_FILE, text.encode())


def read_document(directory: Path) -> dict[str, Any]:
    """Return the content of the metadata file, whatever its version.

    Raises:
        ArtifactCorrupt: It is missing, a link, or not a JSON object of finite numbers.
        OSError: It is there but cannot be read.
    """
    path = directory / METADATA_FILE
    with open_file(path, advice="name a folder that an estimator was saved to") as stream:
        text = stream.read()
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactCorrupt(
            f"{path} is not plain JSON ({error}); restore it from a copy."
        ) from error
    if not isinstance(document, dict):
        raise ArtifactCorrupt(f"{path} is not a JSON object; restore it from a copy.")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}")
