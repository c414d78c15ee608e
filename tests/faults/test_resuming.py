"""Straight or killed three times: the same campaign."""

from __future__ import annotations

from tests.faults.bench import Bench
from tests.faults.records import Records

KILLS = (
    "before commit of INSERT INTO attempt #1",
    "after run_multiple #1",
    "before commit of UPDATE attempt SET #2",
)
SOBOL = 8
"""Length of the quasi-random start for three parameters and batches of four."""


def run_killed(bench: Bench, total: int, **changes: str) -> Records:
    for point in KILLS:
        victim = bench.run(
            total, batch_size=4, task="features", watched=True, die_at=point, **changes
        )
        assert victim.code == -9, (point, victim.report)
    assert bench.run(total, batch_size=4, task="features", **changes).code == 0
    records = Records.read(bench.url)
    assert records.indices == list(range(total))
    assert records.statuses == {"completed": total}
    return records


def test_a_quasi_random_campaign_is_the_same_bit_by_bit(bench: Bench) -> None:
    killed = run_killed(bench, 20)
    straight = bench.straight(20, batch_size=4, task="features")
    assert killed.arms == straight.arms
    assert killed.values == straight.values


def test_a_model_phase_goes_on(bench: Bench) -> None:
    begun = bench.run(SOBOL, batch_size=4, task="features", generation="fast")
    assert begun.code == 0
    killed = run_killed(bench, SOBOL + 12, generation="fast")
    straight = bench.straight(SOBOL + 12, batch_size=4, task="features", generation="fast")
    for index in range(SOBOL):
        assert killed.arms[index] == straight.arms[index]
        assert killed.values[index, "cost"] == straight.values[index, "cost"]
    arms = [arm for _, arm in killed.arms.values()]
    assert len(set(arms)) == len(arms)
    print(sum(killed.arms[i] == straight.arms[i] for i in killed.arms), len(killed.arms))
