"""Where the arms were: parallel coordinates, or the plane itself for one or two parameters.

The lines are ordinary scatter traces. Plotly's own parallel coordinates need WebGL, which a page
opened on a remote desktop or printed without a display often lacks.
"""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
from ax.core.parameter import ChoiceParameter, RangeParameter

from ax_jax_runners.campaign.report.findings import Findings, Goal, ObservedArm
from ax_jax_runners.campaign.report.page import Section, figure_html
from ax_jax_runners.campaign.report.progress import hover_text
from ax_jax_runners.campaign.report.style import (
    COLORSCALE,
    GREY,
    ORANGE,
    color_at,
    new_figure,
    plain,
    wants_log,
)
from ax_jax_runners.campaign.report.summary import position_in_box
from ax_jax_runners.campaign.report.tables import number, paragraph

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_LINES = 1000
_MOST_CHOICES = 12
_FEW_ARMS = 20


def coordinates_section(findings: Findings) -> Section:
    """One figure of all arms over all free parameters."""
    title = "Parameters tried"
    if not findings.arms or not findings.free:
        text = "There is no completed arm to draw." if findings.free else "No parameter is free."
        return Section("parameters", title, paragraph(text))
    goal = findings.goals[0]
    text = f"Coloured by {goal.label}, from worst (grey) to best (orange)."
    if len(findings.free) <= 2:
        figure, what = plane_figure(findings), "Objective over the parameters"
    else:
        figure, what = parallel_figure(findings), "Parallel coordinates"
        text += " One line is one arm; the heavy lines are the best."
    if len(findings.arms) > _MOST_LINES:
        text += f" Only the best {_MOST_LINES} of {len(findings.arms)} arms are drawn."
    log = [n for n, p in findings.free.items() if isinstance(p, RangeParameter) and p.log_scale]
    if log:
        text += f" On a logarithmic axis: {', '.join(log)}."
    return Section(
        "parameters", title, paragraph(text) + figure_html("figure-parameters", figure, what)
    )


def parallel_figure(findings: Findings) -> go.Figure:
    """One vertical axis for each free parameter and each objective, one line for each arm."""
    figure = new_figure(height=460)
    arms, shades = _ranked(findings)
    free = list(findings.free.items())
    scales = [_GoalScale.of(findings, k) for k in range(len(findings.goals))]
    best = {(arm.trial_index, arm.arm_name) for arm in findings.best}
    groups: dict[str, list[ObservedArm]] = {}
    for arm, shade in zip(arms, shades, strict=True):
        if (arm.found.trial_index, arm.found.arm_name) not in best:
            groups.setdefault(color_at(shade), []).append(arm)
    chosen = [arm for arm in arms if (arm.found.trial_index, arm.found.arm_name) in best]

    def add(members: list[ObservedArm], color: str, width: float, opacity: float) -> None:
        x: list[float | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for arm in members:
            heights = [position_in_box(p, arm.found.parameters[name]) for name, p in free]
            heights += [scale.height(v) for scale, v in zip(scales, arm.values, strict=True)]
            x += [*range(len(heights)), None]
            y += [*heights, None]
            text += [hover_text(arm, findings)] * len(heights) + [""]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                text=text,
                mode="lines",
                line={"color": color, "width": width},
                opacity=opacity,
                hoverinfo="text",
                showlegend=False,
            )
        )

    # From the worst to the best, so that good arms lie on top.
    for color, members in groups.items():
        add(members, color, 1.4, 0.75)
    add(chosen, ORANGE, 3.5, 1.0)
    labels = [name for name, _ in free] + [goal.label for goal in findings.goals]
    ticks = [_parameter_ticks(p) for _, p in free] + [scale.ticks() for scale in scales]
    for place, marks in enumerate(ticks):
        figure.add_shape(
            type="line",
            x0=place,
            x1=place,
            y0=0,
            y1=1,
            layer="below",
            line={"color": GREY, "width": 1},
        )
        for height, label in marks:
            figure.add_annotation(
                x=place,
                y=height,
                text=plain(label),
                showarrow=False,
                xanchor="right",
                xshift=-4,
                font={"size": 11},
                bgcolor="#ffffff",
                borderpad=1,
            )
    figure.update_xaxes(
        tickvals=list(range(len(labels))),
        ticktext=[f"<b>{plain(name)}</b>" for name in labels],
        range=[-0.35, len(labels) - 0.75],
        ticklabeloverflow="allow",
        showgrid=False,
        showline=False,
        ticks="",
        side="top",
        zeroline=False,
        fixedrange=True,
    )
    figure.update_yaxes(visible=False, range=[-0.04, 1.04], fixedrange=True)
    figure.update_layout(margin={"l": 40, "r": 16, "t": 48, "b": 12})
    return figure


def plane_figure(findings: Findings) -> go.Figure:
    """The objective over one parameter, or two parameters coloured by the objective."""
    figure = new_figure(height=420)
    arms, shades = _ranked(findings)
    goal, names = findings.goals[0], list(findings.free)
    columns = [[arm.found.parameters[name] for arm in arms] for name in names]
    values = [arm.values[0] for arm in arms]
    scale = _GoalScale.of(findings, 0)
    steps = [(shade, number(scale.at_shade(shade))) for shade in _TICKS]
    figure.add_trace(
        go.Scatter(
            x=columns[0],
            y=columns[1] if len(names) == 2 else values,
            mode="markers",
            text=[hover_text(arm, findings) for arm in arms],
            hoverinfo="text",
            marker={
                "size": 10,
                "color": list(shades),
                "colorscale": COLORSCALE,
                "cmin": 0,
                "cmax": 1,
                "showscale": len(names) == 2,
                "colorbar": {
                    "title": {"text": plain(goal.label)},
                    "tickvals": [place for place, _ in steps],
                    "ticktext": [label for _, label in steps],
                    "thickness": 12,
                },
                "line": {"color": "rgba(128,138,150,0.8)", "width": 0.5},
            },
            showlegend=False,
        )
    )
    for axis, name in zip((figure.update_xaxes, figure.update_yaxes), names, strict=False):
        axis(title_text=plain(name), type=_axis_type(findings.free[name]))
    if len(names) == 1:
        kind = "log" if wants_log(values) else "linear"
        figure.update_yaxes(title_text=plain(f"{goal.label} ({goal.direction})"), type=kind)
    return figure


class _GoalScale:
    """An axis of an objective from its worst, 0, to its best, 1, where few arms are off below."""

    def __init__(self, goal: Goal, values: np.ndarray) -> None:
        self.log = wants_log(values)
        self.sign = 1.0 if goal.larger_is_better else -1.0
        scaled = np.log10(values) if self.log else values
        # A handful of very bad arms must not press all the others into one colour.
        worst = 0.05 if len(values) > _FEW_ARMS else 0.0
        low, high = np.quantile(self.sign * scaled, [worst, 1.0])
        self.low, self.high = float(low), float(high)
        self.clipped = worst > 0

    @classmethod
    def of(cls, findings: Findings, goal: int) -> _GoalScale:
        return cls(findings.goals[goal], findings.column(goal))

    def shade(self, value: float) -> float:
        """0 for the worst values, 1 for the best."""
        scaled = self.sign * (math.log10(value) if self.log else value)
        if self.high == self.low:
            return 1.0
        return min(max((scaled - self.low) / (self.high - self.low), 0.0), 1.0)

    def at_shade(self, shade: float) -> float:
        """The value of a shade."""
        scaled = self.sign * (self.low + shade * (self.high - self.low))
        return 10.0**scaled if self.log else scaled

    def height(self, value: float) -> float:
        """Its place on a vertical axis whose values grow upwards."""
        shade = self.shade(value)
        return shade if self.sign > 0 else 1.0 - shade

    def ticks(self) -> list[tuple[float, str]]:
        shades = [t if self.sign > 0 else 1.0 - t for t in _TICKS]
        beyond = ("≤ " if self.sign > 0 else "≥ ") if self.clipped else ""
        return [
            (t, f"{'' if s else beyond}{self.at_shade(s):.3g}")
            for t, s in zip(_TICKS, shades, strict=True)
        ]


def _ranked(findings: Findings) -> tuple[list[ObservedArm], list[float]]:
    """Arms from the worst to the best of the first objective, and how good each is."""
    scale = _GoalScale.of(findings, 0)
    sign = 1.0 if findings.goals[0].larger_is_better else -1.0
    arms = sorted(findings.arms, key=lambda arm: sign * arm.values[0])[-_MOST_LINES:]
    return arms, [scale.shade(arm.values[0]) for arm in arms]


def _parameter_ticks(parameter: RangeParameter | ChoiceParameter) -> list[tuple[float, str]]:
    if isinstance(parameter, ChoiceParameter):
        shown = parameter.values[:_MOST_CHOICES]
        return [(position_in_box(parameter, value), str(value)) for value in shown]
    low, high = float(parameter.lower), float(parameter.upper)
    if isinstance(parameter.lower, int) and high - low <= len(_TICKS) and not parameter.log_scale:
        whole = range(int(low), int(high) + 1)
        return [(position_in_box(parameter, value), str(value)) for value in whole]
    if parameter.log_scale:
        values = [low * (high / low) ** t for t in _TICKS]
    else:
        values = [low + t * (high - low) for t in _TICKS]
    return [(t, f"{value:.4g}") for t, value in zip(_TICKS, values, strict=True)]


def _axis_type(parameter: RangeParameter | ChoiceParameter) -> str:
    if isinstance(parameter, ChoiceParameter):
        return "category"
    return "log" if parameter.log_scale else "linear"
