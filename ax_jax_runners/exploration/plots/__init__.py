"""Pictures of a walk, as plotly figures."""

from __future__ import annotations

from ax_jax_runners.exploration.plots.extent import plot_range
from ax_jax_runners.exploration.plots.pairs import plot_pairs
from ax_jax_runners.exploration.plots.violations import plot_violations

__all__ = ["plot_pairs", "plot_range", "plot_violations"]
