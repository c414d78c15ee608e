"""What happened to a campaign, in order, by the database's clock."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.tables import event


def record_event(
    connection: Connection,
    campaign_id: int,
    kind: str,
    detail: str | None = None,
    *,
    trial_index: int | None = None,
) -> None:
    """Append an event."""
    connection.execute(
        insert(event).values(
            campaign_id=campaign_id,
            trial_index=trial_index,
            kind=kind,
            detail=detail,
            time=database_time(connection),
        )
    )


def read_events(
    connection: Connection, campaign_id: int, *, limit: int = 20
) -> list[tuple[float, str, int | None, str | None]]:
    """The latest events, oldest first: time, kind, trial index, detail."""
    rows = connection.execute(
        select(event.c.time, event.c.kind, event.c.trial_index, event.c.detail)
        .where(event.c.campaign_id == campaign_id)
        .order_by(event.c.id.desc())
        .limit(limit)
    ).all()
    return [(row.time, row.kind, row.trial_index, row.detail) for row in reversed(rows)]
