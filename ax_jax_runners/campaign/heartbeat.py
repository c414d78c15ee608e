"""A thread that keeps a campaign's lease alive and listens for a request to stop."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from ax_jax_runners.errors import LeaseLost, StoreError
from ax_jax_runners.store import Store, campaigns, leases
from ax_jax_runners.store.leases import LEASE_SECONDS, Lease

_LOG = logging.getLogger(__name__)

LISTEN_SECONDS = 0.5
_RENEW_BELOW = 0.75 * LEASE_SECONDS


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
        # Intervals are measured here, points in time in the database: no two clocks are compared.
        reached = time.monotonic()
        while not self._done.wait(LISTEN_SECONDS):
            try:
                self._listen_and_renew()
                reached = time.monotonic()
            except LeaseLost as error:
                self._lose(error)
                return
            except StoreError as error:
                # The campaign's own next write retries and reports; here it is only noted.
                _LOG.warning("The heartbeat could not reach the store: %s", error)
                silent = time.monotonic() - reached
                if silent > LEASE_SECONDS:
                    self._lose(_out_of_reach(silent))
                    return

    def _listen_and_renew(self) -> None:
        with self._store.reading() as connection:
            found = leases.read_tenure(connection, self._lease.campaign_id)
            asked = campaigns.is_stop_requested(connection, self._lease.campaign_id)
        if found is None or found.token != self._lease.token:
            raise leases.lost(found)
        if asked and not self.stop_requested.is_set():
            _LOG.info("Another process asked this campaign to stop.")
            self.stop_requested.set()
        # More than a whole lease is left only where the database's clock was set back.
        if not _RENEW_BELOW <= found.left <= LEASE_SECONDS:
            with self._store.unit_of_work(self._lease):
                pass

    def _lose(self, error: LeaseLost) -> None:
        _LOG.error("The lease is lost: %s", error)
        self.lost = error


def _out_of_reach(seconds: float) -> LeaseLost:
    return LeaseLost(
        f"The database has been out of reach for {seconds:.0f} s, longer than the campaign's lease "
        f"of {LEASE_SECONDS:.0f} s lasts, so another process may have it. Resume when it can be "
        "reached again; everything committed is intact."
    )
