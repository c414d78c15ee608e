"""How a report looks: its style sheet, its colours, and the layout that all figures share."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BLUE, ORANGE, GREEN, GREY, RED = "#2f7ed8", "#e8590c", "#2b9a66", "#8a97a6", "#d6336c"

# From the worst to the best value. All are legible on a white and on a dark page.
_SCALE = (
    (0.0, (176, 190, 205)),
    (0.45, (84, 146, 214)),
    (0.8, (126, 87, 194)),
    (1.0, (232, 89, 12)),
)
_STEPS = 24
COLORSCALE = [[place, f"rgb{color}"] for place, color in _SCALE]

_GRID = "rgba(128,138,150,0.22)"
_AXIS = {
    "gridcolor": _GRID,
    "zerolinecolor": _GRID,
    "linecolor": "rgba(128,138,150,0.6)",
    "showline": True,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "rgba(128,138,150,0.6)",
    "automargin": True,
    "title": {"standoff": 8},
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": "#2d3640"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [BLUE, ORANGE, GREEN, RED, "#7e57c2", GREY],
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 64, "r": 16, "t": 44, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#26303a", "font": {"color": "#ffffff", "family": FONT}},
        "hovermode": "closest",
        "dragmode": "zoom",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
    }
)


def new_figure(figure: go.Figure | None = None, *, height: int = 400) -> go.Figure:
    """A figure, or the given one, in the report's look."""
    figure = go.Figure() if figure is None else figure
    figure.update_layout(template=_TEMPLATE, height=height)
    return figure


def plain(text: object) -> str:
    """Any text for plotly, which would read tags, entities and ``%{...}`` as its own."""
    return html.escape(str(text), quote=False).replace("%{", "%&#123;")


def color_at(goodness: float) -> str:
    """The colour of a value between the worst, 0, and the best, 1."""
    rounded = round(min(max(goodness, 0.0), 1.0) * _STEPS) / _STEPS
    places = [place for place, _ in _SCALE]
    channels = np.array([color for _, color in _SCALE], dtype=float)
    mixed = [round(float(np.interp(rounded, places, channels[:, i]))) for i in range(3)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def wants_log(values: Sequence[float] | np.ndarray) -> bool:
    """Whether positive values span more than two decades."""
    array = np.asarray(values, dtype=float)
    return bool(array.size and array.min() > 0 and array.max() / array.min() > 100)


STYLE_SHEET = """
:root { color-scheme: light dark; --ink: #1f2730; --soft: #5c6875; --line: #dfe4ea;
  --page: #ffffff; --panel: #f6f8fa; --mark: #e8590c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --soft: #9aa7b4; --line: #343d47; --page: #14181d; --panel: #1c2229;
    --mark: #ff8a4c; }
  .figure text { fill: #cdd5dd !important; }
}
.figure .hoverlayer text { fill: #ffffff !important; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 FONT; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 28px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; font-weight: 650;
  overflow-wrap: anywhere; }
h2 { font-size: 19px; font-weight: 620; margin: 44px 0 10px; padding-top: 18px;
  border-top: 1px solid var(--line); }
h3 { font-size: 15px; font-weight: 620; margin: 22px 0 6px; }
p { margin: 6px 0 12px; max-width: 92ch; }
.lead { color: var(--soft); font-size: 16px; overflow-wrap: anywhere; }
.note { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 12px 24px;
  background: var(--panel); border-radius: 8px; padding: 16px 20px; margin: 20px 0 0; }
dl div { min-width: 0; }
dt { color: var(--soft); font-size: 12.5px; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 8px 0 16px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px; }
th, td { padding: 5px 22px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th.number, td.number { text-align: right; white-space: nowrap; }
td { overflow-wrap: anywhere; }
table.failures td:last-child { min-width: 22em; }
.mark { color: var(--mark); }
.bar { vertical-align: middle; overflow: visible; }
.bar line, .bar path { stroke: var(--soft); stroke-width: 1.2; fill: none; opacity: .7; }
.bar circle { fill: var(--mark); fill-opacity: .85; }
.figure { width: 100%; }
.figure .annotation .bg { fill: var(--page) !important; fill-opacity: .8; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 8px 24px; }
.pair > * { min-width: 0; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line);
  padding-top: 12px; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } }
""".replace("FONT", FONT)
