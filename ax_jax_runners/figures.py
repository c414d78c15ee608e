"""What all pictures share: colours, axes and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's colours, told apart with every common colour blindness.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#4D4D4D"
COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#56B4E9", "#E69F00", GREY)
DASHES = ("solid", "dash", "dot", "dashdot")
BAND = "rgba(77,77,77,0.18)"
AXIS: dict[str, Any] = {
    "gridcolor": "rgba(128,138,150,0.22)",
    "linecolor": "rgba(128,138,150,0.6)",
    "showline": True,
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 4,
    "automargin": True,
}


def style_figure(figure: go.Figure, title: str, subtitle: str, *, height: int, width: int) -> None:
    """Give a figure the look that all share. Sizes in pixels."""
    heading = {"text": title, "subtitle": {"text": subtitle, "font": {"size": 13}}}
    figure.update_layout(
        title={
            **heading,
            "x": 0.01,
            "xanchor": "left",
            "y": 1.0,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14},
            "font": {"size": 16},
        },
        height=height,
        width=width,
        font={"family": "system-ui, 'Segoe UI', Roboto, Arial, sans-serif", "size": 13},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        margin={"l": 70, "r": 20, "t": 84, "b": 60},
        hovermode="closest",
    )


def plain(text: str) -> str:
    """Return text that plotly does not read as tags, entities or templates."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("%{", "%&#123;")
