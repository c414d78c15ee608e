"""SIGKILL at any moment: nothing recorded is lost, nothing comes twice, the way goes on."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.bench import Bench
from tests.faults.crashing import gaps
from tests.faults.records import Records

pytestmark = pytest.mark.fault(1)

BATCH = 2


def summarise(bench: Bench, records: Records) -> str:
    return (
        f"{bench.kills} kills, {len(records.indices)} trials, {bench.again} evaluated again, "
        "0 lost, 0 changed"
    )


def finish(bench: Bench, total: int) -> Records:
    """Run to the total, and compare with a campaign that nobody killed."""
    final = bench.run(total, batch_size=BATCH)
    assert final.code == 0
    records = Records.read(bench.url)
    assert records.indices == list(range(total))
    assert records.statuses == {"completed": total}
    assert records.state == "complete"
    straight = bench.straight(total, batch_size=BATCH)
    assert records.arms == straight.arms
    assert records.values == straight.values
    # Each kill costs at most one more evaluation of each of the trials that were in flight.
    assert set(bench.evaluations) == {arm for _, arm in records.arms.values()}
    for index, (_, arm) in records.arms.items():
        assert 1 <= bench.evaluations[arm] <= records.attempts[index]
    assert bench.again <= BATCH * bench.kills
    return records


@pytest.mark.parametrize(
    "store_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
def test_a_kill_between_any_two_writes(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(BATCH, batch_size=BATCH).code == 0
    # One batch, as a process lives it that opens the campaign again; the batch before and the one
    # after it are two more.
    dry = bench.run(2 * BATCH, batch_size=BATCH, watched=True)
    points = gaps(dry.report["points"])
    for wanted in ("INSERT INTO trial_v2", "INSERT INTO observation", "run_multiple", "os.replace"):
        assert any(wanted in point for point in points), points
    assert "in the evaluation #1" in points
    assert len(points) >= 30
    total = 2 * BATCH
    last_words = bench.folder / "last words"
    for point in points:
        # Whether the batch in flight goes on or a new one begins, every point comes up.
        total = len(bench.before.indices) + 2 * BATCH
        last_words.unlink(missing_ok=True)
        victim = bench.run(
            total, batch_size=BATCH, watched=True, die_at=point, last_words=str(last_words)
        )
        assert victim.code == -9, (point, victim.report)
        assert last_words.read_text() == point
    records = finish(bench, total + BATCH)
    assert bench.kills == len(points)
    with capsys.disabled():
        print(f"\n{bench.url.partition(':')[0]}, named points: {summarise(bench, records)}")


def test_a_kill_while_the_campaign_is_made(bench: Bench) -> None:
    dry = Bench(bench.victims, f"sqlite:///{bench.folder / 'dry.db'}", bench.folder)
    points = gaps(dry.run(BATCH, batch_size=BATCH, watched=True).report["points"])
    dry.log.unlink()
    made = points[: points.index("after run_multiple #1")]
    for point in random.Random(3).sample(made, 8):
        victim = bench.run(BATCH, batch_size=BATCH, watched=True, die_at=point)
        assert victim.code in (0, -9)
    assert bench.kills >= 1
    assert bench.run(2 * BATCH, batch_size=BATCH).code == 0
    assert Records.read(bench.url).statuses == {"completed": 2 * BATCH}


@pytest.mark.parametrize("kills", [5, pytest.param(15, marks=pytest.mark.slow)])
def test_kills_at_random_moments(
    bench: Bench, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = random.Random(11 + kills)
    waits = []
    for _ in range(kills):
        if moments.random() < 0.5:
            # From the first evaluation on, or the start of the process would be hit mostly.
            started = time.monotonic()
            victim = bench.start_slow(0.02, batch_size=BATCH)
            waits.append(time.monotonic() - started)
            time.sleep(moments.uniform(0.0, 0.3))
        else:
            victim = bench.start(10_000, batch_size=BATCH)
            time.sleep(moments.uniform(0.0, 1.2))
        victim.signal(9)
        assert victim.wait(30) == -9
        bench.check(victim)
    bench.slow.write_text("0")
    begun = len(bench.before.indices)
    records = finish(bench, begun + BATCH)
    assert bench.kills == kills
    with capsys.disabled():
        print(
            f"\n{bench.url.partition(':')[0]}, random moments: {summarise(bench, records)}, "
            f"first evaluation after at most {max(waits):.1f} s"
        )
