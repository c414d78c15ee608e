"""``ax-jax copy``: a campaign into another store."""

from __future__ import annotations

from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, Artifacts, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import print_json, say
from ax_jax_runners.cli.quiet import silence_ax


def copy(
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The other database.")],
    store: StoreUrl = DEFAULT_STORE,
    artifacts: Artifacts = None,
    to_artifacts: Annotated[
        str | None,
        typer.Option("--to-artifacts", metavar="FOLDER", help="The same at the other store."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a campaign with all its trials and files to another store, where it can go on.

    All of it is there afterwards, or nothing. The original stays as it is.
    """
    from ax_jax_runners.campaign.opening import copy_campaign, open_existing

    source = open_existing(store, artifacts=artifacts)
    silence_ax()
    copied = copy_campaign(name, source=source, to=to, artifacts=to_artifacts)
    if as_json:
        print_json(vars(copied))
    else:
        say(
            f"Copied campaign {name!r} with {copied.trials} trials and {copied.files} files to "
            f"{copied.store}"
        )
