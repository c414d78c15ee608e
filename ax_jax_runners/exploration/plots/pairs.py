"""Pairs of parameters against each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.figures import AXIS, BLUE, VERMILION, plain, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DENSITY = [[0.0, "#dcebf5"], [0.5, "#4b97c9"], [1.0, "#08306b"]]
_MOST_PARAMETERS = 6
_MOST_MARKS = 3000
_BINS = 40


def plot_pairs(
    theta: ArrayLike,
    names: Sequence[str],
    *,
    parameters: Sequence[str] | None = None,
    seed_points: ArrayLike | None = None,
    log_scale: Collection[str] = (),
    units: Mapping[str, str] | None = None,
) -> go.Figure:
    """Every pair of parameters against each other, and each parameter's histogram.

    Args:
        theta: chain states, (iterations, particles, d) or (n, d), physical units. Up to 3,000 are
            drawn as points, more as counts in cells.
        names: of the d columns.
        parameters: which to show; None for the first six.
        seed_points: (m, d), marked in each picture.
        log_scale: names whose axis is logarithmic.
        units: of the parameters by name, where known.

    Raises:
        ConfigurationError: arrays or names that do not fit together, or a value on a logarithmic
            axis that is not positive.
    """
    from plotly.subplots import make_subplots

    columns = _columns(names, parameters)
    rows = _rows(theta, len(names), "theta")[:, list(columns.values())]
    seeds = np.empty((0, len(columns)))
    if seed_points is not None:
        seeds = _rows(seed_points, len(names), "seed_points")[:, list(columns.values())]
    k = len(columns)
    edges = [
        _edges(np.concatenate([rows[:, i], seeds[:, i]]), name, name in log_scale)
        for i, name in enumerate(columns)
    ]
    gap = 0.02 if k > 2 else 0.05
    figure = make_subplots(rows=k, cols=k, horizontal_spacing=gap, vertical_spacing=gap)
    dense = len(rows) > _MOST_MARKS
    for i in range(k):
        for j in range(i + 1):
            if i == j:
                figure.add_trace(
                    _bars(np.histogram(rows[:, i], edges[i])[0], edges[i]), row=i + 1, col=j + 1
                )
                continue
            if dense:
                figure.add_trace(
                    _cells(rows[:, j], rows[:, i], edges[j], edges[i]), row=i + 1, col=j + 1
                )
            else:
                first = i == 1 and j == 0
                figure.add_trace(
                    _marks(rows[:, j], rows[:, i], "states", first), row=i + 1, col=j + 1
                )
            if len(seeds):
                first = i == 1 and j == 0
                figure.add_trace(
                    _marks(seeds[:, j], seeds[:, i], "seed points", first), row=i + 1, col=j + 1
                )
    for i, name in enumerate(columns):
        _label_axes(figure, i, k, name, edges[i], name in log_scale, (units or {}).get(name))
    subtitle = f"{len(rows):,} states"
    if dense and k > 1:
        subtitle += ", counted in cells: the darker, the more"
    side = 260 if k <= 2 else 190 if k <= 4 else 170
    style_figure(
        figure,
        "Explored parameters",
        subtitle,
        height=max(side * k + 140, 420),
        width=max(side * k + 110, 560),
    )
    figure.update_layout(
        legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "itemsizing": "constant"}
    )
    return figure


def _columns(names: Sequence[str], parameters: Sequence[str] | None) -> dict[str, int]:
    chosen = list(names)[:_MOST_PARAMETERS] if parameters is None else list(parameters)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        found = f"{unknown[0]!r}" if unknown else "nothing" if not chosen else "a name twice"
        raise ConfigurationError(
            f"parameters holds {found}; choose each once among {', '.join(names)}."
        )
    return {name: list(names).index(name) for name in chosen}


def _rows(values: ArrayLike, columns: int, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (2, 3) or array.shape[-1] != columns or array.size == 0:
        raise ConfigurationError(
            f"{what} has the shape {array.shape}; give rows of {columns} parameters, one a name."
        )
    if not np.isfinite(array).all():
        raise ConfigurationError(f"{what} holds NaN or infinity; give chain states.")
    return array.reshape(-1, columns)


def _edges(values: NDArray[np.float64], name: str, logarithmic: bool) -> NDArray[np.float64]:
    """Edges of the cells of one parameter, a little wider than its values."""
    if logarithmic and values.min() <= 0:
        raise ConfigurationError(
            f"Parameter {name!r} has the value {values.min():.6g} on a logarithmic axis; leave it "
            f"out of log_scale."
        )
    scaled = np.log10(values) if logarithmic else values
    low, high = float(scaled.min()), float(scaled.max())
    pad = 0.03 * (high - low) or 0.5 * abs(high) or 0.5
    edges = np.linspace(low - pad, high + pad, _BINS + 1)
    return 10.0**edges if logarithmic else edges


def _bars(counts: NDArray[Any], edges: NDArray[np.float64]) -> Any:
    import plotly.graph_objects as go

    # An outline of steps: bars of a given width cannot be drawn on a logarithmic axis.
    return go.Scatter(
        x=np.repeat(edges, 2),
        y=np.concatenate([[0], np.repeat(counts, 2), [0]]),
        mode="lines",
        line={"color": BLUE, "width": 1.2},
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.25)",
        hoverinfo="skip",
        showlegend=False,
    )


def _cells(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_edges: NDArray[np.float64],
    y_edges: NDArray[np.float64],
) -> Any:
    import plotly.graph_objects as go

    counts = np.histogram2d(y, x, bins=(y_edges, x_edges))[0]
    counts[counts == 0] = np.nan
    return go.Heatmap(
        x=x_edges,
        y=y_edges,
        z=counts,
        colorscale=_DENSITY,
        showscale=False,
        hovertemplate="%{z} states<extra></extra>",
    )


def _marks(x: NDArray[np.float64], y: NDArray[np.float64], name: str, first: bool) -> Any:
    import plotly.graph_objects as go

    marker: dict[str, Any] = {"color": BLUE, "size": 4, "opacity": 0.45}
    if name == "seed points":
        marker = {
            "color": VERMILION,
            "size": 10,
            "symbol": "diamond",
            "line": {"color": "#ffffff", "width": 1.2},
        }
    return go.Scatter(
        x=x, y=y, mode="markers", name=name, legendgroup=name, showlegend=first, marker=marker
    )


def _label_axes(
    figure: go.Figure,
    i: int,
    k: int,
    name: str,
    edges: NDArray[np.float64],
    logarithmic: bool,
    unit: str | None,
) -> None:
    """Scale parameter i's axes alike, and write its name at the left and lower edge only."""
    title = plain(name) + (f" ({plain(unit)})" if unit else "")
    ends = np.log10(edges[[0, -1]]) if logarithmic else edges[[0, -1]]
    shared = {
        **AXIS,
        "type": "log" if logarithmic else "linear",
        "range": [float(end) for end in ends],
        **(_log_ticks(edges) if logarithmic else {"nticks": 5}),
        "tickangle": 0,
        "tickfont": {"size": 11},
    }
    for row in range(i, k):
        last = row == k - 1
        figure.update_xaxes(
            **shared, showticklabels=last, title=title if last else None, row=row + 1, col=i + 1
        )
    for col in range(i):
        figure.update_yaxes(
            **shared,
            showticklabels=col == 0,
            title=title if col == 0 else None,
            row=i + 1,
            col=col + 1,
        )
    plain_axis = {**AXIS, "ticks": ""}
    figure.update_yaxes(
        **plain_axis, showticklabels=False, rangemode="tozero", row=i + 1, col=i + 1
    )


def _log_ticks(edges: NDArray[np.float64]) -> dict[str, Any]:
    """At most four round values between the ends of a logarithmic axis."""
    decades = np.arange(np.floor(np.log10(edges[0])), np.log10(edges[-1]) + 1)
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = np.sort(np.outer(10.0**decades, steps).ravel())
        ticks = ticks[(ticks >= edges[0]) & (ticks <= edges[-1])]
        if len(ticks) >= 2:
            ticks = ticks[:: -(-len(ticks) // 4)]
            return {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return {"nticks": 3}
