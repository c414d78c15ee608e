"""``ax-jax best``: the best arm of a campaign."""

from __future__ import annotations

from typing import Annotated

import typer

from ax_jax_runners.cli.arguments import DEFAULT_STORE, AsJson, Name, StoreUrl
from ax_jax_runners.cli.output import best_document, best_table, print_json, print_table

SubjectTo = Annotated[
    list[str] | None,
    typer.Option(
        "--subject-to",
        metavar="CONDITION",
        help="What must hold beside the campaign's own constraints, such as 'validation >= 0'; "
        "may be given more than once.",
    ),
]


def best(
    name: Name,
    subject_to: SubjectTo = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the best feasible arm, or the Pareto front of several objectives."""
    from ax_jax_runners.campaign.opening import open_existing
    from ax_jax_runners.campaign.overview import read_best

    found = read_best(open_existing(store), name, subject_to=subject_to or ())
    if as_json:
        print_json(best_document(found))
    else:
        print_table(best_table(found, f"Best of {name}"))
