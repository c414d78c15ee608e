"""What commands print: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ax_jax_runners.campaign.best import Best


def print_json(document: Any) -> None:
    """Print one document on stdout; numbers that are not finite become null."""
    typer.echo(json.dumps(_plain(document), indent=2, allow_nan=False))


def print_json_line(document: Any) -> None:
    """Print one document on a line of its own and at once, for a program that reads along."""
    typer.echo(json.dumps(_plain(document), allow_nan=False))
    sys.stdout.flush()


def print_table(table: Table) -> None:
    """Print a table on stdout, as wide as the terminal."""
    from rich.console import Console

    Console().print(table)


def say(sentence: str) -> None:
    """Print a line for people on stdout."""
    typer.echo(sentence)


def grid(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    unbroken: Collection[str] = (),
) -> Table:
    """A table whose first column is bold; cells of ``unbroken`` columns stay on one line."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    heading = None if title is None else escape(title)
    table = Table(title=heading, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, name in enumerate(columns):
        style = "bold" if number == 0 else None
        table.add_column(name, style=style, overflow="fold", no_wrap=name in unbroken)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def status_count(number: int, status: str) -> str:
    """A number of trials and Ax's name of their status: ``3 early stopped``."""
    return f"{number} {status.lower().replace('_', ' ')}"


def clock(seconds: float) -> str:
    """Seconds since the epoch as local time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def one_line(text: str, longest: int) -> str:
    """Text of any length and content as one line of at most so many characters."""
    # A simulator's message may hold anything, control sequences of the terminal included.
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 20 * longest])
    line = " ".join(shown.split())
    return line if len(line) <= longest else f"{line[: max(longest - 1, 0)]}…"


def best_document(best: Best | tuple[Best, ...] | None) -> Any:
    """The best arm as JSON; a list for a Pareto front; null where there is none."""
    if isinstance(best, tuple):
        return [best_document(each) for each in best]
    if best is None:
        return None
    return {
        "trial_index": best.trial_index,
        "arm_name": best.arm_name,
        "parameters": dict(best.parameters),
        "outputs": dict(best.outputs),
    }


def best_table(best: Best | tuple[Best, ...], title: str) -> Table:
    """One row a value for one arm; one row an arm for a Pareto front."""
    if isinstance(best, tuple):
        outputs, parameters = list(best[0].outputs), list(best[0].parameters)
        rows = [
            [
                each.trial_index,
                *(each.outputs.get(name) for name in outputs),
                *(each.parameters[name] for name in parameters),
            ]
            for each in best
        ]
        return grid(title, ["trial", *outputs, *parameters], rows)
    rows = [[name, value, "parameter"] for name, value in best.parameters.items()]
    rows += [[name, value, "output"] for name, value in best.outputs.items()]
    return grid(f"{title}: trial {best.trial_index}", ["name", "value", ""], rows)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.7g}"
    return escape(str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
