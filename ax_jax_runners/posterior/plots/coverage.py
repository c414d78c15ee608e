"""Coverage of credible regions against their credibility."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.figures import AXIS, BAND, COLORS, GREY, plain, style_figure
from ax_jax_runners.posterior.calibration.coverage import Coverage

if TYPE_CHECKING:
    import plotly.graph_objects as go

_CREDIBILITIES = np.linspace(0, 1, 201)
_BAND = 0.99


def plot_coverage(curves: Mapping[str, Coverage]) -> go.Figure:
    """Draw coverage curves and the diagonal of an exact posterior.

    The band holds each point of an exact posterior's curve with a probability of 99 %, for the
    curve with the fewest rows. Below the diagonal: too narrow or beside the truth; above: too wide.

    Args:
        curves: By the name they are to have.

    Raises:
        ConfigurationError: No curve.
    """
    import plotly.graph_objects as go
    from scipy import stats

    if not curves:
        raise ConfigurationError("No coverage was given; give at least one curve.")
    rows = min(len(curve.levels) for curve in curves.values())
    low, high = (stats.binom.ppf(q, rows, _CREDIBILITIES) / rows for q in _tails())
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([_CREDIBILITIES, _CREDIBILITIES[::-1]]),
            y=np.clip(np.concatenate([low, high[::-1]]), 0, 1),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=BAND,
            name="99 % where exact",
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": GREY, "width": 1, "dash": "dash"},
            showlegend=False,
            hoverinfo="skip",
        )
    )
    for i, (name, curve) in enumerate(curves.items()):
        figure.add_trace(
            go.Scatter(
                x=_CREDIBILITIES,
                y=curve.share(_CREDIBILITIES),
                mode="lines",
                line={"color": COLORS[i % len(COLORS)], "width": 1.8},
                name=f"{plain(name)}: area {curve.area:+.3f} ± {curve.area_error:.3f}",
            )
        )
    style_figure(
        figure,
        "Coverage of credible regions",
        f"{rows:,} rows; below the diagonal: too narrow or beside the truth",
        height=560,
        width=880,
    )
    figure.update_layout(
        xaxis={**AXIS, "title": "credibility", "range": [0, 1]},
        yaxis={**AXIS, "title": "share of truths inside", "range": [0, 1]},
        legend={"x": 1.02, "y": 1.0, "xanchor": "left", "yanchor": "top"},
        showlegend=True,
    )
    return figure


def _tails() -> tuple[float, float]:
    return (1 - _BAND) / 2, (1 + _BAND) / 2
