"""Run an open campaign to its total, and show what came out: shared by `run` and `resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ax_jax_runners.cli.output import (
    best_document,
    best_table,
    print_json,
    print_table,
    say,
    status_count,
)
from ax_jax_runners.errors import ConfigurationError, NoFeasibleArm

if TYPE_CHECKING:
    from ax_jax_runners.campaign.best import Best
    from ax_jax_runners.campaign.campaign import Campaign

INTERRUPTED = 130


def check_report(path: str | None) -> None:
    """Refuse a report that could not be written after hours of running.

    Raises:
        ConfigurationError: Its folder does not exist.
    """
    if path is not None and not Path(path).parent.is_dir():
        raise ConfigurationError(
            f"Report {path!r}: folder {str(Path(path).parent)!r} does not exist; create it."
        )


def run_to_total(
    campaign: Campaign,
    *,
    trials: int | None,
    take_over: bool,
    cache: bool,
    report: str | None,
    as_json: bool,
    again: str,
) -> None:
    """Run, then print the result and where everything is.

    Args:
        campaign: The open campaign.
        trials: The total; None: the stored one.
        take_over: Whether to displace another live process.
        cache: Whether to take results that the store has already.
        report: Where to write the HTML report afterwards.
        as_json: Whether to print JSON.
        again: The command that goes on after an interruption.
    """
    before = campaign.trials_begun
    interrupted = False
    try:
        campaign.run(trials, take_over=take_over, cache=cache)
        interrupted = campaign.was_interrupted
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        typer.echo(
            f"Interrupted after {campaign.trials_begun} trials of campaign {campaign.name!r}; "
            f"what is recorded is kept. Go on with: {again}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)
    written = None if report is None else campaign.report(report)
    if as_json:
        print_json(_document(campaign, before, written))
    else:
        _show(campaign, before, written, again)


def _document(campaign: Campaign, before: int, report: Path | None) -> dict[str, object]:
    return {
        "name": campaign.name,
        "complete": _is_complete(campaign),
        "trials": campaign.trials_begun,
        "total_trials": _total(campaign),
        "run_now": campaign.trials_begun - before,
        "counts": _counts(campaign),
        "best": best_document(_best(campaign)),
        "store": campaign.store.description,
        "report": None if report is None else str(report),
    }


def _show(campaign: Campaign, before: int, report: Path | None, again: str) -> None:
    begun, total = campaign.trials_begun, _total(campaign)
    best = _best(campaign)
    if best is None:
        say(f"No arm of campaign {campaign.name!r} is feasible yet.")
    else:
        print_table(best_table(best, f"Best of {campaign.name}"))
    counts = ", ".join(status_count(n, status) for status, n in _counts(campaign).items())
    say(f"Trials: {counts}; {begun - before} of them run now.")
    say(f"Store: {campaign.store.description}")
    if report is not None:
        say(f"Report: {report}")
    if _is_complete(campaign):
        say(f"Campaign {campaign.name!r} is complete ({begun} of {total} trials).")
    else:
        say(f"Campaign {campaign.name!r} stopped at {begun} of {total} trials; go on with: {again}")


def _total(campaign: Campaign) -> int:
    from ax_jax_runners.campaign.campaign import DEFAULT_TRIALS

    return max(campaign.total_trials or DEFAULT_TRIALS, campaign.trials_begun)


def _is_complete(campaign: Campaign) -> bool:
    return campaign.trials_begun >= _total(campaign)


def _counts(campaign: Campaign) -> dict[str, int]:
    trials = campaign.experiment.trials_by_status
    return {status.name: len(found) for status, found in trials.items() if found}


def _best(campaign: Campaign) -> Best | tuple[Best, ...] | None:
    try:
        return campaign.best()
    except NoFeasibleArm:
        return None
