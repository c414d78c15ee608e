"""Who may write a campaign: taking over, clocks that jump, and an owner that hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import select

from ax_jax_runners import Store
from ax_jax_runners.campaign import heartbeat, leasing
from ax_jax_runners.campaign.heartbeat import Heartbeat
from ax_jax_runners.campaign.leasing import take_lease
from ax_jax_runners.campaign.stopping import stop_campaign
from ax_jax_runners.errors import LeaseHeld, LeaseLost
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import attempts, campaigns, events, leases
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.leases import LEASE_SECONDS, Lease
from ax_jax_runners.store.tables import attempt, lease

HOUR = 3600.0
ELSEWHERE = Owner(host="another-host", machine="boot/ns", pid=1, started=1)


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


@pytest.fixture
def record(store: Store) -> CampaignRecord:
    return store.transact(
        lambda connection: campaigns.create_campaign(
            connection, name="bench", experiment_id=1, configuration={}, options={}, total_trials=9
        )
    )


def acquire(
    store: Store, record: CampaignRecord, owner: Owner, *, take_over: bool = False
) -> Lease:
    return store.transact(
        lambda connection: leases.acquire(
            connection, record.id, name=record.name, owner=owner, take_over=take_over
        )
    )


def seconds_left(store: Store, record: CampaignRecord) -> float:
    with store.reading() as connection:
        found = leases.read_tenure(connection, record.id)
    assert found is not None
    return found.left


def step_clock(store: Store, seconds: float) -> None:
    """Do to the lease what a step of the database's clock does: its end comes nearer or recedes."""
    with store.unit_of_work() as connection:
        connection.execute(lease.update().values(expires=lease.c.expires - seconds))


def happened(store: Store, record: CampaignRecord) -> list[tuple[str, str | None]]:
    with store.reading() as connection:
        return [(e.kind, e.reason) for e in events.read_events(connection, record.id)]


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.fault(13)
def test_a_refusal_names_the_owner_the_time_left_and_the_ways_out(
    store: Store, record: CampaignRecord
) -> None:
    acquire(store, record, ELSEWHERE)
    with pytest.raises(LeaseHeld) as caught:
        acquire(store, record, Owner.current())
    sentence = str(caught.value)
    assert "process 1 on another-host" in sentence
    assert any(f"has {seconds} s left" in sentence for seconds in range(50, 61))
    assert "`ax-jax stop bench`" in sentence
    assert "`--take-over`" in sentence


@pytest.mark.fault(13)
def test_a_live_process_is_displaced_and_changes_nothing_any_more(
    store: Store, record: CampaignRecord
) -> None:
    theirs = acquire(store, record, ELSEWHERE)
    store.transact(lambda c: attempts.open_attempts(c, 1, [0], token=theirs.token), lease=theirs)
    mine = acquire(store, record, Owner.current(), take_over=True)
    assert mine.token == theirs.token + 1
    ((kind, reason),) = happened(store, record)
    assert kind == "taken over"
    assert reason is not None
    assert reason.startswith("from process 1 on another-host, whose lease had ")
    for _ in range(2):
        with pytest.raises(LeaseLost, match=f"process {Owner.current().pid}"):
            store.transact(
                lambda connection: events.record_event(connection, record.id, "late"), lease=theirs
            )
    store.transact(lambda connection: leases.release(connection, theirs))
    assert len(happened(store, record)) == 1
    assert seconds_left(store, record) > 30
    # What it had begun was cut off by a person; that does not speak against the trial.
    with store.reading() as connection:
        assert connection.execute(select(attempt.c.status)).scalars().all() == ["interrupted"]
        assert attempts.lost_in_a_row(connection, 1, [0]) == {0: 0}


def test_a_free_campaign_is_taken_without_a_word(store: Store, record: CampaignRecord) -> None:
    mine = acquire(store, record, Owner.current(), take_over=True)
    store.transact(lambda connection: leases.release(connection, mine))
    acquire(store, record, ELSEWHERE, take_over=True)
    assert happened(store, record) == []


def test_an_end_by_the_clock_or_by_death_is_told_apart(
    store: Store, record: CampaignRecord
) -> None:
    acquire(store, record, ELSEWHERE)
    step_clock(store, LEASE_SECONDS + 7)
    acquire(store, record, replace(Owner.current(), started=1))
    acquire(store, record, Owner.current())
    (first, second) = [reason for _, reason in happened(store, record)]
    assert first is not None
    assert "whose lease ended" in first
    assert second is not None
    assert second.endswith("which is gone")


@pytest.mark.parametrize("hours", [1.0, -1.0])
@pytest.mark.fault(14)
def test_a_live_owner_keeps_its_lease_when_the_databases_clock_jumps(
    store: Store, record: CampaignRecord, hours: float
) -> None:
    mine = acquire(store, record, ELSEWHERE)
    with Heartbeat(store, mine) as beating:
        step_clock(store, hours * HOUR)
        # Another process tries at once, before the owner may have noticed.
        with pytest.raises(LeaseHeld):
            take_lease(store, record)
        wait_until(lambda: 0.5 * LEASE_SECONDS < seconds_left(store, record) <= LEASE_SECONDS)
    assert beating.lost is None
    assert happened(store, record) == []


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1.0, -1.0])
@pytest.mark.fault(14)
def test_a_dead_owners_lease_ends_although_the_databases_clock_jumps(
    store: Store, record: CampaignRecord, hours: float
) -> None:
    acquire(store, record, ELSEWHERE)
    step_clock(store, hours * HOUR)
    if hours < 0:
        # It would last an hour; whoever asks shortens it to one lease.
        with pytest.raises(LeaseHeld):
            take_lease(store, record)
        assert LEASE_SECONDS - 30 < seconds_left(store, record) <= LEASE_SECONDS
        step_clock(store, LEASE_SECONDS)
    assert take_lease(store, record).token == 2


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1.0, -1.0])
@pytest.mark.fault(14)
def test_the_clock_of_this_process_does_not_matter(
    store: Store, record: CampaignRecord, hours: float
) -> None:
    acquire(store, record, ELSEWHERE)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        with pytest.raises(LeaseHeld):
            take_lease(store, record)
        assert seconds_left(store, record) > 30
        step_clock(store, LEASE_SECONDS)
        mine = take_lease(store, record)
        assert mine.token == 2
        store.transact(lambda connection: leases.release(connection, mine))
    # What it wrote then holds by the database's clock.
    acquire(store, record, ELSEWHERE)
    with pytest.raises(LeaseHeld):
        acquire(store, record, Owner.current())


def test_an_owner_hears_within_moments_that_it_was_displaced(
    store: Store, record: CampaignRecord, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = acquire(store, record, ELSEWHERE)
    with Heartbeat(store, theirs) as beating:
        take_lease(store, record, take_over=True)
        wait_until(lambda: beating.lost is not None)
    assert "now held by process" in str(beating.lost)
    assert any("The lease is lost" in message for message in caplog.messages)
    assert {record.name.partition(".")[0] for record in caplog.records} == {"ax_jax_runners"}


def test_an_owner_hears_of_a_request_to_stop(store: Store, record: CampaignRecord) -> None:
    mine = acquire(store, record, ELSEWHERE)
    with Heartbeat(store, mine) as beating:
        outcome = stop_campaign(store, "bench", wait=0.0)
        assert (outcome.owner, outcome.stopped) == ("process 1 on another-host", False)
        wait_until(beating.stop_requested.is_set)
    assert happened(store, record) == [("stop requested", "of process 1 on another-host")]


def test_an_owner_without_a_database_gives_up_after_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LEASE_SECONDS", 1.5)
    file = tmp_path / "campaigns.db"
    store = Store.open(f"sqlite:///{file}")
    record = store.transact(
        lambda connection: campaigns.create_campaign(
            connection, name="bench", experiment_id=1, configuration={}, options={}, total_trials=9
        )
    )
    mine = acquire(store, record, Owner.current())
    store.close()
    file.rename(tmp_path / "away.db")
    file.mkdir()
    began = time.monotonic()
    with Heartbeat(store, mine) as beating:
        wait_until(lambda: beating.lost is not None)
    assert time.monotonic() - began >= 1.5
    assert "out of reach" in str(beating.lost)
    assert "Resume when it can be reached" in str(beating.lost)


@pytest.mark.fault(14)
def test_a_sleeper_that_nobody_displaced_goes_on(store: Store, record: CampaignRecord) -> None:
    mine = acquire(store, record, ELSEWHERE)
    step_clock(store, 10 * LEASE_SECONDS)
    with Heartbeat(store, mine) as beating:
        wait_until(lambda: seconds_left(store, record) > 0)
    assert beating.lost is None
    store.transact(lambda c: events.record_event(c, record.id, "mine"), lease=mine)
    assert happened(store, record) == [("mine", None)]


def test_waiting_for_an_answer_ends(store: Store, record: CampaignRecord) -> None:
    acquire(store, record, ELSEWHERE)
    step_clock(store, LEASE_SECONDS)
    began = time.monotonic()
    take_lease(store, record)
    assert leasing.ANSWER_SECONDS <= time.monotonic() - began < leasing.ANSWER_SECONDS + 20
    # Nobody waits for a process that is provably gone, or when told not to.
    acquire(store, record, replace(Owner.current(), started=1), take_over=True)
    step_clock(store, LEASE_SECONDS)
    assert take_lease(store, record).token == 4
