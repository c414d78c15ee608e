"""``ax-jax doctor``: whether this installation and its database are fit to run."""

from __future__ import annotations

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, StoreUrl
from ax_jax_runners.cli.output import grid, print_json, print_table
from ax_jax_runners.cli.quiet import silence_ax

_COLOURS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def doctor(store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Check versions, devices, database, disk and extras, and say what to do.

    Ends with 1 where something keeps campaigns from running.
    """
    silence_ax()
    from rich.markup import escape

    from ax_jax_runners.campaign.diagnosis import diagnose

    checks = diagnose(store)
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        table = grid(None, ["check", "", "found", "what to do"], ())
        for check in checks:
            verdict = _COLOURS[check.verdict]
            table.add_row(check.subject, verdict, escape(check.found), escape(check.advice))
        print_table(table)
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)
