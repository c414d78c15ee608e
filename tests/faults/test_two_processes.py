"""Two processes on one campaign: one writes, the other is told who does."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.faults.bench import Bench
from tests.faults.records import Records


@pytest.mark.fault(13)
def test_the_second_is_refused_with_the_owner_s_name(bench: Bench) -> None:
    first = bench.start_slow(0.05)
    second = bench.start(10_000)
    assert second.wait(30) == 3
    assert second.report["error"] == "LeaseHeld"
    assert f"process {first.pid} on {socket.gethostname()}" in second.report["sentence"]
    assert "ax-jax stop bench" in second.report["sentence"]
    assert not first.has_ended()
    first.signal(signal.SIGTERM)
    assert first.wait(30) == 0
    bench.check(first)


@pytest.mark.slow
@pytest.mark.fault(13)
def test_a_sleeper_whose_lease_ran_out_changes_nothing(bench: Bench) -> None:
    # Asleep in the middle of an evaluation: it holds no lock of the database.
    sleeper = bench.start_slow(1.5)
    sleeper.signal(signal.SIGSTOP)
    try:
        engine = create_engine(bench.url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("UPDATE lease SET expires = expires - 61"))
        bench.slow.write_text("0")
        successor = bench.run(9)
        assert successor.code == 0
        assert successor.report["first_evaluation"] < 10
        ended = Records.read(bench.url)
        assert ended.statuses == {"completed": 9}
    finally:
        sleeper.signal(signal.SIGCONT)
    assert sleeper.wait(30) == 3
    assert sleeper.report["error"] == "LeaseLost"
    assert f"process {successor.pid}" in sleeper.report["sentence"]
    assert Records.read(bench.url) == ended


@pytest.mark.fault(13)
def test_a_displaced_process_changes_nothing_any_more(bench: Bench) -> None:
    first = bench.start_slow(1.0)
    refused = bench.start(9)
    assert refused.wait(30) == 3
    assert "--take-over" in refused.report["sentence"]
    second = bench.start(9, take_over=True)
    # The displaced one is in an evaluation; nothing it does from here on may reach the database.
    wait_until(lambda: f"process {first.pid} on" in (taken_over_from(bench) or ""))
    assert first.wait(30) == 3
    assert first.report["error"] == "LeaseLost"
    assert f"process {second.pid}" in first.report["sentence"]
    bench.slow.write_text("0")
    assert second.wait(60) == 0
    ended = Records.read(bench.url)
    ended.check(bench.artifacts)
    assert ended.statuses == {"completed": 9}
    # Only what was in flight was begun again.
    assert sum(ended.attempts.values()) - 9 <= first.job.batch_size
    # The first one works again when it may, on what the second one left.
    assert bench.run(12).code == 0
    ended.check_kept_in(Records.read(bench.url))


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
@pytest.mark.fault(14)
def test_wrong_clocks_of_processes_do_not_matter(sqlite_bench: Bench, ahead: float) -> None:
    bench = sqlite_bench
    first = bench.start_slow(0.05, clock_ahead=ahead)
    for theirs in (-ahead, 0.0):
        refused = bench.start(10_000, clock_ahead=theirs)
        assert refused.wait(30) == 3
        assert f"process {first.pid} on" in refused.report["sentence"]
    assert not first.has_ended()
    first.signal(signal.SIGKILL)
    first.wait(30)
    bench.slow.write_text("0")
    begun = len(Records.read(bench.url).indices) + 3
    resumed = bench.run(begun, clock_ahead=-ahead)
    assert resumed.code == 0
    assert resumed.report["first_evaluation"] < 10
    # The owner is gone from a host that cannot be asked: its lease ends by the database's clock.
    set_owner(bench, left=-1.0)
    assert bench.run(begun + 3, clock_ahead=-ahead).code == 0
    set_owner(bench, left=50.0)
    assert bench.start(begun + 6, clock_ahead=ahead).wait(30) == 3


def taken_over_from(bench: Bench) -> str | None:
    engine = create_engine(bench.url, poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT reason FROM event WHERE kind = 'taken over'"))
        return found.scalar_one_or_none()


def set_owner(bench: Bench, *, left: float) -> None:
    """Give the lease to a process of another host, with so many seconds left."""
    engine = create_engine(bench.url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE lease SET expires = (julianday('now') - 2440587.5) * 86400.0 + :left, "
                """owner = '{"host": "elsewhere", "machine": "x/y", "pid": 1, "started": 1}'"""
            ),
            {"left": left},
        )


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.fault(14)
def test_a_lease_of_another_host_is_respected_until_it_ends(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    assert bench.run(3).code == 0
    engine = create_engine(bench.url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE lease SET expires = expires + 1e10, "
                """owner = '{"host": "elsewhere", "machine": "x/y", "pid": 1, "started": 1}'"""
            )
        )
    refused = bench.start(6)
    assert refused.wait(30) == 3
    assert "process 1 on elsewhere" in refused.report["sentence"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE lease SET expires = 0"))
    assert bench.run(6).code == 0


@pytest.mark.fault(1)
def test_a_killed_owner_does_not_delay_the_next(bench: Bench) -> None:
    victim = bench.start_slow(0.05)
    victim.signal(signal.SIGKILL)
    victim.wait(30)
    assert Records.read(bench.url).rows["leases"][0][2] > 0
    bench.slow.write_text("0")
    resumed = bench.run(30)
    assert resumed.code == 0
    # A lease lasts a minute.
    assert resumed.report["first_evaluation"] < 10
