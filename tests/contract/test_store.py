"""What every database must do: transactions, leases, rows that come back exactly."""

from __future__ import annotations

import math
import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text

from ax_jax_runners import Store
from ax_jax_runners.errors import (
    CampaignNotFound,
    ConfigurationError,
    LeaseHeld,
    LeaseLost,
    SchemaTooNew,
    StoreFull,
    StoreUnavailable,
)
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import attempts, campaigns, events, leases, observations
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.clock import database_time
from ax_jax_runners.store.observations import ArtifactAddress, Observation
from ax_jax_runners.store.tables import attempt, lease, metadata, observation


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


@pytest.fixture
def record(store: Store) -> CampaignRecord:
    return store.transact(
        lambda connection: campaigns.create_campaign(
            connection,
            name="bench",
            experiment_id=1,
            configuration={"seed": 0},
            options={},
            total_trials=None,
        )
    )


LIVE_ELSEWHERE = Owner(host="another-host", machine="boot/ns", pid=1, started=1)


def acquire(store: Store, record: CampaignRecord, owner: Owner | None = None) -> leases.Lease:
    return store.transact(
        lambda connection: leases.acquire(
            connection, record.id, name=record.name, owner=owner or Owner.current()
        )
    )


def test_a_second_open_finds_the_schema(store: Store, store_url: str, tmp_path: Path) -> None:
    again = Store.open(store_url, artifacts=tmp_path)
    with again.reading() as connection:
        assert campaigns.list_campaigns(connection) == []
    again.close()


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    ours = set(metadata.tables)
    with store.reading() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _parents: kind != "table" or name in ours,
            },
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.fault(18)
def test_two_processes_may_create_the_schema_at_once(store_url: str, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            Store.open(store_url, artifacts=tmp_path).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.fault(19)
def test_a_newer_schema_is_refused(store: Store, store_url: str) -> None:
    with store.unit_of_work() as connection:
        connection.execute(text("UPDATE axjax_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="9999.*Upgrade"):
        Store.open(store_url, artifacts=".")


def test_a_unit_of_work_is_all_or_nothing(store: Store, record: CampaignRecord) -> None:
    with pytest.raises(RuntimeError, match="half way"), store.unit_of_work() as connection:
        events.record_event(connection, record.id, "first")
        raise RuntimeError("half way")
    with store.reading() as connection:
        assert events.read_events(connection, record.id) == []


def test_campaigns_come_back_as_they_were(store: Store, record: CampaignRecord) -> None:
    with store.reading() as connection:
        assert campaigns.load_campaign(connection, "bench") == record
        assert record.configuration == {"seed": 0}
        with pytest.raises(CampaignNotFound, match="'nothing'.*'bench'"):
            campaigns.load_campaign(connection, "nothing")


def test_a_stop_request_lasts_until_the_next_run(store: Store, record: CampaignRecord) -> None:
    with store.unit_of_work() as connection:
        campaigns.request_stop(connection, record.id)
    with store.reading() as connection:
        assert campaigns.is_stop_requested(connection, record.id)
    with store.unit_of_work() as connection:
        campaigns.set_state(connection, record.id, "running")
    with store.reading() as connection:
        assert not campaigns.is_stop_requested(connection, record.id)


def test_the_lease_of_a_live_process_is_respected(store: Store, record: CampaignRecord) -> None:
    acquire(store, record, LIVE_ELSEWHERE)
    with pytest.raises(LeaseHeld, match="process 1 on another-host"):
        acquire(store, record)
    with store.reading() as connection:
        assert leases.holder(connection, record.id) == LIVE_ELSEWHERE


def test_an_expired_lease_is_taken_over(store: Store, record: CampaignRecord) -> None:
    first = acquire(store, record, LIVE_ELSEWHERE)
    with store.unit_of_work() as connection:
        connection.execute(lease.update().values(expires=database_time(connection) - 1))
    second = acquire(store, record)
    assert second.token == first.token + 1


def test_the_lease_of_a_dead_process_here_is_taken_at_once(
    store: Store, record: CampaignRecord
) -> None:
    child = multiprocessing.get_context("spawn").Process(target=int)
    child.start()
    assert child.pid is not None
    dead = replace(Owner.current(), pid=child.pid, started=0)
    child.join()
    acquire(store, record, dead)
    assert acquire(store, record).token == 2


def test_a_reused_process_number_does_not_keep_a_lease(
    store: Store, record: CampaignRecord
) -> None:
    me = Owner.current()
    acquire(store, record, replace(me, started=me.started - 5))
    assert acquire(store, record).token == 2


@pytest.mark.fault(13)
def test_a_displaced_writer_changes_nothing(store: Store, record: CampaignRecord) -> None:
    mine = acquire(store, record, LIVE_ELSEWHERE)
    with store.unit_of_work() as connection:
        connection.execute(lease.update().values(expires=0.0))
    acquire(store, record)
    with pytest.raises(LeaseLost, match=f"process {Owner.current().pid}"):
        store.transact(
            lambda connection: events.record_event(connection, record.id, "late"), lease=mine
        )
    with store.reading() as connection:
        assert events.read_events(connection, record.id) == []


def test_a_released_lease_is_free_and_its_token_is_spent(
    store: Store, record: CampaignRecord
) -> None:
    mine = acquire(store, record)
    store.transact(lambda connection: leases.release(connection, mine))
    with store.reading() as connection:
        assert leases.holder(connection, record.id) is None
    assert acquire(store, record, LIVE_ELSEWHERE).token == 2


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, 5e-324, -1.7976931348623157e308, math.pi * 1e-200, 0.0, None]
)
@pytest.mark.fault(9)
def test_observations_keep_every_bit(store: Store, value: float | None) -> None:
    row = Observation(3, "3_0", "a.b[0] 'quoted'; --", value, value, "completed")
    for _ in range(2):  # the second write replaces the first
        with store.unit_of_work() as connection:
            observations.write_observations(connection, 7, [row])
    with store.reading() as connection:
        (read,) = observations.read_observations(connection, 7)
    assert (read.value, read.sem, read.metric) == (value, value, row.metric)


def test_an_observation_stands_once(store: Store) -> None:
    row = {**vars(Observation(0, "0_0", "m", 1.0, None, "completed")), "experiment_id": 1}
    with store.unit_of_work() as connection:
        connection.execute(insert(observation).values(**row))
    with pytest.raises(StoreUnavailable, match=r"(?i)unique"), store.unit_of_work() as connection:
        connection.execute(insert(observation).values(**row))


def test_artifact_addresses_come_back(store: Store) -> None:
    row = ArtifactAddress(1, "1_0", "s11", "ab" * 32, 10**10, "npz")
    with store.unit_of_work() as connection:
        observations.write_artifacts(connection, 1, [row])
    with store.reading() as connection:
        assert observations.read_artifacts(connection, 1) == [row]


def test_a_second_attempt_closes_the_first(store: Store) -> None:
    for _ in range(2):
        with store.unit_of_work() as connection:
            attempts.open_attempts(connection, 1, [4, 5], token=1)
    with store.unit_of_work() as connection:
        attempts.close_attempts(connection, 1, {4: ("completed", None)})
    with store.reading() as connection:
        rows = connection.execute(
            select(attempt.c.trial_index, attempt.c.attempt, attempt.c.status).order_by(
                attempt.c.trial_index, attempt.c.attempt
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        (4, 1, "lost"),
        (4, 2, "completed"),
        (5, 1, "lost"),
        (5, 2, "running"),
    ]


def test_readers_do_not_wait_for_a_writer(store: Store, record: CampaignRecord) -> None:
    with store.unit_of_work() as writing:
        events.record_event(writing, record.id, "unfinished")
        with store.reading() as connection:
            assert events.read_events(connection, record.id) == []


@pytest.mark.fault(18)
def test_eight_writers_commit_everything(store: Store, record: CampaignRecord) -> None:
    def write(number: int) -> None:
        for step in range(20):
            with store.unit_of_work() as connection:
                events.record_event(connection, record.id, f"{number}.{step}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert len(events.read_events(connection, record.id, limit=1000)) == 160


@pytest.mark.fault(12, on="sqlite")
def test_a_full_database_is_named_and_keeps_its_last_state(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'small.db'}")
    with store.unit_of_work() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    rows = [Observation(i, f"{i}_0", "m" * 200, 1.0, 0.0, "completed") for i in range(2000)]
    with pytest.raises(StoreFull, match="full.*intact"), store.unit_of_work() as connection:
        connection.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
        observations.write_observations(connection, 1, rows)
    store.close()
    again = Store.open(f"sqlite:///{tmp_path / 'small.db'}")
    with again.reading() as connection:
        assert observations.read_observations(connection, 1) == []
    again.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "not a database URL"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("mysql://host/db", "mysql is not supported"),
        ("sqlite:////no/such/folder/file.db", "does not exist"),
    ],
)
def test_an_unusable_url_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Store.open(url)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store.open("postgresql://someone:secret@127.0.0.1:1/db", artifacts=".")
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("this is not a database, it only has its name" * 50)
    with pytest.raises(StoreUnavailable, match=r"notes\.db"):
        Store.open(f"sqlite:///{file}")
    assert file.read_text().startswith("this is not")
