"""Straight or killed three times: the same campaign."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.bench import Bench
from tests.faults.records import Records

pytestmark = pytest.mark.fault(21)

KILLS = (
    "before commit of INSERT INTO attempt #1",
    "after run_multiple #1",
    "before commit of UPDATE attempt SET #1",
)


def run_killed(bench: Bench, total: int, **changes: Any) -> Records:
    for point in KILLS:
        victim = bench.run(total, task="features", watched=True, die_at=point, **changes)
        assert victim.code == -9, (point, victim.report)
    assert bench.run(total, task="features", **changes).code == 0
    records = Records.read(bench.url)
    assert records.indices == list(range(total))
    assert records.statuses == {"completed": total}
    return records


def test_a_quasi_random_campaign_is_the_same_bit_by_bit(bench: Bench) -> None:
    killed = run_killed(bench, 20, batch_size=4)
    straight = bench.straight(20, batch_size=4, task="features")
    assert killed.arms == straight.arms
    assert killed.values == straight.values


@pytest.mark.slow
def test_a_model_phase_goes_on(sqlite_bench: Bench) -> None:
    bench, options = sqlite_bench, {"batch_size": 2, "generation": "fast"}
    start = 6  # of the quasi-random phase, for three parameters and batches of two
    assert bench.run(start, task="features", **options).code == 0
    killed = run_killed(bench, start + 4, **options)
    straight = bench.straight(start, task="features", **options)
    for index in range(start):
        assert killed.arms[index] == straight.arms[index]
        assert killed.values[index, "cost"] == straight.values[index, "cost"]
    arms = [arm for _, arm in killed.arms.values()]
    assert len(set(arms)) == len(arms)
