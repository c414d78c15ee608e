"""Ax experiments and generation strategies, saved and loaded inside our transactions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.registry_bundle import RegistryBundleBase
from ax.storage.sqa_store.load import _load_experiment, _load_generation_strategy_by_experiment_name
from ax.storage.sqa_store.save import _save_experiment, _save_generation_strategy
from sqlalchemy import Connection

from ax_jax_runners.store.ax_session import ax_sessions_on, saved_id
from ax_jax_runners.store.observations import read_observations

_TRIALS_PER_QUERY = 10_000


def save_experiment(
    connection: Connection,
    *,
    experiment: Experiment,
    strategy: GenerationStrategy,
    bundle: RegistryBundleBase,
) -> None:
    """Store an experiment and its generation strategy by Ax's own merge."""
    with ax_sessions_on(connection):
        _save_experiment(experiment, encoder=bundle.encoder, decoder=bundle.decoder)
        strategy.experiment = experiment
        _save_generation_strategy(strategy, encoder=bundle.encoder, decoder=bundle.decoder)


def load_experiment(
    connection: Connection,
    name: str,
    *,
    bundle: RegistryBundleBase,
    output_of: Callable[[str], str],
) -> tuple[Experiment, GenerationStrategy]:
    """Load an experiment with exact data and its generation strategy.

    Ax's reader of its own data is off by up to one unit in the last place; the means and sems come
    from our observation rows instead, so that a resumed optimisation does not drift.

    Args:
        connection: A read transaction.
        name: Name of the experiment.
        bundle: Our registries.
        output_of: The output that an Ax metric's name stands for.
    """
    with ax_sessions_on(connection):
        experiment = _load_experiment(
            name,
            decoder=bundle.decoder,
            reduced_state=True,
            load_trials_in_batches_of_size=_TRIALS_PER_QUERY,
        )
        strategy = _load_generation_strategy_by_experiment_name(
            name, decoder=bundle.decoder, experiment=experiment, reduced_state=True
        )
    # Ax asks for no order, and PostgreSQL puts updated rows last.
    experiment._trials = dict(sorted(experiment._trials.items()))
    _make_exact(experiment, read_observations(connection, saved_id(experiment)), output_of)
    return experiment, strategy


def _make_exact(
    experiment: Experiment, observations: Sequence[Any], output_of: Callable[[str], str]
) -> None:
    """Put the exact means and sems of the observation rows into the experiment's data."""
    exact = {
        (row.trial_index, row.arm_name, row.metric, row.step): row
        for row in observations
        if row.value is not None and row.member == 0 and row.window == ""
    }
    rows = []
    for row in sorted(experiment.data._data_rows, key=lambda row: row.trial_index):
        key = (row.trial_index, row.arm_name, output_of(row.metric_name), int(row.step or 0))
        found = exact.get(key)
        if found is not None:
            sem = math.nan if found.sem is None else found.sem
            row = DataRow(
                trial_index=row.trial_index,
                arm_name=row.arm_name,
                metric_name=row.metric_name,
                metric_signature=row.metric_signature,
                mean=found.value,
                se=sem,
                step=row.step,
                start_time=row.start_time,
                end_time=row.end_time,
                n=row.n,
            )
        rows.append(row)
    if rows:
        experiment.data = Data(data_rows=rows)
