"""Events and attempts on every database: each change once, and old databases keep theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, event, text

import ax_jax_runners.store.schema
from ax_jax_runners import Store
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import attempts, campaigns, events, leases
from ax_jax_runners.store.ax_tables import create_ax_tables
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.statuses import TRIAL_STATUSES, trial_statuses
from ax_jax_runners.store.tables import metadata

NUMBERS = {name: number for number, name in TRIAL_STATUSES.items()}


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


@pytest.fixture
def record(store: Store) -> CampaignRecord:
    """A campaign of an experiment without trials, as far as this room looks at one."""
    with store.unit_of_work() as connection:
        number = connection.execute(
            text(
                "INSERT INTO experiment_v2 (name, is_test, time_created) "
                "VALUES ('bench', false, 0) RETURNING id"
            )
        ).scalar_one()
        return campaigns.create_campaign(
            connection,
            name="bench",
            experiment_id=number,
            configuration={},
            options={},
            total_trials=None,
        )


def write(
    store: Store,
    record: CampaignRecord,
    after: Mapping[int, tuple[str, str | None]],
    retried: Mapping[int, list[str]] | None = None,
) -> None:
    """Record the changes and make them, as one unit of work does."""
    with store.unit_of_work() as connection:
        events.record_changes(
            connection,
            campaign_id=record.id,
            experiment_id=record.experiment_id,
            after=after,
            retried=retried,
        )
        known = trial_statuses(connection, record.experiment_id, list(after))
        for index, (status, _) in after.items():
            values = {"e": record.experiment_id, "i": index, "s": NUMBERS[status]}
            connection.execute(
                text('UPDATE trial_v2 SET status = :s WHERE experiment_id = :e AND "index" = :i')
                if index in known
                else text(
                    'INSERT INTO trial_v2 (experiment_id, "index", is_batched, num_arms_created, '
                    "status, time_created) VALUES (:e, :i, false, 1, :s, 0)"
                ),
                values,
            )


def begin(store: Store, record: CampaignRecord, *indices: int) -> dict[int, int]:
    with store.unit_of_work() as connection:
        return attempts.open_attempts(connection, record.experiment_id, indices, token=1)


def end(store: Store, record: CampaignRecord, index: int, status: str) -> None:
    with store.unit_of_work() as connection:
        attempts.close_attempts(connection, record.experiment_id, {index: (status, None)})


def read(store: Store, record: CampaignRecord) -> list[events.Event]:
    with store.reading() as connection:
        return events.read_events(connection, record.id, limit=None)


def told(store: Store, record: CampaignRecord) -> list[tuple[object, ...]]:
    return [
        (e.kind, e.trial_index, e.attempt, e.from_status, e.to_status, e.reason)
        for e in read(store, record)
    ]


def test_each_change_of_a_trial_is_one_event(store: Store, record: CampaignRecord) -> None:
    write(store, record, {0: ("CANDIDATE", None), 1: ("CANDIDATE", None)})
    begin(store, record, 0, 1)
    write(store, record, {0: ("RUNNING", None)})
    # The same state again, with new progress, is no change.
    write(store, record, {0: ("RUNNING", None)})
    write(store, record, {0: ("COMPLETED", None), 1: ("FAILED", "output 'cost' is nan")})
    assert told(store, record) == [
        ("trial", 0, None, None, "CANDIDATE", None),
        ("trial", 1, None, None, "CANDIDATE", None),
        ("trial", 0, 1, "CANDIDATE", "RUNNING", None),
        ("trial", 0, 1, "RUNNING", "COMPLETED", None),
        ("trial", 1, 1, "CANDIDATE", "FAILED", "output 'cost' is nan"),
    ]
    found = read(store, record)
    assert [e.id for e in found] == sorted({e.id for e in found})
    assert [e.time for e in found] == sorted(e.time for e in found)


def test_a_unit_of_work_that_fails_leaves_no_event(store: Store, record: CampaignRecord) -> None:
    with pytest.raises(RuntimeError, match="half way"), store.unit_of_work() as connection:
        events.record_transitions(connection, record.id, [(0, 1, None, "CANDIDATE", None)])
        raise RuntimeError("half way")
    assert told(store, record) == []


def test_each_retry_inside_a_runner_is_told_once(store: Store, record: CampaignRecord) -> None:
    killed, late = "killed by signal 9", "ran longer than 3 s"
    write(store, record, {4: ("CANDIDATE", None)})
    begin(store, record, 4)
    write(store, record, {4: ("RUNNING", None)}, {4: [killed]})
    write(store, record, {4: ("RUNNING", None)}, {4: [killed]})
    write(store, record, {4: ("RUNNING", None)}, {4: [killed, killed]})
    write(store, record, {4: ("COMPLETED", None)}, {4: [killed, killed, late]})
    expected = [
        ("trial", 4, None, None, "CANDIDATE", None),
        ("trial", 4, 1, "CANDIDATE", "RUNNING", None),
        ("retry", 4, 1, None, None, killed),
        ("retry", 4, 1, None, None, killed),
        ("retry", 4, 1, None, None, late),
        ("trial", 4, 1, "RUNNING", "COMPLETED", None),
    ]
    assert told(store, record) == expected
    # The sentences of another attempt are its own, also where they read the same.
    end(store, record, 4, "failed")
    begin(store, record, 4)
    write(store, record, {4: ("RUNNING", None)}, {4: [killed]})
    assert told(store, record)[6:] == [
        ("trial", 4, 2, "COMPLETED", "RUNNING", None),
        ("retry", 4, 2, None, None, killed),
    ]


def test_an_attempt_lost_with_its_process_is_told(store: Store, record: CampaignRecord) -> None:
    assert begin(store, record, 3, 5) == {}
    end(store, record, 5, "completed")
    lost = begin(store, record, 3, 5, 6)
    assert lost == {3: 1}
    with store.unit_of_work() as connection:
        events.record_lost(connection, record.id, lost)
    assert told(store, record) == [
        ("retry", 3, 1, None, None, "its process ended before the result")
    ]


@pytest.mark.fault(5)
def test_a_reason_of_a_megabyte_is_bounded(store: Store, record: CampaignRecord) -> None:
    for _ in range(2):
        write(store, record, {0: ("FAILED", "x" * 10**6)}, {0: ["y" * 10**6]})
    assert [(e.kind, len(e.reason or "")) for e in read(store, record)] == [
        ("retry", 10_000),
        ("trial", 10_000),
    ]


def test_the_number_of_statements_does_not_grow(store: Store, record: CampaignRecord) -> None:
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    counts = []
    for indices in (range(1), range(1, 300)):
        begin(store, record, *indices)
        event.listen(Engine, "before_cursor_execute", count)
        try:
            with store.unit_of_work() as connection:
                events.record_changes(
                    connection,
                    campaign_id=record.id,
                    experiment_id=record.experiment_id,
                    after={index: ("RUNNING", None) for index in indices},
                    retried={index: ["lost"] for index in indices},
                )
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        counts.append(len(statements))
        statements.clear()
    assert counts[1] == counts[0] <= 8
    assert len(read(store, record)) == 600


def test_a_follower_gets_what_came_after(store: Store, record: CampaignRecord) -> None:
    write(store, record, {index: ("CANDIDATE", None) for index in range(30)})
    with store.reading() as connection:
        latest = events.read_events(connection, record.id, limit=3)
        assert [e.trial_index for e in latest] == [27, 28, 29]
        assert events.read_events_after(connection, record.id, latest[-1].id) == []
        assert events.read_events_after(connection, record.id, latest[0].id) == latest[1:]
    write(store, record, {2: ("RUNNING", None)})
    with store.reading() as connection:
        (news,) = events.read_events_after(connection, record.id, latest[-1].id)
    assert (news.trial_index, news.to_status) == (2, "RUNNING")


def test_lost_attempts_in_a_row_are_counted_from_the_end(
    store: Store, record: CampaignRecord
) -> None:
    for _ in range(3):
        begin(store, record, 0, 1)
    end(store, record, 1, "interrupted")
    begin(store, record, 1)
    for _ in range(2):
        begin(store, record, 1)
    with store.unit_of_work() as connection:
        found = attempts.lost_in_a_row(connection, record.experiment_id, [0, 1, 2])
        # Of 0: two lost, the third is open. Of 1: two since the interruption, the third is open.
        assert found == {0: 2, 1: 2, 2: 0}
        assert attempts.latest(connection, record.experiment_id, [0, 1, 2]) == {0: 3, 1: 6}
    begin(store, record, 0)
    end(store, record, 0, "completed")
    with store.reading() as connection:
        assert attempts.lost_in_a_row(connection, record.experiment_id, [0]) == {0: 0}


def old_database(url: str) -> None:
    """A database as the first released schema left it, with a campaign, events and attempts."""
    config = Config()
    scripts = Path(ax_jax_runners.store.schema.__file__).parent / "migrations"
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        create_ax_tables(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO campaign (id, name, experiment_id, configuration, options, state, created)"
            " VALUES (1, 'old', 7, '{\"seed\": 3}', '{}', 'stopped', 1.5)",
            "INSERT INTO event (campaign_id, trial_index, attempt, kind, detail, time) VALUES"
            " (1, NULL, NULL, 'created', NULL, 1.5), (1, NULL, NULL, 'stopped', 'why it was', 2.5)",
            "INSERT INTO attempt (experiment_id, trial_index, attempt, token, status, started)"
            " VALUES (7, 0, 1, 4, 'running', 2.0)",
        ):
            connection.exec_driver_sql(statement)
        connection.execute(
            text("INSERT INTO lease (campaign_id, owner, token, expires) VALUES (1, :o, 4, 0.0)"),
            {"o": Owner("there", "boot/ns", 1, 1).to_json()},
        )


@pytest.mark.fault(19)
def test_a_database_of_the_first_schema_is_upgraded_with_its_data(
    store_url: str, tmp_path: Path
) -> None:
    old_database(store_url)
    store = Store.open(store_url, artifacts=tmp_path / "artifacts")
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, "old")
        assert (record.configuration, record.state) == ({"seed": 3}, "stopped")
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
            },
        )
        assert compare_metadata(context, metadata) == []
    assert told(store, record) == [
        ("created", None, None, None, None, None),
        ("stopped", None, None, None, None, "why it was"),
    ]
    assert [e.time for e in read(store, record)] == [1.5, 2.5]
    lease = store.transact(
        lambda connection: leases.acquire(connection, record.id, name="old", owner=Owner.current())
    )
    assert lease.token == 5
    assert begin(store, record, 0) == {0: 1}
    with store.unit_of_work(lease) as connection:
        events.record_event(connection, record.id, "running")
    assert len(read(store, record)) == 3
    store.close()
