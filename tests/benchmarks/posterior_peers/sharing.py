"""What trials share: compiled programs, and the cores of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import jax

from ax_jax_runners.parameters import Parameter
from ax_jax_runners.posterior.configuration import OptimiserConfiguration
from ax_jax_runners.tasks import PosteriorTask
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters
from posterior_peers.goals import Row
from posterior_peers.measuring import Taken, now, take_turns
from posterior_peers.own import BATCH, ENCODER, LARGE, SMALL, Lanes, moons, prepared

_COMPILED = "/jax/core/compile/backend_compile_duration"
ARMS = 4


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect an entry for every program that is compiled inside."""
    found: list[str] = []

    def note(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == _COMPILED:
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def trials(quick: bool) -> list[Row]:
    """Measure how a second trial begins that has another learning rate."""
    task = PosteriorTask(
        moons(),
        search={"learning_rate": Parameter("learning_rate", lower=1e-4, upper=1e-2)},
        epochs=100,
        hyperparameters=Hyperparameters(
            flow=LARGE, encoder=ENCODER, optimiser=OptimiserConfiguration(batch_size=BATCH)
        ),
    )
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 2)
    seconds: list[Taken] = []
    usual: list[Taken] = []
    compiled: list[int] = []
    for trial, rate in enumerate((1e-3, 3e-3)):
        with counted() as programs:
            start = now()
            state = task.begin([{"learning_rate": rate}], keys[trial : trial + 1])
            state = task.advance(state)
            seconds.append(now() - start)
        compiled.append(len(programs))
        for _ in range(3 if quick else 10):
            start = now()
            state = task.advance(state)
            usual.append(now() - start)
    epoch = Taken(min(t.cpu for t in usual), min(t.wall for t in usual))
    assert compiled[0] > 0, "the count of compiled programs does not work"
    assert compiled[1] == 0, f"the second trial compiled {compiled[1]} programs"
    first = f"first trial to its first epoch's end, {compiled[0]} programs compiled"
    second = "second trial, another learning rate, 0 compiled; less an epoch"
    return [
        Row(first, own=seconds[0]),
        Row(second, own=seconds[1] - epoch, goal=0.5, is_limit=True),
    ]


def together(quick: bool) -> list[Row]:
    """Measure arms one by one, in one call, and in two threads; all cores, seconds an arm-epoch."""
    data = prepared(moons())
    rates = [1e-3 * (number + 1) for number in range(ARMS)]
    rows = []
    for flow in (SMALL, LARGE):
        single = [Lanes(data, flow, [rate]) for rate in rates]
        joint = Lanes(data, flow, rates)
        pairs = [Lanes(data, flow, rates[:2]), Lanes(data, flow, rates[2:])]
        with ThreadPoolExecutor(2) as pool:
            calls = {
                "one by one": lambda arms=single: [arm.epoch() for arm in arms],
                "four together": joint.epoch,
                "two in two threads": lambda arms=single, pool=pool: list(
                    pool.map(Lanes.epoch, arms)
                ),
                "two pairs in two threads": lambda arms=pairs, pool=pool: list(
                    pool.map(Lanes.epoch, arms)
                ),
            }
            seconds = take_turns(calls, 3 if quick else 15, dict.fromkeys(calls, ARMS))
        for name in list(calls)[1:]:
            what = f"an arm's epoch, {name}, {single[0].parameters:,} weights"
            rows.append(Row(what, seconds["one by one"], seconds[name], goal=1.5, by_wall=True))
    return rows
