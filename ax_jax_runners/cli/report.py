"""``ax-jax report``: one HTML file about a campaign."""

from __future__ import annotations

from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, Artifacts, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import print_json, say
from ax_jax_runners.cli.quiet import silence_ax
from ax_jax_runners.cli.running import check_report


def report(
    name: Name,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE.html", help="Default: NAME.html in this folder."),
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Write the report: best arm, progress, fit to the measurement, model quality, failures."""
    from ax_jax_runners.campaign.opening import open_existing

    target = to or f"{name.replace('/', '-')}.html"
    check_report(target)
    opened = open_existing(store, artifacts=artifacts)
    silence_ax()
    from ax_jax_runners.campaign.campaign import Campaign

    path = Campaign.load(name, store=opened).report(target)
    if as_json:
        print_json({"name": name, "file": str(path)})
    else:
        say(f"Wrote the report of campaign {name!r} to {path}")
