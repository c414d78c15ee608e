"""The parts of a report in their order, and the way to its file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ax_jax_runners.campaign.report.coordinates import coordinates_section
from ax_jax_runners.campaign.report.failures import failures_section
from ax_jax_runners.campaign.report.findings import Findings, collect
from ax_jax_runners.campaign.report.fit import fit_section
from ax_jax_runners.campaign.report.model import model_sections
from ax_jax_runners.campaign.report.page import render_page
from ax_jax_runners.campaign.report.progress import progress_section
from ax_jax_runners.campaign.report.summary import best_section, header
from ax_jax_runners.campaign.report.tables import number
from ax_jax_runners.files import write_atomically

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign


def write_report(campaign: Campaign, path: Path) -> Path:
    """Write everything that is known of a campaign as one HTML file of about 5 MB.

    The file holds its own drawing library and asks no other address for anything. Nothing of the
    campaign is changed; the model that it shows is fitted for it alone.

    Args:
        campaign: In any state, with or without its task.
        path: Where to; an existing file is replaced in one step.

    Returns:
        The path.

    Raises:
        StoreError: The database cannot be read.
        OSError: The file cannot be written.
    """
    path = Path(path)
    write_atomically(path, build_report(campaign).encode())
    return path


def build_report(campaign: Campaign) -> str:
    """The text of the file that `write_report` writes."""
    findings = collect(campaign)
    sections = [
        best_section(findings),
        progress_section(findings),
        fit_section(findings),
        coordinates_section(findings),
        *model_sections(findings),
        failures_section(findings),
    ]
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    footer = f"Written {written} from {campaign.store.description}."
    return render_page(campaign.name, _lead(findings), header(findings), sections, footer)


def _lead(findings: Findings) -> str:
    if not findings.arms:
        return "No trial is complete yet."
    trials = len({arm.found.trial_index for arm in findings.arms})
    if not findings.best:
        return f"{trials} completed trials, none of which keeps the outcome constraints."
    best, (goal, *others) = findings.best[0], findings.goals
    if others:
        return f"{len(findings.best)} arms on the Pareto front after {trials} completed trials."
    value = number(goal.value(best.outputs))
    return f"Best {goal.label} = {value} in trial {best.trial_index} of {trials} completed."
