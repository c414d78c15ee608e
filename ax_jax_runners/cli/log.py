"""``ax-jax log``: what happened to a campaign, line by line, also while it goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, Name, StoreUrl
from ax_jax_runners.cli.output import clock, one_line, print_json_line, say
from ax_jax_runners.cli.status import change

if TYPE_CHECKING:
    from ax_jax_runners.campaign.overview import Event

_WIDTH_OF_NO_TERMINAL = 200
_SHORTEST_REASON = 12


def log(
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until nobody runs the campaign any more.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Only the N latest; default: all."),
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, texts in full length.")
    ] = False,
) -> None:
    """Show the events of a campaign, oldest first: every change of a trial, and why.

    A line has the time, the event, the trial with its attempt, from which status it went to which,
    and the reason. It works while another process runs the campaign.
    """
    from ax_jax_runners.campaign.log import follow_log, read_log
    from ax_jax_runners.campaign.opening import open_existing

    opened = open_existing(store)
    try:
        found = read_log(opened, name, limit=limit)
        for event in found:
            _print(event, as_json)
        if follow:
            _follow(follow_log(opened, name, after=found[-1].id if found else 0), name, as_json)
    finally:
        opened.close()


def _follow(news: Iterator[Event | str], name: str, as_json: bool) -> None:
    for each in news:
        if not isinstance(each, str):
            _print(each, as_json)
        elif not as_json:
            typer.echo(f"Campaign {name!r} is {each}.", err=True)


def _print(event: Event, as_json: bool) -> None:
    if as_json:
        print_json_line(vars(event))
        return
    say(_line(event))
    sys.stdout.flush()


def _line(event: Event) -> str:
    parts = [clock(event.time)]
    if event.trial_index is not None:
        parts.append(f"trial {event.trial_index}")
        if event.attempt is not None:
            parts.append(f"attempt {event.attempt}")
    parts.append(change(event) or event.kind)
    line = "  ".join(parts)
    if event.reason is None:
        return line
    width = shutil.get_terminal_size((_WIDTH_OF_NO_TERMINAL, 24)).columns
    left = max(width - len(line) - 2, _SHORTEST_REASON)
    return f"{line}  {one_line(event.reason, left)}"
