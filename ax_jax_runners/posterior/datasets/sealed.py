"""Manifests: plain JSON that holds a digest of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ArtifactCorrupt
from ax_jax_runners.files.whole import open_file

_ABSENT = object()


def canonical(value: Any) -> str:
    """Return the one JSON text of a plain finite value.

    Raises:
        TypeError, ValueError: It is none.
    """
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))


def seal(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest's file."""
    text = canonical(body)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"digest":"{digest}","manifest":{text}}}'.encode()


def read_sealed(path: Path, *, advice: str) -> dict[str, Any]:
    """Return what a manifest says, after its digest was found right.

    Raises:
        ArtifactCorrupt: Missing, a link, not a manifest, or without its digest.
    """
    with open_file(path, advice=advice) as stream:
        content = stream.read()
    try:
        sealed = json.loads(content)
        body = sealed["manifest"]
        intact = sealed["digest"] == hashlib.sha256(canonical(body).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactCorrupt(f"{path} is not a manifest ({error!r}); {advice}.") from error
    if not intact or not isinstance(body, dict):
        raise ArtifactCorrupt(f"{path} does not have the digest that it names; {advice}.")
    return body


def differences(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Yield a phrase for every key in which two plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            place = f"{at}.{key}" if at else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), place)
    elif old is _ABSENT or new is _ABSENT or canonical(old) != canonical(new):
        yield f"{at} is {_shown(old)} there and {_shown(new)} here"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = canonical(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
