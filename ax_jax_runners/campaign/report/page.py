"""One HTML file that needs nothing else: sections, figures, and the drawing library once."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from ax_jax_runners.campaign.report.style import STYLE_SHEET
from ax_jax_runners.campaign.report.tables import escape

_DRAW = """
for (const source of document.querySelectorAll("script[data-figure]")) {
  const figure = JSON.parse(source.textContent);
  Plotly.newPlot(source.dataset.figure, figure.data, figure.layout, {
    responsive: true, displaylogo: false, showSendToCloud: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]
  });
}
"""


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        anchor: Its id in the page.
        title: Its heading, as plain text.
        body: HTML.
    """

    anchor: str
    title: str
    body: str


def figure_html(anchor: str, figure: go.Figure, description: str) -> str:
    """The place of a figure, and its content as inert JSON."""
    # Inside a script element "<" could begin its end tag; JSON may write it as an escape.
    content = str(to_json(figure, validate=False, engine="json")).replace("<", "\\u003c")
    height = int(figure.layout.height)
    return (
        f'<div class="figure" id="{escape(anchor)}" style="height:{height}px" role="img" '
        f'aria-label="{escape(description)}"></div>'
        f'<script type="application/json" data-figure="{escape(anchor)}">{content}</script>'
    )


def side_by_side(parts: Sequence[str]) -> str:
    """Parts in columns where the page is wide enough."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def render_page(
    title: str, lead: str, header: str, sections: Sequence[Section], footer: str
) -> str:
    """The whole document.

    Its policy allows the two scripts below, by their digests, and styles; no address is ever
    asked for anything, and no other script runs whatever the texts of a campaign hold.

    Args:
        title: Heading, plain text.
        lead: One line below it, plain text.
        header: HTML before the first section.
        sections: In order.
        footer: One line at the end, plain text.
    """
    library = get_plotlyjs()
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in (library, _DRAW))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    body = "".join(
        f'<section id="{escape(part.anchor)}"><h2>{escape(part.title)}</h2>{part.body}</section>\n'
        for part in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}</style></head>\n<body><main>\n"
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{header}</header>\n'
        "<noscript><p>The figures of this page are drawn by a script in it; allow it.</p>"
        f"</noscript>\n{body}<footer>{escape(footer)}</footer>\n</main>\n"
        f"<script>{library}</script>\n<script>{_DRAW}</script>\n</body></html>\n"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
