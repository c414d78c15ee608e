"""Open stores, tasks and campaigns from what a campaign file or a command line names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ax_jax_runners.campaign.choosing_runners import make_runner
from ax_jax_runners.errors import AxJaxError, ConfigurationError
from ax_jax_runners.store import Store
from ax_jax_runners.store.engine import open_engines, sqlite_file

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign
    from ax_jax_runners.campaign.settings import CampaignSettings
    from ax_jax_runners.store.copying import Copied
    from ax_jax_runners.tasks import Task


def open_existing(url: str, *, artifacts: str | Path | None = None) -> Store:
    """Open a store to read from: a SQLite file that is not there is not made.

    Raises:
        ConfigurationError: The URL cannot be used, or there is no such file.
        StoreError: The database cannot be opened.
    """
    engines = open_engines(url)
    engines.dispose()
    file = sqlite_file(engines.url)
    if file is not None and not file.exists():
        raise ConfigurationError(
            f"Store {engines.description}: there is no file {str(file)!r}; name another store with "
            "--store, or start a campaign with `ax-jax run`."
        )
    return Store.open(url, artifacts=artifacts)


def copy_campaign(name: str, *, source: Store, to: str, artifacts: str | Path | None) -> Copied:
    """Copy a campaign into another store, which is made where it is missing.

    Args:
        name: Name of the campaign.
        source: Where it is.
        to: Database URL of the other store.
        artifacts: The other store's folder for arrays.

    Raises:
        CampaignExists: The other store has a campaign or experiment of that name.
        CampaignNotFound: The source has none.
        LeaseHeld: A live process runs it.
        StoreError: A database or file cannot be used.
    """
    from ax_jax_runners.store.copying import copy_campaign as copy

    target = Store.open(to, artifacts=artifacts)
    try:
        return copy(source, target, name)
    finally:
        target.close()


def open_campaign(
    settings: CampaignSettings,
    *,
    store: str | None = None,
    artifacts: str | None = None,
    trials: int | None = None,
) -> Campaign:
    """Make or reopen the campaign that a file describes.

    Args:
        settings: The file.
        store: A database URL in place of the file's.
        artifacts: A folder for arrays in place of the file's.
        trials: A total in place of the file's.

    Raises:
        ConfigurationError: Task, objective or option that cannot be used.
        CampaignExists: The name is taken by a campaign with another configuration.
        StoreError: The database cannot be used.
    """
    from ax_jax_runners.campaign.campaign import Campaign

    task = make_task(settings.task, settings.task_options, settings.overrides())
    objective = settings.objective or _own_objective(settings.task, task)
    runner = make_runner(settings.runner, settings.runner_options, task, seed=settings.seed)
    opened = Store.open(store or settings.store, artifacts=artifacts or settings.artifacts)
    return Campaign(
        settings.name,
        runner=runner,
        objective=objective,
        outcome_constraints=_constraints(settings),
        store=opened,
        trials=trials or settings.trials,
        batch_size=settings.batch_size,
        generation=settings.generation,
        early_stopping=(
            None if settings.early_stopping is None else settings.early_stopping.strategy()
        ),
        timeout=settings.timeout,
        seed=settings.seed,
    )


def make_task(
    reference: str,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Task:
    """Make a task from its name.

    Args:
        reference: A built-in problem's name, or ``package.module:attribute``: a task, or a
            function that returns one. The current folder can be imported from.
        options: Keyword arguments of the problem or function.
        overrides: {parameter: {"lower", "upper", "fixed", "log_scale"}}.

    Raises:
        ConfigurationError: Nothing of that name, something that is no task, or wrong options.
        ParameterError: Overrides that cannot be used.
        DataFileError: A measured file that is missing or cannot be read.
    """
    from ax_jax_runners import problems

    options, overrides = dict(options or {}), dict(overrides or {})
    if ":" in reference:
        task = _call(_imported(reference), reference, options)
    else:
        known = problems.get(reference).options
        reserved = sorted({"name", "parameters"} & set(options) - set(known))
        if reserved:
            raise ConfigurationError(
                f"Problem {reference!r} has no option {reserved[0]!r}; its options are "
                f"{', '.join(map(repr, known)) or 'none'}."
            )
        task = problems.build(reference, **options)
    return problems.with_parameters(task, overrides) if overrides else task


def _imported(reference: str) -> Any:
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module_name
        advice = (
            "run in the folder that holds it, or install it" if missing else "correct that module"
        )
        raise ConfigurationError(
            f"Task {reference!r}: module {module_name!r} cannot be imported "
            f"({type(error).__name__}: {error}); {advice}."
        ) from error
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise ConfigurationError(
            f"Task {reference!r}: module {module_name!r} has no attribute {attribute!r}; it has "
            f"{', '.join(names[:20]) or 'none'}."
        ) from error


def _call(found: Any, reference: str, options: dict[str, Any]) -> Task:
    from ax_jax_runners.tasks import Task

    if isinstance(found, Task) and not isinstance(found, type):
        if options:
            raise ConfigurationError(
                f"Task {reference!r} is a task, not a function that returns one, and takes no "
                f"options; drop task_options ({', '.join(options)})."
            )
        return found
    if not callable(found):
        raise ConfigurationError(
            f"Task {reference!r} is a {type(found).__name__}; name a task, or a function that "
            "returns one."
        )
    try:
        inspect.signature(found).bind(**options)
    except TypeError as error:
        raise ConfigurationError(
            f"Task {reference!r}: the function does not take these task_options ({error}); it is "
            f"{found.__name__}{inspect.signature(found)}."
        ) from error
    try:
        task = found(**options)
    except AxJaxError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"Task {reference!r}: the function raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(task, Task):
        raise ConfigurationError(
            f"Task {reference!r}: the function returned a {type(task).__name__}; return a "
            "FeatureTask, or an object with space, outputs, begin, advance and progress."
        )
    return task


def _own_objective(reference: str, task: Task) -> str:
    from ax_jax_runners import problems

    if ":" not in reference:
        return problems.get(reference).objective
    raise ConfigurationError(
        f"Key `objective` is missing, and task {reference!r} has none of its own; give linear "
        f"expressions of its outputs {', '.join(task.outputs)} to maximise, such as "
        f"'-{task.outputs[0]}'."
    )


def _constraints(settings: CampaignSettings) -> Sequence[str]:
    """The file's outcome constraints; those of the built-in problem where it has no such key."""
    from ax_jax_runners import problems

    if ":" in settings.task or "outcome_constraints" in settings.model_fields_set:
        return settings.outcome_constraints
    return problems.get(settings.task).outcome_constraints
