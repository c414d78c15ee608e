"""Register an experiment in a store as a campaign, and take its lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ax.core.experiment import Experiment
from ax.core.metric import Metric
from ax.core.runner import Runner
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.registry_bundle import RegistryBundleBase
from sqlalchemy import Connection

from ax_jax_runners.campaign.leasing import take_lease
from ax_jax_runners.campaign.loading import load
from ax_jax_runners.campaign.recorder import Recorder
from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.errors import CampaignExists
from ax_jax_runners.store import Store, campaigns, events, experiments
from ax_jax_runners.store.ax_session import saved_id
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.tasks import Task


def register(store: Store, experiment: Experiment, strategy: GenerationStrategy) -> Recorder:
    """Store a new experiment and its strategy, and become its writer.

    Raises:
        CampaignExists: The store has a campaign of the experiment's name.
    """
    with store.reading() as connection:
        if campaigns.find_campaign(connection, experiment.name) is not None:
            raise CampaignExists(
                f"Experiment {experiment.name!r} is stored in {store.description}; go on with it "
                "by Scheduler.from_stored_experiment, or choose another name."
            )
    task = getattr(experiment.runner, "task", None)
    classes = {type(experiment.runner), *(type(m) for m in experiment.metrics.values())}
    bundle = registry_bundle(
        tasks=() if task is None else (task,),
        classes=[kind for kind in classes if issubclass(kind, Runner | Metric)],
    )
    record = create(store, experiment, strategy, bundle, configuration={}, options={})
    return Recorder(store, record, take_lease(store, record), bundle)


def take_up(
    store: Store,
    name: str,
    *,
    tasks: Iterable[Task],
    classes: Iterable[type[Runner | Metric]],
    functions: Iterable[Callable[..., Any]] = (),
) -> tuple[Experiment, GenerationStrategy, Recorder]:
    """Load a stored experiment and its strategy, and become its writer.

    Args:
        store: Where it is.
        name: Its name.
        tasks: Its task, where that is not a built-in problem's.
        classes: Its runner and metric classes, where they are not of this package.
        functions: Functions that its runner names.

    Raises:
        CampaignNotFound: There is none of that name.
        LeaseHeld: A live process writes it.
    """
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, name)
    bundle = registry_bundle(tasks=tasks, classes=classes, functions=functions)
    recorder = Recorder(store, record, take_lease(store, record), bundle)
    return *load(store, record, bundle), recorder


def create(
    store: Store,
    experiment: Experiment,
    strategy: GenerationStrategy,
    bundle: RegistryBundleBase,
    *,
    configuration: Mapping[str, Any],
    options: Mapping[str, Any],
    total_trials: int | None = None,
) -> CampaignRecord:
    """Insert experiment, strategy and campaign row in one transaction.

    Raises:
        CampaignExists: The name is taken.
    """

    def write(connection: Connection) -> CampaignRecord:
        if campaigns.find_campaign(connection, experiment.name) is not None:
            raise CampaignExists(
                f"Campaign {experiment.name!r} exists in {store.description}; choose another name, "
                "or load it."
            )
        experiments.save_experiment(
            connection, experiment=experiment, strategy=strategy, bundle=bundle
        )
        record = campaigns.create_campaign(
            connection,
            name=experiment.name,
            experiment_id=saved_id(experiment),
            configuration=configuration,
            options=options,
            total_trials=total_trials,
        )
        events.record_event(connection, record.id, "created")
        return record

    return store.transact(write)
