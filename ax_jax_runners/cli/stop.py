"""``ax-jax stop``: end a campaign that runs in another process."""

from __future__ import annotations

from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import print_json, say
from ax_jax_runners.errors import CampaignError


def stop(
    name: Name,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="Longest wait.")
    ] = 30.0,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Ask the process that runs a campaign to stop, and wait until it has.

    It ends after the step in flight; nothing is lost.
    """
    from ax_jax_runners.campaign.opening import open_existing
    from ax_jax_runners.campaign.stopping import stop_campaign

    opened = open_existing(store)
    outcome = stop_campaign(opened, name, wait=wait)
    if as_json:
        print_json({"name": name, "owner": outcome.owner, "stopped": outcome.stopped})
    elif outcome.owner is None:
        say(f"Campaign {name!r} is not running.")
    elif outcome.stopped:
        say(f"Campaign {name!r} was run by {outcome.owner} and has stopped.")
    if not outcome.stopped:
        raise CampaignError(
            f"Campaign {name!r} is still run by {outcome.owner} after {wait:g} s; it was asked to "
            "stop and will after its step in flight."
        )
