"""The main figures of a campaign in one, for a notebook or a README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ax_jax_runners.campaign.report.findings import collect
from ax_jax_runners.campaign.report.fit import fitted_curves, main_panel
from ax_jax_runners.campaign.report.progress import front_figure, progress_figure
from ax_jax_runners.campaign.report.style import new_figure, plain

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign


def overview_figure(campaign: Campaign) -> go.Figure:
    """Best so far, or the Pareto front, beside the first measured and fitted curve.

    Where nothing was measured, only the former.

    Args:
        campaign: One with at least one completed arm.
    """
    findings = collect(campaign)
    single = len(findings.goals) == 1
    left = progress_figure(findings) if single else front_figure(findings, 0, 1)
    found = fitted_curves(findings)
    if isinstance(found, str):
        return left
    curve, values = found[0]
    label, traces = main_panel(curve, values)
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    new_figure(figure, height=400)
    figure.add_traces(list(left.data), rows=1, cols=1)
    for trace in traces:
        figure.add_trace(trace.update(legend="legend2"), row=1, col=2)
    # Each half has its own legend above it.
    right = figure.layout.xaxis2.domain[0]
    figure.update_layout(
        legend={"x": 0.0}, legend2={"x": right, "y": 1.02, "yanchor": "bottom", "orientation": "h"}
    )
    for kind in ("x", "y"):
        source = left.layout[f"{kind}axis"]
        figure.layout[f"{kind}axis"].update(title_text=source.title.text, type=source.type)
    figure.update_xaxes(title_text=plain(curve.x_label), row=1, col=2)
    figure.update_yaxes(title_text=plain(label), row=1, col=2)
    return figure
