"""``ax-jax export``: the table of a campaign as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import print_json, say
from ax_jax_runners.cli.quiet import silence_ax


def export(
    name: Name,
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="Ends in .parquet, .csv or .json.")
    ],
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write one row an arm: status, parameters, outputs and their standard errors, exactly."""
    from ax_jax_runners.campaign.export import check_target, export_campaign
    from ax_jax_runners.campaign.opening import open_existing

    check_target(Path(to))
    opened = open_existing(store)
    silence_ax()
    from ax_jax_runners.campaign.campaign import Campaign

    campaign = Campaign.load(name, store=opened)
    path = export_campaign(campaign, to)
    rows = sum(len(trial.arms) for trial in campaign.experiment.trials.values())
    if as_json:
        print_json({"name": name, "file": str(path), "rows": rows})
    else:
        say(f"Wrote {rows} rows of campaign {name!r} to {path}")
