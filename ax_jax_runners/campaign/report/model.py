"""How far the surrogate model can be trusted, and what it says about the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from ax.core.parameter import RangeParameter
from plotly.subplots import make_subplots

from ax_jax_runners.campaign.report.findings import Findings
from ax_jax_runners.campaign.report.page import Section, figure_html, side_by_side
from ax_jax_runners.campaign.report.style import BLUE, GREY, ORANGE, new_figure, plain
from ax_jax_runners.campaign.report.surrogate import (
    FEWEST_ARMS,
    HeldOut,
    Slice,
    Surrogate,
    fit_surrogate,
)
from ax_jax_runners.campaign.report.tables import paragraph

_MOST_COLUMNS = 4
_MOST_SLICES = 12
_LONGEST_REASON = 300


def model_sections(findings: Findings) -> list[Section]:
    """Cross-validation, importance and slices; or one section that says why there are none."""
    title = "Model against observations"
    if len(findings.arms) < FEWEST_ARMS:
        text = (
            f"{len(findings.arms)} arms are complete; with fewer than {FEWEST_ARMS} no model is "
            "fitted for the report."
        )
        return [Section("model", title, paragraph(text))]
    try:
        surrogate = fit_surrogate(findings)
    except Exception as error:  # A report without this section is better than none.
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        text = f"No model could be fitted to these data ({type(error).__name__}: {reason})."
        return [Section("model", title, paragraph(text))]
    return [
        Section("model", title, _validation(findings, surrogate)),
        Section(
            "importance", "What the model says about the parameters", _meaning(findings, surrogate)
        ),
    ]


def validation_figure(name: str, held_out: HeldOut) -> go.Figure:
    """Leave-one-out predictions with 95 % intervals against the observations."""
    figure = new_figure(height=400)
    ends = [
        float(min(held_out.observed.min(), held_out.predicted.min())),
        float(max(held_out.observed.max(), held_out.predicted.max())),
    ]
    line = {"color": GREY, "width": 1, "dash": "dash"}
    figure.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", name="identity")
    )
    known = np.isfinite(held_out.observed_sem) & (held_out.observed_sem > 0)
    figure.add_trace(
        go.Scatter(
            x=held_out.observed,
            y=held_out.predicted,
            mode="markers",
            name="left out, predicted by the others",
            marker={"color": BLUE, "size": 7},
            error_y={
                "array": 1.96 * held_out.predicted_sd,
                "color": "rgba(47,126,216,0.45)",
                "thickness": 1.2,
                "width": 0,
            },
            error_x={
                "array": 1.96 * np.where(known, held_out.observed_sem, 0.0),
                "visible": bool(known.any()),
                "color": "rgba(47,126,216,0.45)",
                "thickness": 1.2,
                "width": 0,
            },
            text=[plain(label) for label in held_out.labels],
            hovertemplate="%{text}<br>observed %{x:.6g}<br>predicted %{y:.6g}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text=plain(f"observed {name}"))
    figure.update_yaxes(title_text=plain(f"predicted {name}"))
    return figure


def importance_figure(sensitivity: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Total-order Sobol indices as bars, the most important parameter on top."""
    totals: dict[str, float] = {}
    for indices in sensitivity.values():
        for parameter, value in indices.items():
            totals[parameter] = max(totals.get(parameter, 0.0), value)
    order = sorted(totals, key=lambda parameter: totals[parameter])
    figure = new_figure(height=110 + 30 * max(len(order), 2) * max(1, len(sensitivity) // 2))
    for name, indices in sensitivity.items():
        figure.add_trace(
            go.Bar(
                x=[indices.get(parameter, 0.0) for parameter in order],
                y=[plain(parameter) for parameter in order],
                orientation="h",
                name=plain(name),
                hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            )
        )
    figure.update_layout(showlegend=len(sensitivity) > 1, bargap=0.35)
    figure.update_xaxes(title_text="total-order Sobol index", rangemode="tozero")
    figure.update_yaxes(type="category", ticks="")
    return figure


def slices_figure(name: str, slices: Mapping[str, Slice], findings: Findings) -> go.Figure:
    """Predictions along every range parameter through the best arm, with 95 % bands."""
    shown = list(slices.items())[:_MOST_SLICES]
    columns = min(_MOST_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=min(0.22, 0.5 / rows),
    )
    new_figure(figure, height=70 + 230 * rows)
    best = findings.best[0] if findings.best else None
    for place, (parameter, along) in enumerate(shown):
        row, col = place // columns + 1, place % columns + 1
        band = 1.96 * along.sd
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([along.x, along.x[::-1]]),
                y=np.concatenate([along.mean + band, (along.mean - band)[::-1]]),
                fill="toself",
                mode="none",
                fillcolor="rgba(47,126,216,0.2)",
                hoverinfo="skip",
                showlegend=False,
            ),
            row=row,
            col=col,
        )
        figure.add_trace(
            go.Scatter(
                x=along.x,
                y=along.mean,
                mode="lines",
                line={"color": BLUE, "width": 2},
                showlegend=False,
                hovertemplate="%{x:.6g}: %{y:.6g}<extra></extra>",
            ),
            row=row,
            col=col,
        )
        if best is not None and name in best.outputs:
            figure.add_trace(
                go.Scatter(
                    x=[best.parameters[parameter]],
                    y=[best.outputs[name]],
                    mode="markers",
                    marker={"color": ORANGE, "size": 9},
                    showlegend=False,
                    hoverinfo="skip",
                ),
                row=row,
                col=col,
            )
        axis = findings.free[parameter]
        log = isinstance(axis, RangeParameter) and axis.log_scale
        figure.update_xaxes(
            title_text=plain(parameter), type="log" if log else "linear", row=row, col=col
        )
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text=plain(name), row=row, col=1)
    return figure


def _validation(findings: Findings, surrogate: Surrogate) -> str:
    arms = len(next(iter(surrogate.held_out.values())).observed) if surrogate.held_out else 0
    text = (
        f"Every one of {arms} arms is predicted by a Gaussian process that has not seen it "
        "(leave-one-out, kernel parameters fitted once to all arms; bars: 95 % intervals). Points "
        "near the dashed line mean that the model predicts well."
    )
    if surrogate.trials < len({arm.found.trial_index for arm in findings.arms}):
        text += f" It was fitted to {surrogate.trials} trials, evenly spread over the campaign."
    figures = []
    for k, (name, held_out) in enumerate(surrogate.held_out.items()):
        sentence = (
            f"{name}: R² = {held_out.r_squared:.3f}; {held_out.coverage:.0%} of the observations "
            "lie in their interval."
        )
        figure = validation_figure(name, held_out)
        drawn = figure_html(
            f"figure-model-{k}", figure, f"Predictions against observations {k + 1}"
        )
        figures.append(paragraph(sentence, kind="") + drawn)
    return paragraph(text) + side_by_side(figures)


def _meaning(findings: Findings, surrogate: Surrogate) -> str:
    text = (
        "The share of an output's variance over the search box in which a parameter has part, "
        "alone or together with others."
    )
    body = paragraph(text) + figure_html(
        "figure-importance", importance_figure(surrogate.sensitivity), "Importance of parameters"
    )
    for k, (name, slices) in enumerate(surrogate.slices.items()):
        if not slices:
            continue
        text = f"{name} along each parameter, the others held at the best arm (the orange point)."
        figure = slices_figure(name, slices, findings)
        body += paragraph(text) + figure_html(f"figure-slices-{k}", figure, f"Slices {k + 1}")
    return body
