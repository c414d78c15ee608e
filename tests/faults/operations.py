"""The operations by which a program changes a folder, one by one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

OPERATIONS = ("fsync", "replace", "rename", "unlink")


def on_each_operation(act: Callable[[int], None]) -> Callable[[], int]:
    """Call ``act`` with a running number before each operation, for the rest of the process.

    Returns:
        What tells how many there were so far.
    """
    count = 0

    def wrap(real: Callable[..., Any], does_something: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            act(count)
            # Nothing here cuts the power, and waiting for the disk takes most of the time.
            return real(*arguments, **options) if does_something else None

        return call

    for name in OPERATIONS:
        setattr(os, name, wrap(getattr(os, name), name != "fsync"))
    return lambda: count
