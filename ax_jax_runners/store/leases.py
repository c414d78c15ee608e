"""One writer per campaign: a lease row with an owner, a fencing token and an expiry.

The token grows with every change of owner and is checked inside every unit of work, so a process
that lost its lease, however long it slept, changes nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from ax_jax_runners.errors import LeaseHeld, LeaseLost
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.owner import Owner
from ax_jax_runners.store.tables import lease as table

LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Lease:
    """The right to write one campaign."""

    campaign_id: int
    token: int
    owner: Owner


def acquire(connection: Connection, campaign_id: int, *, name: str, owner: Owner) -> Lease:
    """Take the lease when it is free, expired, ours, or held by a dead process of this host.

    Raises:
        LeaseHeld: A live process has it.
    """
    now = database_time(connection)
    row = connection.execute(
        select(table).where(table.c.campaign_id == campaign_id).with_for_update()
    ).one_or_none()
    if row is None:
        connection.execute(
            insert(table).values(
                campaign_id=campaign_id, owner=owner.to_json(), token=1, expires=now + LEASE_SECONDS
            )
        )
        return Lease(campaign_id, 1, owner)
    holder = Owner.from_json(row.owner)
    if holder != owner and row.expires > now and not holder.is_dead_here():
        raise LeaseHeld(
            f"Campaign {name!r} is being run by {holder}, whose lease has {row.expires - now:.0f} s"
            f" left; stop it with `ax-jax stop {name}`, or wait."
        )
    connection.execute(
        update(table)
        .where(table.c.campaign_id == campaign_id)
        .values(owner=owner.to_json(), token=row.token + 1, expires=now + LEASE_SECONDS)
    )
    return Lease(campaign_id, row.token + 1, owner)


def check(connection: Connection, lease: Lease) -> None:
    """Renew the lease inside the caller's transaction and hold its row until the commit.

    Raises:
        LeaseLost: Another process has taken the campaign over.
    """
    renewed = connection.execute(
        update(table)
        .where(table.c.campaign_id == lease.campaign_id, table.c.token == lease.token)
        .values(expires=database_time(connection) + LEASE_SECONDS)
    )
    if renewed.rowcount == 0:
        row = connection.execute(
            select(table.c.owner).where(table.c.campaign_id == lease.campaign_id)
        ).one_or_none()
        taker = "nobody (it was released)" if row is None else str(Owner.from_json(row.owner))
        raise LeaseLost(
            f"The campaign's lease is now held by {taker}; this process has written nothing since. "
            "End it, or resume when the other one is done."
        )


def release(connection: Connection, lease: Lease) -> None:
    """Let another process start at once. The row stays, so that tokens keep growing."""
    connection.execute(
        update(table)
        .where(table.c.campaign_id == lease.campaign_id, table.c.token == lease.token)
        .values(expires=0.0)
    )


def holder(connection: Connection, campaign_id: int) -> Owner | None:
    """The live owner of a campaign's lease, if any."""
    row = connection.execute(select(table).where(table.c.campaign_id == campaign_id)).one_or_none()
    if row is None or row.expires <= database_time(connection):
        return None
    owner = Owner.from_json(row.owner)
    return None if owner.is_dead_here() else owner
