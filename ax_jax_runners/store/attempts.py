"""Attempts at a trial: a row before it runs, closed with the row that holds its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, insert, select, update

from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.tables import attempt


def open_attempts(
    connection: Connection, experiment_id: int, trials: Sequence[int], *, token: int
) -> None:
    """Record that these trials are about to run; attempts left open by a dead run are closed."""
    if not trials:
        return
    now = database_time(connection)
    mine = and_(attempt.c.experiment_id == experiment_id, attempt.c.trial_index.in_(trials))
    earlier = dict(
        connection.execute(
            select(attempt.c.trial_index, func.max(attempt.c.attempt))
            .where(mine)
            .group_by(attempt.c.trial_index)
        ).all()
    )
    if earlier:
        connection.execute(
            update(attempt)
            .where(mine, attempt.c.ended.is_(None))
            .values(status="lost", reason="its process ended before the result", ended=now)
        )
    connection.execute(
        insert(attempt),
        [
            {
                "experiment_id": experiment_id,
                "trial_index": index,
                "attempt": earlier.get(index, 0) + 1,
                "token": token,
                "status": "running",
                "started": now,
            }
            for index in trials
        ],
    )


def close_attempts(
    connection: Connection, experiment_id: int, outcomes: Mapping[int, tuple[str, str | None]]
) -> None:
    """Record how the open attempts ended: ``{trial_index: (status, reason)}``."""
    now = database_time(connection)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for index, outcome in outcomes.items():
        groups.setdefault(outcome, []).append(index)
    for (status, reason), indices in groups.items():
        connection.execute(
            update(attempt)
            .where(
                attempt.c.experiment_id == experiment_id,
                attempt.c.trial_index.in_(indices),
                attempt.c.ended.is_(None),
            )
            .values(status=status, reason=reason, ended=now)
        )


def read_repeated(connection: Connection, experiment_id: int) -> Sequence[Row[Any]]:
    """Attempts that another one followed, by trial and number."""
    later = attempt.alias()
    followed = exists().where(
        later.c.experiment_id == attempt.c.experiment_id,
        later.c.trial_index == attempt.c.trial_index,
        later.c.attempt > attempt.c.attempt,
    )
    return connection.execute(
        select(attempt)
        .where(attempt.c.experiment_id == experiment_id, followed)
        .order_by(attempt.c.trial_index, attempt.c.attempt)
    ).all()
