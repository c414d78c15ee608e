"""``ax-jax run``: start a campaign from its file, or go on with it."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import (
    Artifacts,
    AsJson,
    NoCache,
    Report,
    TakeOver,
    Trials,
    Verbose,
)
from ax_jax_runners.cli.logs import show_log
from ax_jax_runners.cli.quiet import silence_ax
from ax_jax_runners.cli.running import check_report, run_to_total


def run(
    context: typer.Context,
    config: Annotated[str, typer.Argument(metavar="CONFIG.toml", help="The campaign file.")],
    trials: Trials = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="URL", help="Database, in place of the file's."),
    ] = None,
    artifacts: Artifacts = None,
    report: Report = None,
    take_over: TakeOver = False,
    no_cache: NoCache = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Run a campaign to its total number of trials.

    A campaign that was begun goes on where it was. One that is complete costs no evaluation.
    """
    from ax_jax_runners.campaign.settings import read_settings

    if verbose:
        show_log(context)
    settings = read_settings(config)
    check_report(report)
    silence_ax()
    from ax_jax_runners.campaign.opening import open_campaign

    campaign = open_campaign(settings, store=store, artifacts=artifacts, trials=trials)
    given = {"--trials": trials, "--store": store and campaign.store.description}
    again = ["ax-jax", "run", config]
    for option, value in given.items():
        again += [option, str(value)] if value is not None else []
    run_to_total(
        campaign,
        trials=trials,
        take_over=take_over,
        cache=not no_cache,
        report=report,
        as_json=as_json,
        again=shlex.join(again),
    )
