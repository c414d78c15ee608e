"""Random walks: from one parameter vector to the region of all that are compatible."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ax_jax_runners.evaluation.constraints import Constraint, Misfit, Violation
from ax_jax_runners.exploration.box import SearchBox
from ax_jax_runners.exploration.region import Region
from ax_jax_runners.exploration.walk import RandomWalk

if TYPE_CHECKING:
    from ax_jax_runners.exploration.archive import ArchiveView, WalkArchive
    from ax_jax_runners.exploration.isf import RW
    from ax_jax_runners.exploration.result import WalkResult

# What needs pandas is loaded when it is asked for.
_LATER = {"ArchiveView": "archive", "RW": "isf", "WalkArchive": "archive", "WalkResult": "result"}

__all__ = [
    "RW",
    "ArchiveView",
    "Constraint",
    "Misfit",
    "RandomWalk",
    "Region",
    "SearchBox",
    "Violation",
    "WalkArchive",
    "WalkResult",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
