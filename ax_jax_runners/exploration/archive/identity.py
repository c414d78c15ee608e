"""What decides the points of an archive, and in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.archive.manifest import Manifest, canonical

_SHOWN = 5
_ABSENT = object()


def plain_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity as it is read back.

    Raises:
        ConfigurationError: It is not plain finite JSON.
    """
    try:
        return json.loads(canonical(dict(identity)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"The identity of a walk is not plain finite JSON ({error}); "
            "give Python numbers, texts, lists and mappings."
        ) from error


def check_identity(written: Manifest, wanted: Manifest, folder: Path) -> None:
    """Refuse to append points to those of another walk.

    Raises:
        ConfigurationError: Names the first keys that differ, with both values.
    """
    differences = chain(
        _differences(written.identity, wanted.identity, ""),
        _differences(written.thin, wanted.thin, "thin"),
    )
    found = [
        f"{key} is {_shown(old)} there and {_shown(new)} here"
        for key, old, new in islice(differences, _SHOWN)
    ]
    if found:
        raise ConfigurationError(
            f"{folder} holds the points of another walk: {'; '.join(found)}. "
            "Use another folder, or the settings of that walk."
        )


def _differences(old: Any, new: Any, at: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            place = f"{at}.{key}" if at else key
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), place)
    elif old is _ABSENT or new is _ABSENT or canonical(old) != canonical(new):
        yield at, old, new


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = canonical(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
