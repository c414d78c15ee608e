"""The head of a report: what the campaign is, how far it got, and its best arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from ax.core.parameter import ChoiceParameter, RangeParameter
from ax.core.trial_status import TrialStatus

from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.campaign.report.findings import Findings, constraint_texts
from ax_jax_runners.campaign.report.page import Section
from ax_jax_runners.campaign.report.tables import (
    Cell,
    Markup,
    escape,
    facts,
    number,
    paragraph,
    position_bar,
    table,
    value_text,
)
from ax_jax_runners.campaign.report.windows import windows_text
from ax_jax_runners.problems import origin
from ax_jax_runners.store.campaigns import load_campaign

_AT_A_BOUND = 1e-3


def header(findings: Findings) -> str:
    """Facts about the campaign as a list."""
    campaign = findings.campaign
    with campaign.store.reading() as connection:
        record = load_campaign(connection, campaign.name)
    stored = record.configuration
    program = stored.get("program", {})
    total = "" if record.total_trials is None else f" of {record.total_trials}"
    pairs: list[tuple[str, Cell]] = [
        (
            "Objective, maximised",
            stored.get("objective", " , ".join(g.label for g in findings.goals)),
        ),
        ("Outcome constraints", ", ".join(stored.get("outcome_constraints", ())) or "none"),
        ("Task", _task_text(findings, stored)),
        ("State", record.state),
        ("Trials", f"{campaign.trials_begun}{total}: {_by_status(campaign.experiment)}"),
        ("Generation, batch, seed", _generation(stored, record.options)),
        ("First and last result", _times(campaign.experiment)),
        ("Computed with", _program_text(program)),
        ("Ax, ax-jax-runners", f"{version('ax-platform')}, {version('ax-jax-runners')}"),
    ]
    return facts((name, value) for name, value in pairs if value)


def best_section(findings: Findings) -> Section:
    """The best arm, or the Pareto front, within the search box."""
    if not findings.best:
        text = (
            "No completed arm keeps the outcome constraints yet."
            if findings.arms
            else "No arm is complete yet."
        )
        return Section("best", "Best parameters", paragraph(text))
    if len(findings.goals) > 1:
        return Section("best", "Pareto front", _front(findings))
    best = findings.best[0]
    body = paragraph(f"Trial {best.trial_index}, arm {best.arm_name}.")
    body += _boxes(findings) + _outputs(findings)
    return Section("best", "Best parameters", body)


def position_in_box(parameter: RangeParameter | ChoiceParameter, value: Any) -> float:
    """Where a value lies between the ends of its search box, in [0, 1]; logarithmic on log axes."""
    if isinstance(parameter, ChoiceParameter):
        return parameter.values.index(value) / max(len(parameter.values) - 1, 1)
    low, high, x = float(parameter.lower), float(parameter.upper), float(value)
    if parameter.log_scale and min(low, x) > 0:
        low, high, x = math.log(low), math.log(high), math.log(x)
    return (x - low) / (high - low)


def _boxes(findings: Findings) -> str:
    rows: list[list[Cell]] = []
    for name, parameter in findings.free.items():
        values = [arm.parameters[name] for arm in findings.best]
        positions = [position_in_box(parameter, value) for value in values]
        shown = values[0] if len(values) == 1 else Markup(_range_text(parameter, values))
        if isinstance(parameter, RangeParameter):
            scale = "logarithmic" if parameter.log_scale else "linear"
            if isinstance(parameter.lower, int):
                scale = f"integer, {scale}"
            ends: list[Cell] = [parameter.lower, position_bar(positions), parameter.upper, scale]
        else:
            texts = ", ".join(value_text(value) for value in parameter.values)
            ends = [None, position_bar(positions), None, f"one of {texts}"]
        rows.append([name, shown, *ends, _bound_note(parameter, positions)])
    rows += [
        [name, value, None, None, None, "fixed", None] for name, value in findings.fixed.items()
    ]
    title = "best value" if len(findings.best) == 1 else "on the front"
    return table(("parameter", title, "lower", "search box", "upper", "scale", ""), rows)


def _bound_note(parameter: RangeParameter | ChoiceParameter, positions: Sequence[float]) -> Cell:
    if isinstance(parameter, ChoiceParameter) or len(positions) > 1:
        return Markup("")
    for distance, side in ((positions[0], "lower"), (1 - positions[0], "upper")):
        if distance < _AT_A_BOUND:
            return Markup(f'<span class="mark">at its {side} bound</span>')
    return Markup("")


def _outputs(findings: Findings) -> str:
    best = findings.best[0]
    outcome = arm_outcomes(findings.campaign.experiment.trials[best.trial_index])
    recorded = outcome.get(best.arm_name, {}).get("outputs", {})
    roles = _roles(findings)
    rows = [
        [name, value, recorded.get(name, (None, None))[1], roles.get(name, "reported")]
        for name, value in best.outputs.items()
    ]
    body = table(("output", "value", "standard error", "role"), rows)
    body += windows_text(best.outputs)
    if len(findings.goals[0].form) > 1:
        goal = findings.goals[0]
        text = f"{goal.label} = {number(goal.value(best.outputs))} ({goal.direction})."
        body += paragraph(f"Objective: {text}")
    return body + _constraints(findings, best.outputs)


def _roles(findings: Findings) -> dict[str, str]:
    roles = {
        name: "constrained"
        for item in findings.campaign.goals.constraints
        for name, _ in item.coefficients
    }
    for goal in findings.goals:
        for name, weight in goal.form:
            roles[name] = "objective: " + ("larger" if weight > 0 else "smaller") + " is better"
    return roles


def _constraints(findings: Findings, outputs: Mapping[str, float]) -> str:
    rows = [[text, item.slack(outputs)] for text, item in constraint_texts(findings.campaign.goals)]
    return table(("outcome constraint", "slack"), rows) if rows else ""


def _front(findings: Findings) -> str:
    names, outputs = list(findings.free), list(findings.campaign.outputs)
    rows = [
        [
            arm.trial_index,
            arm.arm_name,
            *(arm.parameters[name] for name in names),
            *(arm.outputs.get(name) for name in outputs),
        ]
        for arm in findings.best
    ]
    order = findings.goals[0].label
    return (
        paragraph(
            f"{len(rows)} arms that no other arm beats in every objective, in the order of {order}."
        )
        + table(("trial", "arm", *names, *outputs), rows)
        + "<h3>Where the front lies in the search box</h3>"
        + _boxes(findings)
    )


def _range_text(parameter: RangeParameter | ChoiceParameter, values: Sequence[Any]) -> str:
    if isinstance(parameter, ChoiceParameter):
        met = [value for value in parameter.values if value in values]
        return escape(", ".join(value_text(value) for value in met))
    return escape(f"{value_text(min(values))} to {value_text(max(values))}")


def _by_status(experiment: Any) -> str:
    counts = [
        f"{len(trials)} {status.name.lower().replace('_', ' ')}"
        for status, trials in experiment.trials_by_status.items()
        if trials and status is not TrialStatus.STAGED
    ]
    return ", ".join(counts) or "none"


def _task_text(findings: Findings, stored: Mapping[str, Any]) -> str | None:
    built_in = origin(getattr(findings.campaign.experiment.runner, "task", None))
    if built_in is not None:
        return f"built-in problem {built_in[0]}"
    return stored.get("task", {}).get("reference")


def _generation(stored: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    parts = [stored.get("generation"), options.get("batch_size"), stored.get("seed")]
    return ", ".join(str(part) for part in parts if part is not None)


def _times(experiment: Any) -> str:
    ended = [t.time_completed for t in experiment.trials.values() if t.time_completed is not None]
    if not ended:
        return ""
    return f"{_time_text(min(ended))} to {_time_text(max(ended))}"


def _time_text(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _program_text(program: Mapping[str, Any]) -> str:
    if not program:
        return ""
    parts = [f"JAX {program.get('jax')} on {program.get('platform')}"]
    if "dtype" in program:
        parts.append(str(program["dtype"]))
    if program.get("reproducible"):
        parts.append(f"reproducible chunks of {program.get('chunk')}")
    return ", ".join(parts)
