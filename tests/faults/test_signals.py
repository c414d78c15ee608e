"""Ctrl-C, SIGTERM, time limits and requests to stop: prompt, clean, and the way goes on."""

from __future__ import annotations

import signal
import time

import pytest

from ax_jax_runners import Store
from ax_jax_runners.store import campaigns
from tests.faults.bench import Bench
from tests.faults.records import Records

PROMPT = 4.0
"""Seconds from a signal to the end of the process, on a loaded machine."""


def check_resumable(bench: Bench, *, state: str = "stopped") -> None:
    records = Records.read(bench.url)
    records.check(bench.artifacts)
    assert records.state == state
    assert records.rows["leases"][0][2] == 0, "the lease was not released"
    bench.before = records
    bench.slow.write_text("0")
    begun = len(records.indices)
    resumed = bench.run(begun + 3)
    assert resumed.code == 0
    assert Records.read(bench.url).statuses == {"completed": begun + 3}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.fault(20)
def test_the_first_signal_ends_the_run_after_its_step(bench: Bench, number: int) -> None:
    victim = bench.start_slow(0.05)
    time.sleep(0.3)
    victim.signal(number)
    asked = time.monotonic()
    assert victim.wait(30) == 0
    assert time.monotonic() - asked < PROMPT
    # The step in flight was finished and recorded: nothing is evaluated again.
    assert Records.read(bench.url).statuses.keys() == {"completed"}
    check_resumable(bench)
    assert bench.again == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
@pytest.mark.fault(20)
def test_the_second_signal_ends_the_process(sqlite_bench: Bench, number: int, code: int) -> None:
    victim = sqlite_bench.start_slow(20.0)
    victim.signal(number)
    # Python joins two signals into one that come before it has seen the first.
    end = time.monotonic() + 20
    while "Stopping" not in victim.output:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not victim.has_ended()
    victim.signal(number)
    asked = time.monotonic()
    assert victim.wait(30) == code
    assert time.monotonic() - asked < PROMPT
    sqlite_bench.slow.write_text("0")
    resumed = sqlite_bench.run(6)
    assert resumed.code == 0
    assert sqlite_bench.again <= 3


def test_a_time_limit_is_kept_within_a_second(bench: Bench) -> None:
    bench.slow.write_text("0.02")
    victim = bench.run(10_000, timeout=1.5)
    assert victim.code == 0
    assert 1.5 <= victim.report["run_seconds"] < 2.5
    check_resumable(bench)
    assert bench.again == 0


def test_another_process_may_ask_to_stop(bench: Bench) -> None:
    victim = bench.start_slow(0.02)
    store = Store.open(bench.url, artifacts=bench.artifacts)
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, "bench")
    with store.unit_of_work() as connection:
        campaigns.request_stop(connection, record.id)
    asked = time.monotonic()
    store.close()
    assert victim.wait(30) == 0
    assert time.monotonic() - asked < 2.5
    check_resumable(bench)
    assert bench.again == 0
