"""What a runner returned of its trials: whether it can be stored, and whether it is final."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_ENDED = {"completed", "failed"}


def is_immediate(metadata: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether every arm of every trial ended within the call that started it.

    Args:
        metadata: Run metadata by trial index, as ``run_multiple`` returns it. Only our runners'
            record tells; trials of others may always be running.
    """
    return bool(metadata) and all(
        arm.get("status") in _ENDED
        for found in metadata.values()
        for arm in found.get("ax_jax", {}).get("arms", {"": {}}).values()
    )


def why_not_storable(metadata: Mapping[str, Any]) -> str | None:
    """One sentence about metadata that are not plain finite JSON; None where they are."""
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        return (
            f"The runner's metadata is not plain finite JSON ({error}); return Python numbers, "
            "strings, lists and dictionaries."
        )
    return None
