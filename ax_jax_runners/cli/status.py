"""``ax-jax status``: where campaigns stand, also while another process runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, StoreUrl
from ax_jax_runners.cli.output import (
    best_document,
    best_table,
    clock,
    grid,
    one_line,
    print_json,
    print_table,
    say,
    status_count,
)

if TYPE_CHECKING:
    from ax_jax_runners.campaign.overview import Event, Overview

_SHOWN = 5
_SHOWN_RUNNING = 20
_LONGEST_REASON = 160


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One campaign; default: all.")
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show the state of one campaign or of all: trials, best arm, who runs it, failures, events."""
    from ax_jax_runners.campaign.opening import open_existing
    from ax_jax_runners.campaign.overview import read_overview, read_overviews

    opened = open_existing(store)
    if name is None:
        found = read_overviews(opened)
        if as_json:
            print_json([_document(each) for each in found])
        elif found:
            print_table(overview_table(found))
        else:
            say(f"There is no campaign in {opened.description}.")
        return
    overview = read_overview(opened, name)
    if as_json:
        print_json(_document(overview))
    else:
        _show(overview)


def overview_table(found: list[Overview]) -> Any:
    """One row a campaign."""
    rows = [
        (
            each.name,
            each.state,
            f"{each.begun} of {each.total_trials or '?'}",
            len(each.failures),
            _best_score(each),
            each.objective,
        )
        for each in found
    ]
    columns = ["campaign", "state", "trials", "failed", "best", "objective (maximised)"]
    return grid(None, columns, rows)


def _best_score(overview: Overview) -> str | float | None:
    if isinstance(overview.best, tuple):
        return f"{len(overview.best)} on the front"
    return overview.best_score


def _show(overview: Overview) -> None:
    owner = f", run by {overview.owner}" if overview.owner else ""
    asked = ", asked to stop" if overview.stop_requested else ""
    say(f"Campaign {overview.name!r}: {overview.state}{owner}{asked}")
    say(f"Objective (maximised): {overview.objective or 'not stored'}")
    if overview.outcome_constraints:
        say(f"Constraints: {'; '.join(overview.outcome_constraints)}")
    counts = ", ".join(status_count(n, status) for status, n in overview.counts.items())
    total = "" if overview.total_trials is None else f" of {overview.total_trials}"
    say(f"Trials: {overview.begun}{total} begun ({counts or 'none yet'})")
    if overview.running:
        # Without an owner they wait, in their frozen states, for the next run.
        what = "Running now" if overview.owner else "In the middle, to go on with"
        say(f"{what}: {_running(overview)}")
    if overview.repeated:
        say(f"Run again after an interruption: {sum(overview.repeated.values())} trials")
    if overview.best is not None:
        print_table(best_table(overview.best, "Best so far"))
    if overview.failures:
        rows = [(index, one_line(why, _LONGEST_REASON)) for index, why in overview.failures]
        print_table(grid("Latest failures", ["trial", "reason"], rows[:_SHOWN]))
    if overview.happenings:
        rows = [
            (clock(each.time), each.trial_index, each.attempt, _happening(each))
            for each in overview.happenings
        ]
        columns = ["time", "trial", "attempt", "event"]
        print_table(grid("Latest events", columns, rows, unbroken=columns[:3]))


def _happening(event: Event) -> str:
    """What happened and, on lines of its own, why: beside it a terminal has no room for that."""
    what = change(event) or event.kind
    return what if event.reason is None else f"{what}\n{one_line(event.reason, _LONGEST_REASON)}"


def change(event: Event) -> str | None:
    """From which status to which a trial went; None for other events."""
    if event.to_status is None:
        return None
    return f"{event.from_status or 'new'} -> {event.to_status}"


def _running(overview: Overview) -> str:
    shown = [
        f"trial {index} (attempt {attempt})"
        for index, attempt in list(overview.running.items())[:_SHOWN_RUNNING]
    ]
    more = len(overview.running) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _document(overview: Overview) -> dict[str, Any]:
    return {
        "name": overview.name,
        "state": overview.state,
        "owner": overview.owner,
        "stop_requested": overview.stop_requested,
        "objective": overview.objective,
        "outcome_constraints": list(overview.outcome_constraints),
        "trials": overview.begun,
        "total_trials": overview.total_trials,
        "counts": dict(overview.counts),
        "best": best_document(overview.best),
        "failures": [{"trial_index": i, "reason": why} for i, why in overview.failures],
        "running": {str(index): attempt for index, attempt in overview.running.items()},
        "repeated": {str(index): times for index, times in overview.repeated.items()},
        "events": [vars(each) for each in overview.happenings],
    }
