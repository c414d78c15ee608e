"""``ax-jax list``: the campaigns of a store."""

from __future__ import annotations

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, StoreUrl
from ax_jax_runners.cli.status import status


def list_campaigns(store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the campaigns of a store."""
    status(None, store=store, as_json=as_json)
