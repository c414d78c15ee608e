"""Errors and failures as bounded text that any database can hold."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import jax

LIMIT = 10_000
_OWN = str(Path(__file__).resolve().parents[1])
_JAX = str(Path(jax.__file__).resolve().parent)


def bounded(text: str, limit: int = LIMIT) -> str:
    """Return ``text`` as valid Unicode without NUL, cut to ``limit`` bytes of UTF-8.

    A cut text says how much is missing.
    """
    data = text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    note = f" ... ({len(data) - limit} more bytes)"
    if limit <= len(note):
        return data[:limit].decode("utf-8", "ignore")
    return data[: limit - len(note)].decode("utf-8", "ignore") + note


def describe_error(error: BaseException) -> str:
    """Return what was raised and where in the user's code, bounded."""
    try:
        text = str(error).strip()
    except Exception:
        text = "(its message cannot be shown)"
    sentence = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = _place(error)
    return bounded(sentence, LIMIT - len(place.encode())) + place


def _place(error: BaseException) -> str:
    """Name the innermost line outside this package and JAX."""
    frames = traceback.extract_tb(error.__traceback__)
    while not frames and error.__cause__ is not None:
        error = error.__cause__
        frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith((_OWN, _JAX, "<")):
            return f" (at {os.path.basename(frame.filename)}, line {frame.lineno})"
    return ""
