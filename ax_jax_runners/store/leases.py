"""One writer per campaign: a lease row with an owner, a fencing token and an expiry.

The token grows with every change of owner and is checked inside every unit of work, so a process
that lost its lease, however long it slept, changes nothing any more. The expiry is by the
database's clock alone; a live owner renews it within a second of any step of that clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ax_jax_runners.errors import LeaseHeld, LeaseLost
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import attempts
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.events import record_event
from ax_jax_runners.store.tables import campaign
from ax_jax_runners.store.tables import lease as table

LEASE_SECONDS = 60.0

_RELEASED = 0.0


@dataclass(frozen=True)
class Lease:
    """The right to write one campaign."""

    campaign_id: int
    token: int
    owner: Owner


@dataclass(frozen=True)
class Tenure:
    """Who has a campaign's lease, as the database says.

    Attributes:
        owner: The process.
        token: Its fencing token.
        left: Seconds until the lease ends; negative where it has ended.
        released: Whether the owner gave it back.
    """

    owner: Owner
    token: int
    left: float
    released: bool

    @property
    def is_over(self) -> bool:
        """Whether anybody may take the lease now."""
        return self.left <= 0 or self.owner.is_dead_here()

    @property
    def is_doubtful(self) -> bool:
        """Whether the lease has ended although its owner may live: it slept, or the clock jumped.

        An owner that is awake renews such a lease within a second.
        """
        return self.left <= 0 and not self.released and not self.owner.is_dead_here()


def acquire(
    connection: Connection, campaign_id: int, *, name: str, owner: Owner, take_over: bool = False
) -> Lease:
    """Take the lease when it is free, expired, ours, or held by a dead process of this host.

    Args:
        connection: The unit of work.
        campaign_id: The campaign.
        name: Its name, for the message.
        owner: Who takes the lease.
        take_over: Take it from a live process too; that one fails at its next write.

    Raises:
        LeaseHeld: A live process has it, and ``take_over`` is not set.
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
    found = _tenure(row, now)
    if found.owner != owner and not found.released:
        if not found.is_over and not take_over:
            raise LeaseHeld(
                f"Campaign {name!r} is being run by {found.owner}, whose lease has "
                f"{min(found.left, LEASE_SECONDS):.0f} s left; stop it with `ax-jax stop {name}`, "
                "wait, or take the campaign over with `--take-over` (in Python "
                "`run(take_over=True)`): the other process then writes nothing more."
            )
        if not found.is_over:
            # The displaced process is not lost: its trials are not to blame for their interruption.
            attempts.interrupt_attempts(
                connection, _experiment(connection, campaign_id), "another process took over"
            )
        record_event(connection, campaign_id, "taken over", f"from {found.owner}, {_why(found)}")
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
        raise lost(read_tenure(connection, lease.campaign_id))


def release(connection: Connection, lease: Lease) -> None:
    """Let another process start at once. The row stays, so that tokens keep growing."""
    connection.execute(
        update(table)
        .where(table.c.campaign_id == lease.campaign_id, table.c.token == lease.token)
        .values(expires=_RELEASED)
    )


def limit(connection: Connection, campaign_id: int) -> None:
    """Shorten a lease that would end later than a whole lease from now.

    The clock was set back since it was renewed. A live owner renews it again; a dead one's would
    otherwise last until the clock comes to where it was.
    """
    # Waits for the owner's unit of work, so that events written with this follow on its own.
    connection.execute(
        select(table.c.token).where(table.c.campaign_id == campaign_id).with_for_update()
    )
    latest = database_time(connection) + LEASE_SECONDS
    connection.execute(
        update(table)
        .where(table.c.campaign_id == campaign_id, table.c.expires > latest)
        .values(expires=latest)
    )


def read_tenure(connection: Connection, campaign_id: int) -> Tenure | None:
    """Who has, or had last, a campaign's lease; None before the first."""
    row = connection.execute(select(table).where(table.c.campaign_id == campaign_id)).one_or_none()
    return None if row is None else _tenure(row, database_time(connection))


def holder(connection: Connection, campaign_id: int) -> Owner | None:
    """The live owner of a campaign's lease, if any."""
    found = read_tenure(connection, campaign_id)
    return None if found is None or found.is_over else found.owner


def lost(found: Tenure | None) -> LeaseLost:
    """The error of a process whose token is no longer the lease's."""
    taker = "nobody (it was released)" if found is None else str(found.owner)
    return LeaseLost(
        f"The campaign's lease is now held by {taker}; this process has written nothing since. "
        "End it, or resume when the other one is done."
    )


def _tenure(row: Any, now: float) -> Tenure:
    return Tenure(
        Owner.from_json(row.owner), row.token, row.expires - now, row.expires == _RELEASED
    )


def _experiment(connection: Connection, campaign_id: int) -> int:
    return connection.execute(
        select(campaign.c.experiment_id).where(campaign.c.id == campaign_id)
    ).scalar_one()


def _why(found: Tenure) -> str:
    if found.owner.is_dead_here():
        return "which is gone"
    if found.left <= 0:
        return f"whose lease ended {-found.left:.0f} s ago"
    return f"whose lease had {min(found.left, LEASE_SECONDS):.0f} s left"
