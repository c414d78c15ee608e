"""Where a key stands in a TOML text. The standard reader keeps no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

_HEADER = re.compile(r"""^\s*\[((?:[^\[\]"']|"[^"]*"|'[^']*')+)\]\s*(#.*)?$""")
_ASSIGNMENT = re.compile(r"""^\s*((?:[\w.\s-]|"[^"]*"|'[^']*')+?)\s*=""")


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """The line, counted from 1, that sets a key or opens its table; else that of its table.

    Args:
        text: A valid TOML document.
        keys: The key's path from the top, such as ``["parameters", "f0", "lower"]``.

    Returns:
        None where neither the key nor a table around it has a line of its own.
    """
    wanted = list(keys)
    places: dict[tuple[str, ...], int] = {}
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = _split(header[1])
            path = table
        elif assignment := _ASSIGNMENT.match(line):
            path = [*table, *_split(assignment[1])]
        else:
            continue
        for end in range(1, len(path) + 1):
            places.setdefault(tuple(path[:end]), number)
    for end in range(len(wanted), 0, -1):
        if tuple(wanted[:end]) in places:
            return places[tuple(wanted[:end])]
    return None


def _split(dotted: str) -> list[str]:
    """The parts of a dotted key, by the standard reader's own rules; empty when it is none."""
    try:
        here = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return []
    parts = []
    while isinstance(here, dict):
        ((key, here),) = here.items()
        parts.append(key)
    return parts
