"""Ax metrics that read what runners recorded; imported as ``ax_jax_runners.metrics``.

The names load on first use: `ax_jax_runners.metrics.names` needs no Ax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.metrics.output import OutputMetric

__all__ = ["OutputMetric"]


def __getattr__(name: str) -> Any:
    if name == "OutputMetric":
        from ax_jax_runners.metrics.output import OutputMetric

        return OutputMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
