"""Ask the process that runs a campaign to stop, and wait until it has."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import Store, campaigns, events, leases

_LOG = logging.getLogger(__name__)

_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class StopOutcome:
    """What became of a request to stop.

    Attributes:
        owner: The process that ran the campaign; None when nobody did.
        stopped: Whether nobody runs it any more.
    """

    owner: str | None
    stopped: bool


def stop_campaign(store: Store, name: str, *, wait: float) -> StopOutcome:
    """Ask for a stop and wait until the runner let go.

    Args:
        store: The open store.
        name: Name of the campaign.
        wait: Longest wait in seconds.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        StoreError: The database cannot be written.
    """
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, name)
        owner = leases.holder(connection, record.id)
    if owner is None:
        return StopOutcome(None, True)

    def ask(connection: Connection) -> None:
        leases.limit(connection, record.id)
        campaigns.request_stop(connection, record.id)
        events.record_event(connection, record.id, "stop requested", f"of {owner}")

    store.transact(ask)
    _LOG.info("Campaign %r: asked %s to stop.", name, owner)
    deadline = time.monotonic() + wait
    while _holder(store, record.id) == owner:
        if time.monotonic() >= deadline:
            return StopOutcome(str(owner), False)
        time.sleep(_LOOK_EVERY)
    return StopOutcome(str(owner), True)


def _holder(store: Store, campaign_id: int) -> Owner | None:
    with store.reading() as connection:
        return leases.holder(connection, campaign_id)
