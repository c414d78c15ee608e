"""Become the one process that writes a campaign."""

from __future__ import annotations

import logging
import time

from ax_jax_runners.errors import LeaseHeld
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import Store, leases
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.leases import Lease

_LOG = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""How long the owner of a lease that has ended may show that it lives: four of its beats."""

_LOOK_EVERY = 0.2


def take_lease(store: Store, record: CampaignRecord, *, take_over: bool = False) -> Lease:
    """Become the campaign's writer.

    Args:
        store: Where the campaign is.
        record: Its row.
        take_over: Displace a live process; it fails with `LeaseLost` at its next write.

    Raises:
        LeaseHeld: A live process has the campaign, and ``take_over`` is not set.
    """
    me = Owner.current()
    if not take_over:
        _wait_for_an_answer(store, record, me)
    try:
        lease = store.transact(
            lambda connection: leases.acquire(
                connection, record.id, name=record.name, owner=me, take_over=take_over
            )
        )
    except LeaseHeld:
        store.transact(lambda connection: leases.limit(connection, record.id))
        raise
    _LOG.info("Campaign %r: this process has the lease, token %d.", record.name, lease.token)
    return lease


def _wait_for_an_answer(store: Store, record: CampaignRecord, me: Owner) -> None:
    """Give an owner whose lease has ended time to renew it: maybe only the clock was set forward.

    Whoever is told off needlessly loses the slice in flight, and two seconds cost nothing.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        with store.reading() as connection:
            found = leases.read_tenure(connection, record.id)
        if found is None or found.owner == me or not found.is_doubtful:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_EVERY)
    _LOG.warning("Campaign %r: the lease of %s has ended; taking over.", record.name, found.owner)
