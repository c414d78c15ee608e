"""A campaign's events as they are written, also while another process runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ax_jax_runners.campaign.overview import state_of
from ax_jax_runners.store import Store, campaigns, events, leases
from ax_jax_runners.store.events import Event

_LOOK_EVERY = 0.5


def read_log(store: Store, name: str, *, limit: int | None = None) -> list[Event]:
    """The events of a campaign, oldest first.

    Args:
        store: The open store.
        name: Name of the campaign.
        limit: Only so many of the latest; None: all.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        StoreError: The database cannot be read.
    """
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, name)
        return events.read_events(connection, record.id, limit=limit)


def follow_log(store: Store, name: str, *, after: int) -> Iterator[Event | str]:
    """Yield events as they come until nobody runs the campaign, and its state at last.

    Args:
        store: The open store.
        name: Name of the campaign.
        after: Id of an event; those after it are given.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        StoreError: The database cannot be read.
    """
    while True:
        with store.reading() as connection:
            # The state first: all that was written before it changed is then among the events.
            record = campaigns.load_campaign(connection, name)
            state = state_of(record, leases.holder(connection, record.id))
            found = events.read_events_after(connection, record.id, after)
        for each in found:
            after = each.id
            yield each
        if state != "running":
            yield state
            return
        time.sleep(_LOOK_EVERY)
