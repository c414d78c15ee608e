"""Pictures of a walk: pairs of parameters, range against iteration, histogram of the violation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.exploration.diagnostics.arrays import as_states
from ax_jax_runners.exploration.diagnostics.extent import explored_range

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's colours, told apart with every common colour blindness.
_BLUE, _VERMILION = "#0072B2", "#D55E00"
_COLORS = (_BLUE, _VERMILION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
_DASHES = ("solid", "dash", "dot", "dashdot")
_DENSITY = [[0.0, "#dcebf5"], [0.5, "#4b97c9"], [1.0, "#08306b"]]
_AXIS = {
    "gridcolor": "rgba(128,138,150,0.22)",
    "linecolor": "rgba(128,138,150,0.6)",
    "showline": True,
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 4,
    "automargin": True,
}
_MOST_PARAMETERS = 6
_MOST_MARKS = 3000
_BINS = 40
_MOST_POINTS = 1000


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
            where = {"row": i + 1, "col": j + 1}
            if i == j:
                figure.add_trace(_bars(np.histogram(rows[:, i], edges[i])[0], edges[i]), **where)
                continue
            if dense:
                figure.add_trace(_cells(rows[:, j], rows[:, i], edges[j], edges[i]), **where)
            else:
                first = i == 1 and j == 0
                figure.add_trace(_marks(rows[:, j], rows[:, i], "states", first), **where)
            if len(seeds):
                first = i == 1 and j == 0
                figure.add_trace(_marks(seeds[:, j], seeds[:, i], "seed points", first), **where)
    for i, name in enumerate(columns):
        _label_axes(figure, i, k, name, edges[i], name in log_scale, (units or {}).get(name))
    title = f"{len(rows):,} states" + (", counted in cells" if dense and k > 1 else "")
    side = 260 if k <= 2 else 190 if k <= 4 else 170
    _style(figure, title, height=max(side * k + 110, 420), width=max(side * k + 110, 560))
    figure.update_layout(legend={"x": 1.0, "y": 1.0, "xanchor": "right", "yanchor": "top"})
    return figure


def plot_range(states_unit: ArrayLike, names: Sequence[str]) -> go.Figure:
    """The explored range of each parameter, over all particles, against iteration.

    Args:
        states_unit: chain states (iterations, particles, k), coordinates of the unit box.
        names: of the k parameters.

    Raises:
        ConfigurationError: arrays and names that do not fit together.
    """
    import plotly.graph_objects as go

    states = as_states(states_unit)
    if len(names) != states.shape[2]:
        raise ConfigurationError(
            f"{len(names)} names for {states.shape[2]} parameters; give a name for each."
        )
    running = explored_range(states)
    shown = np.unique(np.linspace(0, len(running) - 1, _MOST_POINTS).round().astype(np.int64))
    figure = go.Figure()
    # The legend is read from above like the lines' ends.
    for place, i in enumerate(np.argsort(-running[-1], kind="stable")):
        line = {
            "color": _COLORS[place % len(_COLORS)],
            "dash": _DASHES[place // len(_COLORS) % len(_DASHES)],
            "shape": "hv",
            "width": 1.8,
        }
        figure.add_trace(
            go.Scatter(
                x=shown + 1, y=running[shown, i], mode="lines", name=_plain(names[i]), line=line
            )
        )
    _style(figure, f"Explored range of {states.shape[1]:,} particles", height=440, width=860)
    figure.update_layout(
        xaxis={**_AXIS, "title": "iteration"},
        yaxis={**_AXIS, "title": "range (share of the search box)", "range": [0, 1.02]},
        legend={"x": 1.01, "y": 1.0, "yanchor": "top", "font": {"size": 11}},
        showlegend=True,
    )
    return figure


def plot_violations(violations: ArrayLike) -> go.Figure:
    """Histogram of the violation of evaluated points, and where inside ends.

    Args:
        violations: any shape; at most 0 inside. Infinite and NaN are counted in the legend only,
            and so are the largest 1 %.

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
    # Zero is an edge, so that no bar is both inside and outside.
    edges = width * np.arange(np.floor(lowest / width), np.ceil(highest / width) + 1.5)
    figure = go.Figure()
    inside = finite <= 0
    for name, chosen, color in (
        ("inside", finite[inside], _BLUE),
        ("outside", finite[~inside], _VERMILION),
    ):
        # Exactly 0 is inside: the bar to its left is closed at 0.
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
    notes = [f"{values.size:,} evaluations"]
    if beyond:
        notes.append(f"{beyond:,} above {edges[-1]:.3g} not shown")
    if values.size > finite.size:
        notes.append(f"{values.size - finite.size:,} not finite")
    figure.add_vline(x=0, line={"color": "#2d3640", "width": 1.5, "dash": "dash"})
    _style(figure, "Violation of the constraints: " + ", ".join(notes), height=420, width=860)
    figure.update_layout(
        xaxis={**_AXIS, "title": "violation (at most 0: inside)"},
        yaxis={**_AXIS, "title": "evaluations"},
        legend={"x": 1.0, "y": 1.0, "xanchor": "right", "yanchor": "top"},
        bargap=0,
        barmode="overlay",
        showlegend=True,
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
        line={"color": _BLUE, "width": 1.2},
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

    marker: dict[str, Any] = {"color": _BLUE, "size": 4, "opacity": 0.45}
    if name == "seed points":
        marker = {
            "color": _VERMILION,
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
    title = _plain(name) + (f" ({_plain(unit)})" if unit else "")
    ends = np.log10(edges[[0, -1]]) if logarithmic else edges[[0, -1]]
    shared = {
        **_AXIS,
        "type": "log" if logarithmic else "linear",
        "range": [float(end) for end in ends],
        "nticks": 5,
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
    figure.update_yaxes(**_AXIS, showticklabels=False, rangemode="tozero", row=i + 1, col=i + 1)


def _style(figure: go.Figure, title: str, *, height: int, width: int) -> None:
    figure.update_layout(
        title={"text": title, "x": 0.01, "xanchor": "left", "font": {"size": 15}},
        height=height,
        width=width,
        font={"family": "system-ui, 'Segoe UI', Roboto, Arial, sans-serif", "size": 13},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        margin={"l": 70, "r": 20, "t": 54, "b": 60},
        hovermode="closest",
    )


def _plain(text: str) -> str:
    """Text that plotly does not read as tags, entities or templates."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("%{", "%&#123;")
