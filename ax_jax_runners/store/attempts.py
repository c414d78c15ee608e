"""Attempts at a trial: a row before it runs, closed with the row that holds its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, insert, select, update

from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.tables import attempt

PROCESS_ENDED = "its process ended before the result"
"""Why an attempt is lost that a dead process left open."""


def open_attempts(
    connection: Connection,
    experiment_id: int,
    trials: Sequence[int],
    *,
    token: int,
    slices: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Record that these trials are about to run; attempts left open by a dead run are closed.

    Args:
        connection: The unit of work.
        experiment_id: Database id of the experiment.
        trials: Their indices.
        token: Fencing token of the lease under which they run.
        slices: How far a trial had come when its process died, by index.

    Returns:
        The number of the attempt that was left open, by trial index.
    """
    if not trials:
        return {}
    now = database_time(connection)
    mine = and_(attempt.c.experiment_id == experiment_id, attempt.c.trial_index.in_(trials))
    earlier = dict(
        connection.execute(
            select(attempt.c.trial_index, func.max(attempt.c.attempt))
            .where(mine)
            .group_by(attempt.c.trial_index)
        ).all()
    )
    lost: dict[int, int] = {}
    if earlier:
        left_open = and_(mine, attempt.c.ended.is_(None))
        found = connection.execute(
            select(attempt.c.trial_index, attempt.c.attempt).where(left_open)
        )
        lost = {index: number for index, number in found}
        reasons: dict[str, list[int]] = {}
        for index in lost:
            reasons.setdefault(_lost_after((slices or {}).get(index, 0)), []).append(index)
        for reason, indices in reasons.items():
            connection.execute(
                update(attempt)
                .where(left_open, attempt.c.trial_index.in_(indices))
                .values(status="lost", reason=reason, ended=now)
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
    return lost


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


def interrupt_attempts(connection: Connection, experiment_id: int, reason: str) -> None:
    """Close every open attempt as ``interrupted``: its trial is not to blame.

    For a run that ends in order, or is displaced, while trials still run.
    """
    connection.execute(
        update(attempt)
        .where(attempt.c.experiment_id == experiment_id, attempt.c.ended.is_(None))
        .values(status="interrupted", reason=reason, ended=database_time(connection))
    )


def latest(connection: Connection, experiment_id: int, indices: Sequence[int]) -> dict[int, int]:
    """The number of the latest attempt at each of these trials that has one."""
    if not indices:
        return {}
    rows = connection.execute(
        select(attempt.c.trial_index, func.max(attempt.c.attempt))
        .where(attempt.c.experiment_id == experiment_id, attempt.c.trial_index.in_(indices))
        .group_by(attempt.c.trial_index)
    )
    return {index: number for index, number in rows}


def lost_in_a_row(
    connection: Connection, experiment_id: int, indices: Sequence[int]
) -> dict[int, int]:
    """How many of the latest attempts at each of these trials were lost one after the other.

    Only those count that ended at the same point: a trial that came further is on its way.
    Attempts that are still open do not count: ask after `open_attempts`, which closes those of a
    dead process.
    """
    counts = dict.fromkeys(indices, 0)
    if not indices:
        return counts
    rows = connection.execute(
        select(attempt.c.trial_index, attempt.c.status, attempt.c.reason)
        .where(
            attempt.c.experiment_id == experiment_id,
            attempt.c.trial_index.in_(indices),
            attempt.c.ended.is_not(None),
        )
        .order_by(attempt.c.trial_index, attempt.c.attempt.desc())
    )
    settled = set()
    latest: dict[int, str | None] = {}
    for index, status, reason in rows:
        if status != "lost" or latest.setdefault(index, reason) != reason:
            settled.add(index)
        elif index not in settled:
            counts[index] += 1
    return counts


def _lost_after(slices: int) -> str:
    return PROCESS_ENDED if not slices else f"{PROCESS_ENDED}, after {slices} slices"


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
