"""Measured curves beside what the task computes at the best parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.campaign.report.findings import Findings
from ax_jax_runners.campaign.report.page import Section, figure_html, side_by_side
from ax_jax_runners.campaign.report.style import BLUE, GREEN, GREY, ORANGE, new_figure, plain
from ax_jax_runners.campaign.report.tables import number, paragraph
from ax_jax_runners.campaign.results import Best
from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.evaluation.features import leaf_names
from ax_jax_runners.problems import Measured, measured
from ax_jax_runners.tasks import UnboundTask

Curve = tuple[Measured, np.ndarray]


def fit_section(findings: Findings) -> Section:
    """One figure for each measured curve."""
    found = fitted_curves(findings)
    if isinstance(found, str):
        return Section("fit", "Measured and fitted", paragraph(found))
    text = f"Features at the parameters of trial {findings.best[0].trial_index}"
    if len(findings.best) > 1:
        text += f", the arm of the Pareto front with the best {findings.goals[0].label}"
    sizes = ", ".join(f"{curve.feature}: {number(_rms(curve, y))}" for curve, y in found)
    text += f". Root mean square distance from the measurement: {sizes}."
    figures = [
        figure_html(f"figure-fit-{k}", fit_figure(*curve), f"Measured and fitted {k + 1}")
        for k, curve in enumerate(found)
    ]
    body = figures[0] if len(figures) == 1 else side_by_side(figures)
    return Section("fit", "Measured and fitted", paragraph(text) + body)


def fitted_curves(findings: Findings) -> list[Curve] | str:
    """The measured curves and the features beside them, or why there are none.

    What was recorded with the arm is shown; the task is evaluated again only where it was not.
    """
    if not findings.best:
        return "There is no best arm yet whose features could be drawn."
    task = getattr(findings.campaign.experiment.runner, "task", None)
    if isinstance(task, UnboundTask):
        return (
            f"The task {task.reference!r} was not given when the campaign was opened, so its "
            "measured curves are not known; load the campaign with its task."
        )
    curves = measured(task)
    if not curves:
        return "The task names no measured curve: its simulator has no attribute 'measured'."
    best = findings.best[0]
    evaluate: Callable[[], dict[str, np.ndarray]] = _once(lambda: _evaluated(task, best))
    pairs = []
    for curve in curves:
        values = _recorded(findings, best, curve)
        if values is None:
            values = evaluate().get(curve.feature)
        if values is not None and values.shape == np.shape(curve.values):
            pairs.append((curve, values))
    if not pairs:
        named = ", ".join(repr(curve.feature) for curve in curves)
        return f"The features at the best parameters have no curve to compare with {named}."
    return pairs


def fit_figure(curve: Measured, values: np.ndarray) -> go.Figure:
    """Magnitude in dB, phase and residual of a complex curve; the values of a real one."""
    rows = 3 if np.iscomplexobj(curve.values) or np.iscomplexobj(values) else 2
    heights = [0.5, 0.27, 0.23] if rows == 3 else [0.7, 0.3]
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights
    )
    new_figure(figure, height=640 if rows == 3 else 460)
    panels = _complex_panels(curve, values) if rows == 3 else _real_panels(curve, values)
    for row, (label, traces) in enumerate(panels, start=1):
        for trace in traces:
            figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title_text=plain(label), row=row, col=1)
    figure.update_xaxes(title_text=plain(curve.x_label), row=rows, col=1)
    return figure


def main_panel(curve: Measured, values: np.ndarray) -> tuple[str, list[go.Scatter]]:
    """The first panel of `fit_figure`: its label and traces."""
    panels = _complex_panels if np.iscomplexobj(curve.values) else _real_panels
    return panels(curve, values)[0]


def _complex_panels(curve: Measured, values: np.ndarray) -> list[tuple[str, list[go.Scatter]]]:
    x, data = curve.x, np.asarray(curve.values, dtype=complex)
    # The fitted phase is laid beside the measured one, whatever turns both have made.
    phase = np.unwrap(np.angle(data))
    beside = phase + np.angle(values * np.conj(data))
    # Where the two are on opposite sides of the origin the line breaks off.
    beside[1:][np.abs(np.diff(beside)) > np.pi] = np.nan
    residual = np.asarray(values - data, dtype=complex)
    return [
        (
            f"|{curve.feature}| [dB]",
            [
                _dots(x, _decibel(data), "measured"),
                _line(x, _decibel(values), "fitted", ORANGE),
            ],
        ),
        (
            "phase [°]",
            [
                _dots(x, np.degrees(phase), "measured", legend=False),
                _line(x, np.degrees(beside), "fitted", ORANGE, legend=False),
            ],
        ),
        (
            "fitted - measured",
            [
                _line(x, np.real(residual), "residual, real part", GREEN),
                _line(x, np.imag(residual), "residual, imaginary part", GREY),
            ],
        ),
    ]


def _real_panels(curve: Measured, values: np.ndarray) -> list[tuple[str, list[go.Scatter]]]:
    data = np.asarray(curve.values)
    return [
        (
            curve.feature,
            [_dots(curve.x, data, "measured"), _line(curve.x, values, "fitted", ORANGE)],
        ),
        ("fitted - measured", [_line(curve.x, values - data, "residual", GREEN)]),
    ]


def _dots(x: np.ndarray, y: np.ndarray, name: str, *, legend: bool = True) -> go.Scatter:
    return go.Scatter(
        x=x, y=y, name=name, mode="markers", marker={"color": BLUE, "size": 5}, showlegend=legend
    )


def _line(
    x: np.ndarray, y: np.ndarray, name: str, color: str, *, legend: bool = True
) -> go.Scatter:
    line = {"color": color, "width": 2}
    return go.Scatter(x=x, y=y, name=name, mode="lines", line=line, showlegend=legend)


def _decibel(values: np.ndarray) -> np.ndarray:
    # An exact zero has no decibels; it leaves a gap in the line.
    magnitude = np.where(np.abs(values) > 0, np.abs(values), np.nan)
    return 20.0 * np.log10(magnitude)


def _rms(curve: Measured, values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(values - curve.values) ** 2)))


def _recorded(findings: Findings, best: Best, curve: Measured) -> np.ndarray | None:
    files = findings.campaign.store.files
    outcome = arm_outcomes(findings.campaign.experiment.trials[best.trial_index])
    sha256 = outcome.get(best.arm_name, {}).get("artifacts", {}).get(curve.feature)
    if files is None or sha256 is None:
        return None
    try:
        values = files.read_arrays(sha256).get(curve.feature)
    except (AxJaxError, OSError):
        return None
    # Replicates of a stochastic simulator come first.
    if values is not None and values.ndim == np.ndim(curve.values) + 1:
        return values.mean(axis=0)
    return values


def _evaluated(task: Any, best: Best) -> dict[str, np.ndarray]:
    evaluator = task.evaluator
    free = {name: best.parameters[name] for name in task.space.names}
    key = jax.random.key(0) if evaluator.stochastic else None
    try:
        features = evaluator.model_features(task.space.pack(free), key)
    except AxJaxError:
        return {}
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(features)]
    return dict(zip(leaf_names(features), leaves, strict=True))


def _once(compute: Callable[[], dict[str, np.ndarray]]) -> Callable[[], dict[str, np.ndarray]]:
    kept: list[dict[str, np.ndarray]] = []

    def get() -> dict[str, np.ndarray]:
        if not kept:
            kept.append(compute())
        return kept[0]

    return get
