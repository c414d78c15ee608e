"""Histogram of the violation of evaluated points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.figures import AXIS, BLUE, VERMILION, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_BINS = 40


def plot_violations(violations: ArrayLike, *, points: str = "evaluations") -> go.Figure:
    """Histogram of the violation of evaluated points, and where inside ends.

    Args:
        violations: any shape; at most 0 inside. Infinite, NaN and the largest 1 % are only
            counted in the title.
        points: What they are, in the plural.

    Raises:
        ConfigurationError: no finite violation.
    """
    import plotly.graph_objects as go

    values = np.asarray(violations, dtype=np.float64).ravel()
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ConfigurationError(
            f"None of {values.size} violations is finite; there is nothing to draw."
        )
    highest = max(float(np.quantile(finite, 0.99)), 0.0)
    lowest = min(float(finite.min()), 0.0)
    width = (highest - lowest) / (2 * _BINS) or 1.0
    # Zero is an edge, so that no bar is both inside and outside; a bar holds its right edge.
    edges = width * np.arange(np.floor(lowest / width) - 1, np.ceil(highest / width) + 1.5)
    figure = go.Figure()
    inside = finite <= 0
    for name, chosen, color in (
        ("inside", finite[inside], BLUE),
        ("outside", finite[~inside], VERMILION),
    ):
        counts = np.diff(np.searchsorted(np.sort(chosen), edges, side="right"))
        held = counts > 0
        figure.add_trace(
            go.Bar(
                x=(edges[:-1] + width / 2)[held],
                y=counts[held],
                width=width,
                marker={"color": color, "line": {"width": 0}},
                name=f"{name}: {chosen.size:,} ({chosen.size / values.size:.2%})",
            )
        )
    beyond = int((finite > edges[-1]).sum())
    notes = [f"{values.size:,} {points}"]
    if beyond:
        notes.append(f"{beyond:,} above {edges[-1]:.3g} not shown")
    if values.size > finite.size:
        notes.append(f"{values.size - finite.size:,} not finite")
    figure.add_vline(x=0, line={"color": "#2d3640", "width": 1.5, "dash": "dash"})
    style_figure(figure, "Violation of the constraints", ", ".join(notes), height=420, width=860)
    figure.update_layout(
        xaxis={**AXIS, "title": "violation (at most 0: inside)"},
        yaxis={**AXIS, "title": points, "type": "log"},
        legend={"x": 1.0, "y": 1.0, "xanchor": "right", "yanchor": "top"},
        bargap=0,
        barmode="overlay",
        showlegend=True,
    )
    return figure
