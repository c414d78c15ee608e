"""Rows of the campaign table: what was configured, how far it should go, whether it should stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ax_jax_runners.errors import CampaignNotFound
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.tables import campaign as table

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CampaignRecord:
    """One campaign as stored.

    Attributes:
        configuration: What defines the campaign's results; never changes.
        options: How it is run (totals, batch size, stopping); may change between runs.
        state: ``created``, ``running``, ``stopped``, ``complete`` or ``failed``.
        stop_requested: Whether another process asked it to stop.
    """

    id: int
    name: str
    experiment_id: int
    configuration: dict[str, Any]
    options: dict[str, Any]
    total_trials: int | None
    state: str
    stop_requested: bool


def create_campaign(
    connection: Connection,
    *,
    name: str,
    experiment_id: int,
    configuration: Json,
    options: Json,
    total_trials: int | None,
) -> CampaignRecord:
    """Insert a campaign row; the name must be free."""
    connection.execute(
        insert(table).values(
            name=name,
            experiment_id=experiment_id,
            configuration=_dump(configuration),
            options=_dump(options),
            total_trials=total_trials,
            state="created",
            created=database_time(connection),
        )
    )
    return load_campaign(connection, name)


def find_campaign(connection: Connection, name: str) -> CampaignRecord | None:
    """The campaign of that name, or None."""
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    return None if row is None else _record(row)


def load_campaign(connection: Connection, name: str) -> CampaignRecord:
    """The campaign of that name.

    Raises:
        CampaignNotFound: There is none; the message lists those that exist.
    """
    found = find_campaign(connection, name)
    if found is None:
        names = [record.name for record in list_campaigns(connection)]
        listed = f"it has {', '.join(map(repr, names[:10]))}" if names else "it has none"
        raise CampaignNotFound(f"No campaign {name!r} in this store; {listed}.")
    return found


def list_campaigns(connection: Connection) -> list[CampaignRecord]:
    """All campaigns, oldest first."""
    return [_record(row) for row in connection.execute(select(table).order_by(table.c.id))]


def set_state(
    connection: Connection,
    campaign_id: int,
    state: str,
    *,
    options: Json | None = None,
    total_trials: int | None = None,
) -> None:
    """Record a change of state; starting to run clears an old request to stop."""
    values: dict[str, Any] = {"state": state}
    if state == "running":
        values["stop_requested"] = None
    if options is not None:
        values["options"] = _dump(options)
    if total_trials is not None:
        values["total_trials"] = total_trials
    connection.execute(update(table).where(table.c.id == campaign_id).values(**values))


def request_stop(connection: Connection, campaign_id: int) -> None:
    """Ask the process that runs the campaign to stop after its current step."""
    connection.execute(
        update(table)
        .where(table.c.id == campaign_id)
        .values(stop_requested=database_time(connection))
    )


def is_stop_requested(connection: Connection, campaign_id: int) -> bool:
    """Whether a stop was asked for since the campaign last started."""
    asked = connection.execute(
        select(table.c.stop_requested).where(table.c.id == campaign_id)
    ).scalar_one_or_none()
    return asked is not None


def _record(row: Any) -> CampaignRecord:
    return CampaignRecord(
        id=row.id,
        name=row.name,
        experiment_id=row.experiment_id,
        configuration=json.loads(row.configuration),
        options=json.loads(row.options),
        total_trials=row.total_trials,
        state=row.state,
        stop_requested=row.stop_requested is not None,
    )


def _dump(value: Json) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
