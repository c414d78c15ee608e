"""Make a campaign, or open the one that is stored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ax.generation_strategy.generation_strategy import GenerationStrategy

from ax_jax_runners.campaign import identity
from ax_jax_runners.campaign.building import build_experiment
from ax_jax_runners.campaign.early_stopping import keep_curves
from ax_jax_runners.campaign.generation import build_strategy, check_generation
from ax_jax_runners.campaign.live import LiveCampaign
from ax_jax_runners.campaign.loading import check_task, load
from ax_jax_runners.campaign.objectives import read_goals
from ax_jax_runners.campaign.options import RunOptions
from ax_jax_runners.campaign.registration import create
from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.errors import CampaignExists, ConfigurationError
from ax_jax_runners.metrics.names import to_identifier
from ax_jax_runners.runners import JaxRunner, SyntheticJaxRunner
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store import Store, campaigns
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.tasks import Task

_LONGEST_NAME = 100
"""Of a campaign, a parameter and an output: what Ax's columns hold in PostgreSQL."""


def found_or_open(
    name: str,
    runner: TaskRunner,
    *,
    store: Store,
    objective: str,
    outcome_constraints: Sequence[str],
    generation: str | GenerationStrategy,
    options: RunOptions,
    trials: int | None,
    seed: int,
) -> LiveCampaign:
    """Store a new campaign, or open the one of that name and configuration.

    Raises:
        ConfigurationError: An argument that cannot be used; nothing is stored.
        CampaignExists: The name is taken by a campaign with another configuration.
    """
    check_name(name)
    check_outputs(runner.bound_task)
    check_generation(generation)
    goals = read_goals(objective, outcome_constraints, runner.bound_task.outputs)
    configuration = identity.configuration(
        runner,
        objective=objective,
        outcome_constraints=outcome_constraints,
        generation=generation,
        seed=seed,
    )
    bundle = registry_bundle(tasks=(runner.bound_task,), classes=(type(runner),))
    with store.reading() as connection:
        record = campaigns.find_campaign(connection, name)
    if record is not None:
        check_is_loadable(record)
        differing = identity.differences(record.configuration, configuration)
        if differing:
            raise CampaignExists(
                f"Campaign {name!r} exists in {store.description} with another configuration: "
                f"{'; '.join(differing)}. Choose another name, or load it with Campaign.load."
            )
        experiment, strategy = load(store, record, bundle, runner)
        keep_curves(experiment, options.early_stopping, goals)
        return LiveCampaign(store, record, experiment, strategy, bundle, goals, options)
    experiment = build_experiment(name, runner, goals, early_stopping=options.early_stopping)
    strategy = build_strategy(
        generation,
        search_space=experiment.search_space,
        batch_size=options.batch_size,
        seed=seed,
    )
    record = create(
        store,
        experiment,
        strategy,
        bundle,
        configuration=configuration,
        options=options.to_json(bundle),
        total_trials=trials,
    )
    return LiveCampaign(store, record, experiment, strategy, bundle, goals, options, token=0)


def reopen(
    name: str,
    task: Task | None,
    *,
    store: Store,
    classes: Sequence[type[TaskRunner]],
    functions: Sequence[Callable[..., Any]],
    accept_changed: bool,
) -> LiveCampaign:
    """Open a stored campaign with its stored options.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        ConfigurationError: It was made with another task, or by a Scheduler without a Campaign.
        TaskChanged: The task computes something else than the stored one.
    """
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, name)
    check_is_loadable(record)
    tasks = () if task is None else (task,)
    bundle = registry_bundle(
        tasks=tasks, classes=classes, functions=functions, accept_changed=accept_changed
    )
    check_task(record, task, accept_changed=accept_changed)
    experiment, strategy = load(store, record, bundle)
    if task is None and isinstance(experiment.runner, SyntheticJaxRunner):
        # It is stored by its problem's name alone, so nothing has compared the computation yet.
        check_task(record, experiment.runner.bound_task, accept_changed=accept_changed)
    stored = record.configuration
    goals = read_goals(stored["objective"], stored["outcome_constraints"], tuple(stored["outputs"]))
    options = RunOptions.from_json(record.options, bundle)
    keep_curves(experiment, options.early_stopping, goals)
    return LiveCampaign(
        store,
        record,
        experiment,
        strategy,
        bundle,
        goals,
        options,
        has_stored_runner=True,
    )


def runner_for(
    task: Task | None, runner: TaskRunner | None, *, seed: int, store: Store
) -> TaskRunner:
    """The given runner, or a `JaxRunner` of the given task.

    A runner without a folder of its own gets the store's, for arrays and frozen states.

    Raises:
        ConfigurationError: Both or neither were given, or something that is neither.
    """
    folder = None if store.files is None else str(store.files.folder)
    if (task is None) == (runner is None):
        given = "neither" if task is None else "both"
        raise ConfigurationError(f"A campaign takes a task or a runner; {given} was given.")
    if runner is not None:
        if not isinstance(runner, TaskRunner):
            raise ConfigurationError(
                f"The runner is a {type(runner).__name__}, which holds no task; give one of "
                "ax_jax_runners.runners, or use the Scheduler."
            )
        if folder is not None and runner.directory is None and "directory" in _arguments(runner):
            # Without a folder a killed process would lose whole trials instead of one slice.
            runner.directory = folder
        return runner
    if not isinstance(task, Task):
        raise ConfigurationError(
            f"The task is a {type(task).__name__}; give a FeatureTask, or an object with space, "
            "outputs, begin, advance and progress."
        )
    return JaxRunner(task, seed=seed, directory=folder)


def _arguments(runner: TaskRunner) -> Collection[str]:
    return inspect.signature(type(runner)).parameters


def check_name(name: str) -> None:
    """Refuse a campaign name that cannot be stored or shown.

    Raises:
        ConfigurationError: It is no text, blank, longer than 100 characters, not valid Unicode,
            or holds a NUL.
    """
    if not _is_label(name) or len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"Campaign name {name!r:.200}: give a text of 1 to {_LONGEST_NAME} characters that is "
            "not blank."
        )


def _is_label(name: object) -> bool:
    """Whether every database holds it as a text that is not blank."""
    if not isinstance(name, str) or not name.strip() or "\x00" in name:
        return False
    return name == name.encode("utf-8", "replace").decode("utf-8")


def check_is_loadable(record: CampaignRecord) -> None:
    """Refuse an experiment that a Scheduler stored without a Campaign.

    Raises:
        ConfigurationError: It has no configuration to go on with.
    """
    if not record.configuration:
        raise ConfigurationError(
            f"Campaign {record.name!r} was made by a Scheduler of its own and has no stored task "
            "and objective; load it with Ax and registry_bundle(), or choose another name."
        )


def check_outputs(task: Task) -> None:
    """Refuse names that Ax's tables cannot hold, and outputs that cannot stand beside parameters.

    Raises:
        ConfigurationError: A name that is blank, too long, not valid Unicode or holds a NUL; an
            output named twice, or like a parameter.
    """
    parameters = {parameter.name for parameter in task.space.parameters}
    for what, names, stored in (
        ("parameter", sorted(parameters), str),
        ("output", task.outputs, to_identifier),
    ):
        for name in names:
            if not _is_label(name) or len(stored(name)) > _LONGEST_NAME:
                raise ConfigurationError(
                    f"The task's {what} name {name!r:.200} cannot be stored; give a text that is "
                    f"not blank, of at most {_LONGEST_NAME} characters (each one that is no ASCII "
                    "letter, digit or underscore counts as up to ten in an output), without NUL."
                )
    for name in task.outputs:
        if name in parameters or task.outputs.count(name) > 1:
            taken = "a parameter's name" if name in parameters else "used twice"
            raise ConfigurationError(
                f"The task's output name {name!r} is {taken}; rename one of the two."
            )


def check_total(trials: int | None) -> None:
    """Refuse a total that is not a whole number of at least 1.

    Raises:
        ConfigurationError: It is something else.
    """
    if trials is None or (isinstance(trials, int) and not isinstance(trials, bool) and trials > 0):
        return
    raise ConfigurationError(f"trials is {trials!r}; give the total number of trials, at least 1.")
