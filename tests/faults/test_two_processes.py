"""Two processes on one campaign: one writes, the other is told who does."""

from __future__ import annotations

import signal
import socket

from sqlalchemy import NullPool, create_engine, text

from tests.faults.bench import Bench
from tests.faults.records import Records


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
