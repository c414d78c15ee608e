"""The application: its commands, and how errors become one sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ax_jax_runners.cli import (
    best,
    copying,
    doctor,
    export,
    init,
    listing,
    log,
    problems,
    report,
    resume,
    run,
    status,
    stop,
)
from ax_jax_runners.errors import (
    AxJaxError,
    CampaignExists,
    CampaignNotFound,
    ConfigurationError,
    DataFileError,
    ParameterError,
    TaskNotBound,
)

FAILED, USAGE, INTERRUPTED = 1, 2, 130

_USAGE_ERRORS = (
    CampaignExists,
    CampaignNotFound,
    ConfigurationError,
    DataFileError,
    ParameterError,
    TaskNotBound,
)
# Typer keeps the parser's errors in a private package; this one is their public face.
_PARSING_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


class Application(TyperGroup):
    """Ends with 0, 1 (failed), 2 (usage) or 130 (Ctrl-C); an error is one sentence on stderr."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        try:
            code = super().main(
                args=given or ["--help"],
                prog_name=prog_name or "ax-jax",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except _PARSING_ERROR as error:
            code = _complain(USAGE, _parsing_sentence(error))
        except AxJaxError as error:
            code = _complain(USAGE if isinstance(error, _USAGE_ERRORS) else FAILED, str(error))
        except typer.Abort:
            code = INTERRUPTED
        except OSError as error:
            code = _complain(FAILED, f"{error.filename or 'A file'}: {error.strerror or error}.")
        if standalone_mode:
            sys.exit(code or 0)
        return code


def _complain(code: int, sentence: str) -> int:
    typer.echo(f"ax-jax: {sentence}", err=True)
    return code


def _parsing_sentence(error: Any) -> str:
    path = error.ctx.command_path if error.ctx is not None else "ax-jax"
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see `{path} --help`."


app = typer.Typer(
    name="ax-jax",
    cls=Application,
    help="Adaptive campaigns of experiments on JAX simulators, kept in an SQL database.",
    epilog="Start with: ax-jax init campaign.toml, then: ax-jax run campaign.toml",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

for _name, _function, _example in (
    ("run", run.run, "ax-jax run ring-slot.toml --trials 80 --report ring-slot.html"),
    ("resume", resume.resume, "ax-jax resume ring-slot --trials 100"),
    ("stop", stop.stop, "ax-jax stop ring-slot --wait 60"),
    ("status", status.status, "ax-jax status ring-slot --json"),
    ("log", log.log, "ax-jax log ring-slot --follow"),
    ("best", best.best, "ax-jax best momentum-pool --subject-to 'validation >= 0'"),
    ("export", export.export, "ax-jax export ring-slot --to trials.parquet"),
    ("report", report.report, "ax-jax report ring-slot --to ring-slot.html"),
    ("copy", copying.copy, "ax-jax copy ring-slot --to postgresql://me@host/campaigns"),
    ("list", listing.list_campaigns, "ax-jax list --store sqlite:///campaigns.db"),
    ("problems", problems.problems, "ax-jax problems ring-slot"),
    ("init", init.init, "ax-jax init campaign.toml"),
    ("doctor", doctor.doctor, "ax-jax doctor --store postgresql://me@host/campaigns"),
):
    app.command(_name, epilog=f"Example: {_example}")(_function)
