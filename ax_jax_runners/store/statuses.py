"""The trials' statuses in Ax's table, read without importing Ax, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, column, select, table

TRIAL_STATUSES = {
    0: "CANDIDATE",
    1: "STAGED",
    2: "FAILED",
    3: "COMPLETED",
    4: "RUNNING",
    5: "ABANDONED",
    6: "DISPATCHED",
    7: "EARLY_STOPPED",
    8: "STALE",
}
"""Ax's trial statuses by the number in its table."""

trial = table(
    "trial_v2",
    *map(column, ("id", "experiment_id", "index", "status", "failed_reason", "abandoned_reason")),
)
"""The columns of Ax's trial table that are read here."""


def status_name(number: int) -> str:
    """The name of a stored status."""
    return TRIAL_STATUSES.get(number, str(number))


def trial_statuses(
    connection: Connection, experiment_id: int, indices: Sequence[int]
) -> dict[int, str]:
    """What the database has now: the name of the status of each of these trials that it knows."""
    if not indices:
        return {}
    rows = connection.execute(
        select(trial.c.index, trial.c.status).where(
            trial.c.experiment_id == experiment_id, trial.c.index.in_(indices)
        )
    )
    return {index: status_name(number) for index, number in rows}
