"""Histograms of ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ax_jax_runners.figures import AXIS, BAND, BLUE, GREY, plain, style_figure
from ax_jax_runners.posterior.calibration.levels import level_counts
from ax_jax_runners.posterior.calibration.ranks import RankTest

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_COLUMNS = 4
#: Of each bar, where ranks are uniform.
_CREDIBILITY = 0.99


def plot_ranks(ranks: RankTest) -> go.Figure:
    """Draw a histogram of the ranks of each statistic of simulation-based calibration.

    The band holds each bar with a probability of 99 % where ranks are uniform. Bars high at both
    ends: draws too narrow; high in the middle: too wide; a slope: beside the truth.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots
    from scipy import stats

    k, rows = ranks.levels.shape
    columns = min(k, _MOST_COLUMNS)
    lines = -(-k // columns)
    p_values = np.minimum(ranks.ks_p_values, ranks.chi_square_p_values)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.22 / lines,
        subplot_titles=[
            f"{plain(name)}: p {_rounded(p)}" for name, p in zip(ranks.names, p_values, strict=True)
        ],
    )
    for i, levels in enumerate(ranks.levels):
        counts = level_counts(levels)
        bins = len(counts)
        low, high = stats.binom.interval(_CREDIBILITY, rows, 1 / bins)
        where = {"row": i // columns + 1, "col": i % columns + 1}
        figure.add_trace(
            go.Bar(
                x=(np.arange(bins) + 0.5) / bins,
                y=counts,
                width=1 / bins,
                marker={"color": BLUE, "line": {"color": "#ffffff", "width": 1}},
                name=plain(ranks.names[i]),
                showlegend=False,
            ),
            **where,
        )
        figure.add_hrect(y0=float(low), y1=float(high), fillcolor=BAND, line_width=0, **where)
        figure.add_hline(y=rows / bins, line={"color": GREY, "width": 1, "dash": "dash"}, **where)
    figure.update_xaxes(**AXIS, range=[0, 1], nticks=3)
    figure.update_yaxes(**AXIS, rangemode="tozero")
    figure.update_xaxes(title="rank / draws", row=lines)
    figure.update_yaxes(title="rows", col=1)
    style_figure(
        figure,
        "Ranks of the truth among draws",
        f"{rows:,} rows, {ranks.draws:,} draws each; all tests together: p "
        f"{_rounded(ranks.p_value)}; grey: 99 % of bars of uniform ranks",
        height=220 * lines + 140,
        width=max(210 * columns + 90, 680),
    )
    figure.update_layout(margin={"t": 110}, bargap=0)
    return figure


def _rounded(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "< 1e-4"
