"""Ax's own tables, created so that PostgreSQL takes them too, with the indexes they lack.

Ax declares MySQL lengths (``TEXT(4294967295)``, ``VARCHAR(4096)`` for whole generation strategies),
which PostgreSQL refuses or truncates, and 4-byte timestamps. The copy made here has unbounded text
and 8-byte timestamps; Ax reads and writes it unchanged.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ax.storage.sqa_store.sqa_classes import SQAExperiment
from ax.storage.sqa_store.timestamp import IntTimestamp
from sqlalchemy import BigInteger, Connection, MetaData, String, Table, Text, inspect, text
from sqlalchemy.types import TypeDecorator

from ax_jax_runners.errors import StoreError

_INDEXES = (
    ("UNIQUE INDEX", "axjax_trial_index", 'trial_v2 (experiment_id, "index")'),
    ("INDEX", "axjax_data_trial", "data_v2 (experiment_id, trial_index)"),
    ("INDEX", "axjax_run_trial", "generator_run_v2 (trial_id)"),
    ("INDEX", "axjax_run_strategy", "generator_run_v2 (generation_strategy_id)"),
    ("INDEX", "axjax_arm_run", "arm_v2 (generator_run_id)"),
    ("INDEX", "axjax_abandoned_trial", "abandoned_arm_v2 (trial_id)"),
    ("INDEX", "axjax_metric_run", "metric_v2 (generator_run_id)"),
    ("INDEX", "axjax_metric_experiment", "metric_v2 (experiment_id)"),
    ("INDEX", "axjax_parameter_run", "parameter_v2 (generator_run_id)"),
    ("INDEX", "axjax_parameter_experiment", "parameter_v2 (experiment_id)"),
    ("INDEX", "axjax_constraint_run", "parameter_constraint_v2 (generator_run_id)"),
    ("INDEX", "axjax_constraint_experiment", "parameter_constraint_v2 (experiment_id)"),
    ("INDEX", "axjax_runner_trial", "runner (trial_id)"),
    ("INDEX", "axjax_runner_experiment", "runner (experiment_id)"),
    ("INDEX", "axjax_experiment_name", "experiment_v2 (name)"),
)


@cache
def portable_metadata() -> MetaData:
    """A copy of Ax's table definitions that every supported database accepts."""
    copy = MetaData()
    # Importing the module of its classes is what declares Ax's tables.
    for table in SQAExperiment.metadata.sorted_tables:
        _widen(table.to_metadata(copy))
    return copy


def create_ax_tables(connection: Connection) -> None:
    """Create Ax's tables and our indexes on them where they are missing.

    Raises:
        StoreError: Tables of an older Ax lack columns, or an index cannot be unique.
    """
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    metadata = portable_metadata()
    for table in metadata.sorted_tables:
        if table.name not in present:
            continue
        known = {column["name"] for column in inspector.get_columns(table.name)}
        missing = sorted(column.name for column in table.columns if column.name not in known)
        if missing:
            raise StoreError(
                f"Table {table.name} was created by an older Ax and lacks {', '.join(missing)}; "
                "export its experiments with that Ax, or choose another database."
            )
    metadata.create_all(connection)
    for kind, name, target in _INDEXES:
        connection.execute(text(f"CREATE {kind} IF NOT EXISTS {name} ON {target}"))


def _widen(table: Table) -> None:
    for column in table.columns:
        declared: Any = column.type
        if isinstance(declared, IntTimestamp):
            column.type = BigInteger()
        elif isinstance(declared, TypeDecorator):
            if isinstance(declared.impl_instance, String) and not _is_enum(declared):
                column.type = Text()
        elif isinstance(declared, String):
            column.type = Text()


def _is_enum(declared: TypeDecorator[Any]) -> bool:
    return hasattr(declared, "enum") or "Enum" in type(declared).__name__
