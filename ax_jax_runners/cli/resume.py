"""``ax-jax resume``: go on with a stored campaign."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from ax_jax_runners.cli.arguments import (
    DEFAULT_STORE,
    Artifacts,
    AsJson,
    Name,
    NoCache,
    Report,
    TakeOver,
    Trials,
    Verbose,
)
from ax_jax_runners.cli.logs import show_log
from ax_jax_runners.cli.quiet import silence_ax
from ax_jax_runners.cli.running import check_report, run_to_total
from ax_jax_runners.errors import ConfigurationError, TaskNotBound

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign
    from ax_jax_runners.tasks import Task


def resume(
    context: typer.Context,
    name: Name,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Its campaign file, for a task of your own."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="MODULE:NAME", help="Its task, in place of the file."),
    ] = None,
    trials: Trials = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help=f"Database; default: that of --config, else {DEFAULT_STORE}.",
        ),
    ] = None,
    artifacts: Artifacts = None,
    report: Report = None,
    accept_changed: Annotated[
        bool,
        typer.Option(
            "--accept-changed", help="Go on although the task computes something else now."
        ),
    ] = False,
    take_over: TakeOver = False,
    no_cache: NoCache = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a stored campaign under its stored options.

    A built-in problem needs nothing else; a task of your own must be given again.
    """
    from ax_jax_runners.campaign.opening import make_task, open_existing

    if config is not None and task is not None:
        raise ConfigurationError("Both --config and --task were given; give one of them.")
    check_report(report)
    if verbose:
        show_log(context)
    settings = None
    if config is not None:
        from ax_jax_runners.campaign.settings import read_settings

        settings = read_settings(config)
        if settings.name != name:
            raise ConfigurationError(
                f"Campaign file {config!r} describes campaign {settings.name!r}, not {name!r}; "
                "give the other file, or the other name."
            )
        store = store or settings.store
        artifacts = artifacts or settings.artifacts
    opened = open_existing(store or DEFAULT_STORE, artifacts=artifacts)
    silence_ax()
    given: Task | None = None
    if settings is not None:
        given = make_task(settings.task, settings.task_options, settings.overrides())
    elif task is not None:
        given = make_task(task)
    from ax_jax_runners.campaign.campaign import Campaign

    campaign = Campaign.load(name, given, store=opened, accept_changed=accept_changed)
    _refuse_without_task(campaign, trials)
    again = ["ax-jax", "resume", name]
    options = {"--config": config, "--task": task, "--trials": trials}
    for option, value in {**options, "--store": store and opened.description}.items():
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


def _refuse_without_task(campaign: Campaign, trials: int | None) -> None:
    from ax_jax_runners.tasks import UnboundTask

    task = getattr(campaign.experiment.runner, "task", None)
    total = trials or campaign.total_trials
    if not isinstance(task, UnboundTask) or (total and campaign.trials_begun >= total):
        return
    if task.problem is not None or task.changed:
        raise task.error()
    raise TaskNotBound(
        f"Campaign {campaign.name!r} runs a task of your own, {task.reference!r}, which must be "
        "given again: add --config FILE or --task MODULE:NAME."
    )
