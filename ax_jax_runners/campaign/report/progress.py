"""How the objective improved: every arm as a point, the best so far as a line, or the front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import plotly.graph_objects as go

from ax_jax_runners.campaign.report.findings import (
    ATTACHED,
    MODEL,
    QUASI_RANDOM,
    Findings,
    ObservedArm,
)
from ax_jax_runners.campaign.report.page import Section, figure_html, side_by_side
from ax_jax_runners.campaign.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    new_figure,
    plain,
    wants_log,
)
from ax_jax_runners.campaign.report.tables import number, paragraph

_COLORS = {QUASI_RANDOM: GREY, MODEL: BLUE, ATTACHED: GREEN}
_MOST_PLANES = 3


def progress_section(findings: Findings) -> Section:
    """The best-so-far curve, or the planes of every two objectives."""
    if not findings.arms:
        text = "No arm is complete yet, so there is no curve to draw."
        return Section("progress", "Best so far", paragraph(text))
    if len(findings.goals) == 1:
        return Section("progress", "Best so far", _single(findings))
    pairs = list(combinations(range(len(findings.goals)), 2))[:_MOST_PLANES]
    planes = [
        figure_html(f"figure-front-{i}-{j}", front_figure(findings, i, j), "Pareto front")
        for i, j in pairs
    ]
    lead = f"{len(findings.best)} arms are on the front. "
    lead += ", ".join(f"{goal.label}: {goal.direction}" for goal in findings.goals) + "."
    body = paragraph(lead) + (planes[0] if len(planes) == 1 else side_by_side(planes))
    return Section("progress", "Observed objectives", body)


def progress_figure(findings: Findings) -> go.Figure:
    """The only objective over the trials."""
    figure = new_figure(height=380)
    figure.add_traces(progress_traces(findings))
    goal = findings.goals[0]
    figure.update_xaxes(title_text="trial", rangemode="tozero")
    figure.update_yaxes(
        title_text=plain(f"{goal.label} ({goal.direction})"),
        type="log" if wants_log(findings.column(0)) else "linear",
    )
    return figure


def progress_traces(findings: Findings) -> list[go.Scatter]:
    """Points by their origin, and the running best of the feasible ones as steps."""
    traces = [
        _points(
            [arm.found.trial_index for arm in arms],
            [arm.values[0] for arm in arms],
            arms,
            findings,
            source,
        )
        for source in _COLORS
        if (arms := [arm for arm in findings.arms if arm.source == source])
    ]
    x, y = running_best(findings)
    if x:
        # The line goes on to the last trial, improved or not.
        x, y = [*x, max(arm.found.trial_index for arm in findings.arms)], [*y, y[-1]]
    line = {"shape": "hv", "color": ORANGE, "width": 2}
    curve = go.Scatter(x=x, y=y, mode="lines", name="best so far", line=line, hoverinfo="skip")
    return [curve, *traces]


def running_best(findings: Findings) -> tuple[list[int], list[float]]:
    """The trials at which the best feasible value improved, and the values."""
    sign = 1.0 if findings.goals[0].larger_is_better else -1.0
    trials: list[int] = []
    values: list[float] = []
    for arm in findings.arms:
        value = arm.values[0]
        if arm.feasible and (not values or sign * value > sign * values[-1]):
            trials.append(arm.found.trial_index)
            values.append(value)
    return trials, values


def front_figure(findings: Findings, i: int, j: int) -> go.Figure:
    """Two objectives against each other, the front joined by a line."""
    figure = new_figure(height=420)
    one, other = findings.goals[i], findings.goals[j]
    for source in _COLORS:
        arms = [arm for arm in findings.arms if arm.source == source]
        if arms:
            x, y = [arm.values[i] for arm in arms], [arm.values[j] for arm in arms]
            figure.add_trace(_points(x, y, arms, findings, source))
    front = sorted((one.value(b.outputs), other.value(b.outputs)) for b in findings.best)
    figure.add_trace(
        go.Scatter(
            x=[point[0] for point in front],
            y=[point[1] for point in front],
            # With more than two objectives the front is no curve in this plane.
            mode="lines+markers" if len(findings.goals) == 2 else "markers",
            line={"color": ORANGE, "width": 1.5, "dash": "dot"},
            marker={"color": ORANGE, "size": 12, "symbol": "circle-open", "line": {"width": 2}},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    for axis, goal, column in (
        (figure.update_xaxes, one, findings.column(i)),
        (figure.update_yaxes, other, findings.column(j)),
    ):
        kind = "log" if wants_log(column) else "linear"
        axis(title_text=plain(f"{goal.label} ({goal.direction})"), type=kind)
    return figure


def hover_text(arm: ObservedArm, findings: Findings) -> str:
    """An arm's name, parameters and objectives, for plotly."""
    lines = [f"<b>{plain(arm.label)}</b> ({plain(arm.node or arm.source)})"]
    for goal, value in zip(findings.goals, arm.values, strict=True):
        lines.append(f"{plain(goal.label)} = {number(value)}")
    for name in findings.free:
        value = arm.found.parameters[name]
        shown = number(value) if isinstance(value, float) else plain(value)
        lines.append(f"{plain(name)} = {shown}")
    if not arm.feasible:
        lines.append("breaks an outcome constraint")
    return "<br>".join(lines)


def _single(findings: Findings) -> str:
    goal = findings.goals[0]
    nodes = dict.fromkeys(f"{arm.node} ({arm.source})" for arm in findings.arms if arm.node)
    text = f"Objective of every completed arm ({goal.label}, {goal.direction})."
    text += f" Generated by {', then '.join(nodes)}." if nodes else ""
    trials, _ = running_best(findings)
    if trials:
        text += f" The best came with trial {trials[-1]}."
    infeasible = int(np.sum([not arm.feasible for arm in findings.arms]))
    if infeasible:
        text += f" {infeasible} arms that break an outcome constraint are drawn as crosses."
    figure = progress_figure(findings)
    return paragraph(text) + figure_html("figure-progress", figure, "Objective over the trials")


def _points(
    x: Sequence[float],
    y: Sequence[float],
    arms: Sequence[ObservedArm],
    findings: Findings,
    source: str,
) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="markers",
        name=source,
        marker={
            "color": _COLORS[source],
            "size": 8,
            "symbol": ["circle" if arm.feasible else "x-thin-open" for arm in arms],
        },
        cliponaxis=False,
        text=[hover_text(arm, findings) for arm in arms],
        hoverinfo="text",
    )
