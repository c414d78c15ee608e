"""Ax metrics that read what runners recorded; imported as ``ax_jax_runners.metrics``.

The names load on first use: `ax_jax_runners.metrics.names` needs no Ax.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.metrics.curve import CurveMetric
    from ax_jax_runners.metrics.output import OutputMetric

__all__ = ["CurveMetric", "OutputMetric"]

_HOMES = {"CurveMetric": "curve", "OutputMetric": "output"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
