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

    Ax's reader of its own data keeps fifteen digits; the means and sems come from our observation
    rows and, for points of curves, from the trials' own records instead, so that a resumed
    optimisation does not drift.

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
    """Put the exact means and sems into the experiment's data."""
    exact: dict[tuple[int, str, str, int | None], tuple[float, Any]] = {
        (row.trial_index, row.arm_name, row.metric, row.step): (row.value, row.sem)
        for row in observations
        if row.value is not None and row.member == 0 and row.window == ""
    }
    exact |= _recorded_points(experiment)
    rows = []
    for row in sorted(experiment.data._data_rows, key=lambda row: row.trial_index):
        # A trial with curves and single values has NaN for the step of the latter.
        step = None if row.step is None or math.isnan(row.step) else row.step
        place = (row.trial_index, row.arm_name, output_of(row.metric_name))
        key = (*place, None if step is None else int(step))
        if key not in exact:
            key = (*place, int(step or 0))
        mean, sem = exact.get(key, (row.mean, row.se))
        if key in exact or step is not row.step:
            row = DataRow(
                trial_index=row.trial_index,
                arm_name=row.arm_name,
                metric_name=row.metric_name,
                metric_signature=row.metric_signature,
                mean=mean,
                se=math.nan if sem is None else sem,
                step=step,
                start_time=row.start_time,
                end_time=row.end_time,
                n=row.n,
            )
        rows.append(row)
    if rows:
        experiment.data = Data(data_rows=rows)


def _recorded_points(
    experiment: Experiment,
) -> dict[tuple[int, str, str, int | None], tuple[float, Any]]:
    """Mean and sem by trial, arm, output and step (None: the last), as runners recorded them."""
    points: dict[tuple[int, str, str, int | None], tuple[float, Any]] = {}
    for index, trial in experiment.trials.items():
        record = trial.run_metadata.get("ax_jax")
        arms = record.get("arms") if isinstance(record, dict) else None
        for name, arm in arms.items() if isinstance(arms, dict) else ():
            for output, (mean, sem) in arm.get("outputs", {}).items():
                points[index, name, output, None] = mean, sem
                points[index, name, output, arm.get("step", 0)] = mean, sem
            for output, curve in arm.get("curves", {}).items():
                points.update({(index, name, output, step): (m, s) for step, m, s in curve})
    return points
