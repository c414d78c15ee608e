"""What went wrong: failed trials and arms with their sentences, and trials that were run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.trial_status import TrialStatus

from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.campaign.report.findings import Findings
from ax_jax_runners.campaign.report.page import Section
from ax_jax_runners.campaign.report.tables import Cell, paragraph, table, value_text
from ax_jax_runners.store.attempts import read_repeated

_BAD = {TrialStatus.FAILED, TrialStatus.ABANDONED}
_MOST_ROWS = 500
_NO_REASON = "No reason was recorded."


def failures_section(findings: Findings) -> Section:
    """Two tables, or a sentence for each that would be empty."""
    failed = list(_failed_arms(findings))
    again = _repeated(findings)
    body = _table(
        ("trial", "arm", "status", "parameters", "what happened"),
        failed,
        "No trial failed and no arm was abandoned.",
    )
    body += "<h3>Attempts that were run again</h3>" + _table(
        ("trial", "attempt", "ended as", "what happened"),
        again,
        "No trial had to be run more than once.",
    )
    return Section("failures", "Failures", body)


def _table(head: tuple[str, ...], rows: list[list[Cell]], otherwise: str) -> str:
    if not rows:
        return paragraph(otherwise)
    body = table(head, rows[:_MOST_ROWS], kind="failures")
    if len(rows) > _MOST_ROWS:
        body += paragraph(f"The first {_MOST_ROWS} of {len(rows)} are listed.")
    return body


def _failed_arms(findings: Findings) -> Iterator[list[Cell]]:
    for trial in findings.campaign.experiment.trials.values():
        outcomes = arm_outcomes(trial)
        for arm in trial.arms:
            outcome = outcomes.get(arm.name, {})
            abandoned = _abandoned(trial, arm.name)
            if trial.status not in _BAD and abandoned is None and outcome.get("status") != "failed":
                continue
            sentence = outcome.get("failure") or abandoned or trial.status_reason
            yield [
                str(trial.index),
                arm.name,
                "abandoned arm" if abandoned is not None else trial.status.name.lower(),
                _parameters_text(arm.parameters),
                sentence or _NO_REASON,
            ]


def _abandoned(trial: BaseTrial, arm_name: str) -> str | None:
    """Why an arm of a batch was abandoned; None where it was not."""
    if not isinstance(trial, BatchTrial):
        return None
    reasons = {found.name: found.reason or "" for found in trial.abandoned_arms_metadata}
    return reasons.get(arm_name)


def _parameters_text(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value_text(value)}" for name, value in parameters.items())


def _repeated(findings: Findings) -> list[list[Cell]]:
    """Attempts that another one followed, from the store's own record."""
    campaign = findings.campaign
    with campaign.store.reading() as connection:
        rows = read_repeated(connection, campaign.record.experiment_id)
    return [
        [
            str(row.trial_index),
            str(row.attempt),
            row.status,
            row.reason or "No reason was recorded.",
        ]
        for row in rows
    ]
