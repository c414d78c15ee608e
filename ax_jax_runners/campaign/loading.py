"""Read a campaign back from its store."""

from __future__ import annotations

from ax.api.client import Client
from ax.core.experiment import Experiment
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.registry_bundle import RegistryBundleBase

from ax_jax_runners.errors import ConfigurationError, TaskChanged
from ax_jax_runners.metrics.names import from_identifier
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store import Store, experiments
from ax_jax_runners.store.ax_session import quiet_ax_storage
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.tasks import Task
from ax_jax_runners.tasks.identity import task_identity


def load(
    store: Store,
    record: CampaignRecord,
    bundle: RegistryBundleBase,
    runner: TaskRunner | None = None,
) -> tuple[Experiment, GenerationStrategy]:
    """Load experiment and strategy, with the live runner where there is one."""
    with store.reading() as connection:
        experiment, strategy = experiments.load_experiment(
            connection, record.name, bundle=bundle, output_of=from_identifier
        )
    if runner is not None:
        experiment.runner = runner
    return experiment, strategy


def check_task(record: CampaignRecord, task: Task | None, *, accept_changed: bool) -> None:
    """Refuse a task that is not the stored one.

    Raises:
        ConfigurationError: It is another task.
        TaskChanged: It is the same function, but it computes something else now.
    """
    if task is None:
        return
    stored, given = record.configuration["task"], task_identity(task)
    if stored["reference"] != given.reference:
        raise ConfigurationError(
            f"Campaign {record.name!r} was made with task {stored['reference']!r}; "
            f"{given.reference!r} was given."
        )
    if stored["digest"] != given.digest and not accept_changed:
        raise TaskChanged(
            f"Campaign {record.name!r}: task {given.reference!r} computes something else than when "
            "the campaign was made (its code, constants, dtype, parameters or JAX version). "
            "Restore it, start a new campaign, or accept the change (accept_changed=True, "
            "--accept-changed)."
        )


def open_client(store: Store, name: str, bundle: RegistryBundleBase) -> Client:
    """An Ax Client that loads the experiment by a session factory of its own."""
    from ax.api.configs import StorageConfig
    from ax.storage.sqa_store.db import init_engine_and_session_factory

    # Ax keeps one factory for the whole process; without force it would go on using another
    # store's database.
    init_engine_and_session_factory(url=store.url, force_init=True)
    with quiet_ax_storage():
        return Client.load_from_database(
            experiment_name=name,
            storage_config=StorageConfig(url=store.url, registry_bundle=bundle),
        )
