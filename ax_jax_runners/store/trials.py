"""Write Ax trials by Core statements: three inserts for a batch of new ones, one update for known.

Ax's own path merges object trees, decodes every row again to learn its id, and deletes data in a
transaction apart from the insert. The rows written here are those of Ax's encoder, so Ax reads
them back as its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.sqa_store.encoder import Encoder
from ax.storage.sqa_store.sqa_classes import (
    SQAAbandonedArm,
    SQAArm,
    SQAData,
    SQAExperiment,
    SQAGenerationStrategy,
    SQAGeneratorRun,
    SQATrial,
)
from sqlalchemy import Connection, Table, and_, bindparam, delete, insert, select, update
from sqlalchemy import inspect as inspect_mapping

from ax_jax_runners.store.ax_session import saved_id

Ids = Callable[[], None]
"""Gives the written objects their database ids; call it once the transaction is committed."""


def write_trials(
    connection: Connection,
    *,
    encoder: Encoder,
    experiment: Experiment,
    trials: Sequence[BaseTrial],
    strategy: GenerationStrategy | None = None,
    strategy_runs: Collection[GeneratorRun] = (),
) -> Ids:
    """Insert new trials with their generator runs and arms, and update known ones.

    Args:
        connection: The unit of work.
        encoder: Ax's encoder with our registries.
        experiment: The experiment, saved before.
        trials: The trials to write, new or known.
        strategy: The generation strategy whose position is stored with them.
        strategy_runs: Those of the trials' generator runs that the strategy made.
    """
    experiment_id = saved_id(experiment)
    fresh = [trial for trial in trials if trial.db_id is None]
    # A commit whose answer was lost is tried again: what it wrote is then known by its index.
    written = _ids_by_index(connection, experiment_id, [trial.index for trial in fresh])
    new = [trial for trial in fresh if trial.index not in written]
    ids = {t.index: t.db_id for t in trials if t.db_id is not None} | written
    known = [trial for trial in trials if trial.index in ids]
    assign = _insert(connection, encoder, experiment_id, new, strategy, strategy_runs)
    _update(connection, known, ids)
    if strategy is not None:
        _update_strategy(connection, experiment, strategy)

    def assign_ids() -> None:
        assign()
        for trial in known:
            trial.db_id = ids[trial.index]

    return assign_ids


def write_data(
    connection: Connection, experiment_id: int, rows: Mapping[int, Sequence[DataRow]]
) -> None:
    """Replace the Ax data of these trials: one delete, one insert, exact text.

    Args:
        connection: The unit of work.
        experiment_id: Database id of the experiment.
        rows: The data rows of each trial by its index.
    """
    if not rows:
        return
    table = _table(SQAData)
    connection.execute(
        delete(table).where(
            and_(table.c.experiment_id == experiment_id, table.c.trial_index.in_(list(rows)))
        )
    )
    connection.execute(
        insert(table),
        [
            {
                "experiment_id": experiment_id,
                "trial_index": index,
                "data_json": _data_json(trial_rows),
                "time_created": 0,
            }
            for index, trial_rows in rows.items()
        ],
    )


def _insert(
    connection: Connection,
    encoder: Encoder,
    experiment_id: int,
    trials: Sequence[BaseTrial],
    strategy: GenerationStrategy | None,
    strategy_runs: Collection[GeneratorRun],
) -> Ids:
    if not trials:
        return lambda: None
    encoded = [encoder.trial_to_sqa(trial) for trial in trials]
    trial_ids = _insert_returning(
        connection, SQATrial, [{**_row(row), "experiment_id": experiment_id} for row in encoded]
    )
    _replace_abandoned(connection, dict(zip(trial_ids, trials, strict=True)))
    by_strategy = {id(run) for run in strategy_runs}
    run_rows, runs, arm_sources = [], [], []
    for trial_id, trial, row in zip(trial_ids, trials, encoded, strict=True):
        for run, run_row in zip(trial.generator_runs, row.generator_runs, strict=True):
            owner = strategy.db_id if strategy and id(run) in by_strategy else None
            run_rows.append(
                {**_row(run_row), "trial_id": trial_id, "generation_strategy_id": owner}
            )
            runs.append(run)
            arm_sources.append(run_row.arms)
    run_ids = _insert_returning(connection, SQAGeneratorRun, run_rows)
    arm_rows, arms = [], []
    for run_id, run, run_arms in zip(run_ids, runs, arm_sources, strict=True):
        for arm, arm_row in zip(run.arms, run_arms, strict=True):
            arm_rows.append({**_row(arm_row), "generator_run_id": run_id})
            arms.append(arm)
    arm_ids = _insert_returning(connection, SQAArm, arm_rows)

    def assign_ids() -> None:
        for objects, object_ids in ((trials, trial_ids), (runs, run_ids), (arms, arm_ids)):
            for ax_object, object_id in zip(objects, object_ids, strict=True):
                ax_object.db_id = object_id

    return assign_ids


def _update(connection: Connection, trials: Sequence[BaseTrial], ids: Mapping[int, int]) -> None:
    if not trials:
        return
    table = _table(SQATrial)
    statement = (
        update(table)
        .where(table.c.id == bindparam("row"))
        .values({name: bindparam(f"new_{name}") for name in _CHANGING})
    )
    connection.execute(
        statement,
        [
            {
                "row": ids[trial.index],
                **{f"new_{name}": read(trial) for name, read in _CHANGING.items()},
            }
            for trial in trials
        ],
    )
    _replace_abandoned(connection, {ids[trial.index]: trial for trial in trials})


def _replace_abandoned(connection: Connection, trials: Mapping[int, BaseTrial]) -> None:
    rows = [
        {
            "trial_id": trial_id,
            "name": arm.name,
            "abandoned_reason": arm.reason,
            "time_abandoned": arm.time,
        }
        for trial_id, trial in trials.items()
        if isinstance(trial, BatchTrial)
        for arm in trial.abandoned_arms_metadata
    ]
    if not rows:
        return
    table = _table(SQAAbandonedArm)
    connection.execute(delete(table).where(table.c.trial_id.in_({row["trial_id"] for row in rows})))
    connection.execute(insert(table), rows)


def _update_strategy(
    connection: Connection, experiment: Experiment, strategy: GenerationStrategy
) -> None:
    table = _table(SQAGenerationStrategy)
    connection.execute(
        update(table)
        .where(table.c.id == strategy.db_id)
        .values(experiment_id=experiment.db_id, curr_node_name=strategy.current_node_name)
    )
    if experiment.status is not None:
        experiments = _table(SQAExperiment)
        connection.execute(
            update(experiments)
            .where(experiments.c.id == experiment.db_id)
            .values(status=experiment.status)
        )


def _ids_by_index(
    connection: Connection, experiment_id: int, indices: Sequence[int]
) -> dict[int, int]:
    if not indices:
        return {}
    table = _table(SQATrial)
    rows = connection.execute(
        select(table.c.index, table.c.id).where(
            table.c.experiment_id == experiment_id, table.c.index.in_(indices)
        )
    )
    return {row[0]: row[1] for row in rows}


def _insert_returning(
    connection: Connection, sqa_class: type[Any], rows: list[dict[str, Any]]
) -> list[int]:
    if not rows:
        return []
    table = _table(sqa_class)
    statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, rows).scalars())


def _row(encoded: Any) -> dict[str, Any]:
    """Column values of an encoded object, with the declared defaults that only a flush applies."""
    row = {}
    for attribute, column, default in _columns(type(encoded)):
        value = getattr(encoded, attribute)
        if value is None and default is not None:
            value = default.arg(None) if default.is_callable else default.arg
        row[column] = value
    return row


@cache
def _columns(sqa_class: type[Any]) -> tuple[tuple[str, str, Any], ...]:
    found = []
    for attribute in inspect_mapping(sqa_class).column_attrs:
        column = attribute.columns[0]
        if column.name != "id":
            found.append((attribute.key, column.name, column.default))
    return tuple(found)


def _table(sqa_class: type[Any]) -> Table:
    return sqa_class.__table__


def _data_json(rows: Sequence[DataRow]) -> str:
    """Data as pandas writes a frame by columns, but with every digit of every float."""
    columns: dict[str, list[Any]] = {
        "trial_index": [row.trial_index for row in rows],
        "arm_name": [row.arm_name for row in rows],
        "metric_name": [row.metric_name for row in rows],
        "metric_signature": [row.metric_signature for row in rows],
        "mean": [_finite(row.mean) for row in rows],
        "sem": [_finite(row.se) for row in rows],
    }
    if any(row.step is not None for row in rows):
        columns["step"] = [_finite(row.step) for row in rows]
    numbered = [str(i) for i in range(len(rows))]
    return json.dumps(
        {name: dict(zip(numbered, values, strict=True)) for name, values in columns.items()},
        allow_nan=False,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value or value in (_INFINITY, -_INFINITY) else value


_INFINITY = float("inf")

_CHANGING: dict[str, Callable[[BaseTrial], Any]] = {
    "failed_reason": lambda trial: trial.status_reason,
    "deployed_name": lambda trial: trial.deployed_name,
    "num_arms_created": lambda trial: trial._num_arms_created,
    "run_metadata": lambda trial: trial.run_metadata,
    "stop_metadata": lambda trial: trial.stop_metadata,
    "status": lambda trial: trial.status,
    "time_completed": lambda trial: trial.time_completed,
    "time_staged": lambda trial: trial.time_staged,
    "time_run_started": lambda trial: trial.time_run_started,
    "properties": lambda trial: trial._properties,
}
"""Columns of a trial that change after its first save, and where their values are."""
