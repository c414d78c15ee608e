"""``ax-jax best``: the best arm of a campaign."""

from __future__ import annotations

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import best_document, best_table, print_json, print_table


def best(name: Name, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Print the best feasible arm, or the Pareto front of several objectives."""
    from ax_jax_runners.campaign.opening import open_existing
    from ax_jax_runners.campaign.overview import read_best

    found = read_best(open_existing(store), name)
    if as_json:
        print_json(best_document(found))
    else:
        print_table(best_table(found, f"Best of {name}"))
