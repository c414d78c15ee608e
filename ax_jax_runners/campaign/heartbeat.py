"""A thread that keeps a campaign's lease alive and listens for a request to stop."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from ax_jax_runners.errors import LeaseLost, StoreError
from ax_jax_runners.store import Store, campaigns
from ax_jax_runners.store.leases import LEASE_SECONDS, Lease

_LOG = logging.getLogger("ax_jax_runners")

LISTEN_SECONDS = 0.5
_RENEW_EVERY = int(LEASE_SECONDS / 4 / LISTEN_SECONDS)


class Heartbeat:
    """While entered, renews the lease, so that a long generation step does not lose it.

    Attributes:
        stop_requested: Set once another process asked the campaign to stop.
        lost: The reason, once the lease is gone.
    """

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ax-jax-heartbeat", daemon=True)
        self.stop_requested = threading.Event()
        self.lost: LeaseLost | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        beats = 0
        while not self._done.wait(LISTEN_SECONDS):
            beats += 1
            try:
                with self._store.reading() as connection:
                    if campaigns.is_stop_requested(connection, self._lease.campaign_id):
                        self.stop_requested.set()
                if beats % _RENEW_EVERY == 0:
                    with self._store.unit_of_work(self._lease):
                        pass
            except LeaseLost as error:
                self.lost = error
                return
            except StoreError as error:
                # The campaign's own next write retries and reports; here it is only noted.
                _LOG.warning("The heartbeat could not reach the store: %s", error)
