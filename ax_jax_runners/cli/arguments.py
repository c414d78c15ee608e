"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_STORE = "sqlite:///campaigns.db"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name in the store.")]
StoreUrl = Annotated[
    str,
    typer.Option(
        "--store", metavar="URL", help="sqlite:///file.db or postgresql://user@host/database."
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        metavar="FOLDER",
        help="Where arrays are kept; a SQLite store has its own folder beside the file.",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", metavar="N", min=1, help="Total number of trials, those done included."
    ),
]
Report = Annotated[
    str | None,
    typer.Option("--report", metavar="PATH", help="Write the HTML report there afterwards."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Take the campaign from another live process, which then writes nothing more.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Evaluate also what the store has already, of any of its campaigns."
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show on stderr what the run does beside its trials."),
]
