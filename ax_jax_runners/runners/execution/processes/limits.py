"""What a trial may take, and what its worker takes: memory in bytes, running time in seconds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import psutil

from ax_jax_runners.errors import ConfigurationError

_UNITS = {"b": 1} | {
    f"{prefix}{ending}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for ending, base in (("b", 1000), ("ib", 1024))
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Bounds of one trial.

    Attributes:
        seconds: Running time of all its attempts together, or None.
        memory: Resident bytes of its worker and what that started, or None.
        retries: How many attempts may be lost before it fails.
    """

    seconds: float | None = None
    memory: int | None = None
    retries: int = 1


def read_memory(limit: Any) -> int | None:
    """Return a memory limit in bytes.

    Args:
        limit: None, a number of bytes, or a text such as "2 GiB" or "500 MB".

    Raises:
        ConfigurationError: Anything else.
    """
    if limit is None:
        return None
    if isinstance(limit, str):
        found = _SIZE.fullmatch(limit)
        size = float(found[1]) * _UNITS.get(found[2].lower(), 0) if found else 0.0
    elif isinstance(limit, (int, float)) and not isinstance(limit, bool) and math.isfinite(limit):
        size = float(limit)
    else:
        size = 0.0
    if size < 1:
        raise ConfigurationError(
            f"memory_limit is {limit!r}; give bytes as a number above 0, a text such as '2 GiB', "
            "or None."
        )
    return int(size)


def show_memory(size: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def resident_memory(process: psutil.Process, *, descendants: bool) -> int:
    """Return the resident bytes of a process; 0 when it is gone.

    Args:
        process: Which.
        descendants: Whether what it started counts as well; to find these takes milliseconds.
    """
    try:
        family = [process, *(process.children(recursive=True) if descendants else ())]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def is_stopped(process: psutil.Process) -> bool:
    """Whether a process was stopped by a signal, so that it does nothing until it is continued."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False
