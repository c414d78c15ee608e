"""Pairs of parameters of a posterior, beside reference draws and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.figures import AXIS, BLUE, GREY, VERMILION, plain, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_MARKS = 1000
_MOST_PARAMETERS = 6
_BINS = 40


def plot_posterior(
    draws: ArrayLike,
    names: Sequence[str],
    *,
    reference: ArrayLike | None = None,
    truth: ArrayLike | None = None,
) -> go.Figure:
    """Draw every pair of the first six parameters, and each one's marginal density.

    Args:
        draws: (n, d), of one posterior; those that are not finite are counted and left out. Up to
            1,000 are drawn as points, spread over all; the marginals are of all.
        names: Of the d parameters.
        reference: (m, d), draws of the posterior that is aimed at.
        truth: (d,), the parameters that were observed.

    Raises:
        ConfigurationError: Arrays and names that do not fit together, or no finite draw.
    """
    from plotly.subplots import make_subplots

    clouds = {"draws": (_rows(draws, len(names), "draws"), BLUE)}
    if reference is not None:
        clouds["reference"] = (_rows(reference, len(names), "reference"), VERMILION)
    point = None if truth is None else np.asarray(truth, np.float64)
    if point is not None and (point.shape != (len(names),) or not np.isfinite(point).all()):
        raise ConfigurationError(
            f"The truth has the shape {point.shape} or is not finite; give {len(names)} numbers."
        )
    left_out = len(np.asarray(draws)) - len(clouds["draws"][0])
    k = min(len(names), _MOST_PARAMETERS)
    edges = [
        _edges([rows[:, i] for rows, _ in clouds.values()], None if point is None else point[i])
        for i in range(k)
    ]
    gap = 0.02 if k > 2 else 0.05
    figure = make_subplots(rows=k, cols=k, horizontal_spacing=gap, vertical_spacing=gap)
    for i in range(k):
        for name, (rows, color) in clouds.items():
            figure.add_trace(
                _outline(rows[:, i], edges[i], name, color, first=i == 0), row=i + 1, col=i + 1
            )
            shown = rows[:: -(-len(rows) // _MOST_MARKS)]
            for j in range(i):
                marks = _marks(shown[:, j], shown[:, i], name, color)
                figure.add_trace(marks, row=i + 1, col=j + 1)
        if point is not None:
            _mark_truth(figure, point, i)
        _label_axes(figure, i, k, plain(names[i]), edges[i])
    counts = [f"{len(rows):,} {name}" for name, (rows, _) in clouds.items()]
    counts += [f"{left_out:,} draws not finite"] if left_out else []
    counts += [f"{k} of {len(names)} parameters"] if k < len(names) else []
    side = 260 if k <= 2 else 190 if k <= 4 else 160
    style_figure(
        figure,
        "Posterior",
        ", ".join(counts),
        height=max(side * k + 140, 420),
        width=max(side * k + 110, 560),
    )
    figure.update_layout(
        legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "itemsizing": "constant"},
        showlegend=True,
    )
    return figure


def _rows(values: ArrayLike, columns: int, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1] != columns or not columns:
        raise ConfigurationError(
            f"{what} has the shape {array.shape}; give rows of {columns} parameters, one a name."
        )
    finite = array[np.isfinite(array).all(axis=1)]
    if not len(finite):
        raise ConfigurationError(
            f"None of {len(array)} rows of {what} is finite; there is nothing to draw."
        )
    return finite


def _edges(columns: list[NDArray[np.float64]], truth: float | None) -> NDArray[np.float64]:
    """Edges of bins over all but the outermost 0.1 % of each cloud, and the truth."""
    ends = np.array([np.quantile(column, [0.001, 0.999]) for column in columns])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if truth is not None:
        low, high = min(low, truth), max(high, truth)
    pad = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return np.linspace(low - pad, high + pad, _BINS + 1)


def _outline(
    values: NDArray[np.float64], edges: NDArray[np.float64], name: str, color: str, *, first: bool
) -> Any:
    import plotly.graph_objects as go

    heights = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
    return go.Scatter(
        x=np.repeat(edges, 2),
        y=np.concatenate([[0], np.repeat(heights, 2), [0]]),
        mode="lines",
        line={"color": color, "width": 1.5},
        name=name,
        legendgroup=name,
        showlegend=first,
        hoverinfo="skip",
    )


def _marks(x: NDArray[np.float64], y: NDArray[np.float64], name: str, color: str) -> Any:
    import plotly.graph_objects as go

    marker = {"color": color, "size": 3, "opacity": 0.35}
    return go.Scatter(
        x=x, y=y, mode="markers", name=name, legendgroup=name, showlegend=False, marker=marker
    )


def _mark_truth(figure: go.Figure, truth: NDArray[np.float64], i: int) -> None:
    import plotly.graph_objects as go

    line = {"color": GREY, "width": 1.5, "dash": "dash"}
    where: dict[str, Any] = {"row": i + 1, "col": i + 1}
    figure.add_vline(x=float(truth[i]), line=line, **where)
    for j in range(i):
        marker = {
            "color": "#ffffff",
            "size": 11,
            "symbol": "diamond",
            "line": {"color": "#000000", "width": 2},
        }
        figure.add_trace(
            go.Scatter(
                x=[truth[j]],
                y=[truth[i]],
                mode="markers",
                name="truth",
                legendgroup="truth",
                showlegend=i == 1 and j == 0,
                marker=marker,
            ),
            row=i + 1,
            col=j + 1,
        )


def _label_axes(figure: go.Figure, i: int, k: int, name: str, edges: NDArray[np.float64]) -> None:
    """Scale parameter i's axes alike, and write its name at the left and lower edge only."""
    shared = {**AXIS, "range": [float(edges[0]), float(edges[-1])], "nticks": 5, "tickangle": 0}
    for row in range(i, k):
        last = row == k - 1
        title = name if last else None
        figure.update_xaxes(**shared, showticklabels=last, title=title, row=row + 1, col=i + 1)
    for col in range(i):
        title = name if col == 0 else None
        figure.update_yaxes(**shared, showticklabels=col == 0, title=title, row=i + 1, col=col + 1)
    bare = {**AXIS, "ticks": "", "showticklabels": False, "rangemode": "tozero"}
    figure.update_yaxes(**bare, row=i + 1, col=i + 1)
    for col in range(i + 1, k):
        figure.update_xaxes(visible=False, row=i + 1, col=col + 1)
        figure.update_yaxes(visible=False, row=i + 1, col=col + 1)
