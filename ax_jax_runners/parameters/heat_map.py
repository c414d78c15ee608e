"""A picture of values over a design of two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.figures import AXIS, plain, style_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_TICKS = 9


def plot_heat_map(
    points: Sequence[Mapping[str, Any]],
    values: ArrayLike,
    *,
    value: str = "value",
    units: Mapping[str, str] | None = None,
) -> go.Figure:
    """Values over the two names that vary, the first on the horizontal axis.

    An axis whose values stand in equal ratios is logarithmic. Combinations without a point, or
    with a value that is not finite, stay blank.

    Args:
        points: A design, or the parameters of evaluated arms; two names vary.
        values: (n,), one for each point; None and NaN where there is none.
        value: What the values are called.
        units: Of the names and of the value, where known.

    Raises:
        ParameterError: Values and points of different number, more or fewer than two names that
            vary, or two points at the same place.
    """
    import plotly.graph_objects as go

    heights = np.array([np.nan if v is None else float(v) for v in np.asarray(values, object)])
    if len(heights) != len(points):
        raise ParameterError(f"{len(points)} points have {len(heights)} values; give one for each.")
    names = [name for name in (points[0] if len(points) else ()) if _varies(points, name)]
    if len(names) != 2:
        raise ParameterError(
            f"{len(names)} names vary over the points ({', '.join(names) or 'none'}); a heat map "
            "needs two. Give the points that share the other parameters' values."
        )
    axes = [_Axis([point[name] for point in points]) for name in names]
    cells = np.full((len(axes[1].values), len(axes[0].values)), np.nan)
    taken = np.zeros(cells.shape, dtype=int)
    for place, height in zip(
        zip(*(axis.places for axis in axes), strict=True), heights, strict=True
    ):
        taken[place[::-1]] += 1
        cells[place[::-1]] = height if np.isfinite(height) else np.nan
    if taken.max() > 1:
        raise ParameterError(
            f"{taken.max()} points have the same {names[0]} and {names[1]}; give one of them."
        )
    unit = dict(units or {})
    titles = [plain(f"{n} ({unit[n]})" if n in unit else n) for n in (*names, value)]
    figure = go.Figure(
        go.Heatmap(
            x=axes[0].edges,
            y=axes[1].edges,
            z=cells,
            colorscale="Cividis",
            colorbar={"title": {"text": titles[2], "side": "right"}, "thickness": 14},
            customdata=np.stack(np.meshgrid(axes[0].labels, axes[1].labels), axis=-1),
            hovertemplate=f"{titles[0]} = %{{customdata[0]}}<br>{titles[1]} = %{{customdata[1]}}"
            f"<br>{titles[2]} = %{{z:.6g}}<extra></extra>",
            hoverongaps=False,
        )
    )
    for axis, update, title in zip(
        axes, (figure.update_xaxes, figure.update_yaxes), titles[:2], strict=True
    ):
        update(**AXIS, **axis.layout, title_text=title, constrain="domain")
        update(showgrid=False)
    blank = cells.size - int(np.isfinite(cells).sum())
    subtitle = (
        f"{cells.size - blank} points; {blank} blank without a value"
        if blank
        else (f"{cells.size} points")
    )
    style_figure(figure, f"{titles[2]} over a grid", subtitle, height=520, width=640)
    return figure


def _varies(points: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({point[name] for point in points}) > 1


class _Axis:
    """The distinct values of one name in order, and where their cells end."""

    def __init__(self, column: list[Any]) -> None:
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in column)
        self.values = sorted(set(column)) if numeric else list(dict.fromkeys(column))
        self.places = [self.values.index(v) for v in column]
        self.labels = [f"{v:.6g}" if numeric else plain(str(v)) for v in self.values]
        spots = np.asarray(self.values, np.float64) if numeric else np.arange(len(self.values))
        ratios = np.diff(np.log(spots)) if numeric and spots[0] > 0 else np.array([])
        self.logarithmic = len(ratios) > 1 and bool(np.allclose(ratios, ratios[0], rtol=1e-6))
        self.edges = np.exp(_edges(np.log(spots))) if self.logarithmic else _edges(spots)
        self.numeric = numeric

    @property
    def layout(self) -> dict[str, Any]:
        ends = np.log10(self.edges[[0, -1]]) if self.logarithmic else self.edges[[0, -1]]
        layout: dict[str, Any] = {
            "type": "log" if self.logarithmic else "linear",
            "range": ends.tolist(),
        }
        if not self.numeric:
            step = -(-len(self.values) // _MOST_TICKS)
            shown = range(0, len(self.values), step)
            layout |= {"tickvals": list(shown), "ticktext": [self.labels[i] for i in shown]}
        return layout


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the n + 1 ends of cells around n centres."""
    between = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - between[0], 2 * centres[-1] - between[-1]
    return np.concatenate([[first], between, [last]])
