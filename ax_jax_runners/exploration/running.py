"""Particles on their way: states at the start, and on to a target through the compiled program."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.errors import SeedPointOutside
from ax_jax_runners.exploration.adaptation import FIRST_STEP, Stage, begin_stage, end_stage
from ax_jax_runners.exploration.counters import threefry
from ax_jax_runners.exploration.program import LaneProgram
from ax_jax_runners.exploration.segment import Segment, SegmentBuilder
from ax_jax_runners.exploration.state import FINISHED, RUNNING, Line, WalkState, join, take

#: No particle makes so many.
LAST_TICK = 2**32 - 1
#: A chord that is long enough for every box.
UNBOUNDED = 1e4
#: Calls that are under way at once: one for each core, and one more that waits.
_CALLS = 2 * (os.cpu_count() or 1)


def particle_keys(seed: int, numbers: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the keys (2, P) uint32 of particles, each (number of the seed point, particle)."""
    counters = np.array(numbers, dtype=np.uint32).reshape(-1, 2)
    # Nothing but this makes keys with this second word, so no other stream can be the same.
    words = (jnp.full(len(counters), seed, dtype=jnp.uint32), jnp.uint32(0x57A1C))
    return np.stack(
        [np.asarray(word) for word in threefry(words, (counters[:, 0], counters[:, 1]))]
    )


def begin(
    program: LaneProgram,
    seed_theta: np.ndarray,
    keys: np.ndarray,
    *,
    iteration: int,
    step: tuple[float, float | None],
) -> WalkState:
    """Return the state of particles at their seed points, on the host.

    Args:
        program: The walk.
        seed_theta: (P, d), physical units.
        keys: (2, P) uint32.
        iteration: Where their count begins: minus the length of the warm-up.
        step: Smallest and largest step size; the largest is None where it is to be tuned.

    Raises:
        SeedPointOutside: A seed point that is not inside, with the features that are not.
    """
    region, kind = program.region, program.dtype
    seeds = np.asarray(seed_theta, dtype=np.float64)
    # The coordinates of a bound may miss it by a rounding error.
    unit = np.clip(region.box.to_unit(seeds), 0.0, 1.0).astype(kind).T
    theta = seeds.astype(kind).T
    count = len(seeds)
    violation, features = _evaluate(program, unit, theta, keys)
    outside = np.flatnonzero(~((violation <= 0) & region.holds(seeds)))
    if len(outside):
        first = outside[0]
        named = region.evaluator.space.unpack(seeds[first])
        why = region.explain(seeds[first], jax.tree.map(lambda leaf: leaf[..., first], features))
        raise SeedPointOutside(
            f"The seed point {', '.join(f'{k}={v!r}' for k, v in named.items())} is outside: "
            f"{why}. A walk begins inside; minimise the violation first to find such a point."
        )
    largest = step[1]
    if largest is None:
        largest = UNBOUNDED if program.kernel.name == "hit_and_run" else FIRST_STEP
    sizes = np.broadcast_to(np.array([[min(step[0], largest)], [largest]], kind), (2, count))
    line = None
    if program.kernel.name == "hit_and_run":
        none = np.zeros(count, kind)
        line = Line(np.zeros_like(unit), none, none, np.zeros(count, bool))

    def zeros(kind: Any) -> np.ndarray:
        return np.zeros(count, kind)

    return WalkState(
        unit=unit,
        violation=violation,
        features=features,
        seed_unit=unit,
        seed_theta=theta,
        key=keys,
        tick=zeros(np.uint32),
        iteration=np.full(count, iteration, np.int32),
        suggestions=zeros(np.uint32),
        idle=zeros(np.int32),
        evaluations=zeros(np.int32),
        moves=zeros(np.int32),
        nonfinite=zeros(np.int32),
        at_aim=zeros(np.int32),
        status=zeros(np.int32),
        step=sizes.copy(),
        line=line,
    )


def _evaluate(
    program: LaneProgram, unit: np.ndarray, theta: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, Any]:
    """Evaluate seed points by the walk's own lanes, so that bits do not depend on their number."""
    found = []
    count = unit.shape[-1]
    with program.precision():
        for start in range(0, count, program.lanes):
            at = _lanes(start, count, program.lanes)
            result = program.first(unit[:, at], theta[:, at], keys[:, at])
            kept = range(min(program.lanes, count - start))
            found.append(take(result, kept))
    return join(found)


def _lanes(start: int, count: int, lanes: int) -> np.ndarray:
    """Return the particles of one call; lanes beyond the last repeat the first of them."""
    at = np.arange(start, start + lanes)
    return np.where(at < count, at, start)


def advance(
    program: LaneProgram,
    state: WalkState,
    target: int,
    *,
    thin: int = 1,
    half: int | None = None,
    last_tick: int = LAST_TICK,
) -> tuple[WalkState, Segment | None]:
    """Walk every running particle to an iteration.

    Args:
        program: The walk.
        state: P particles, on the host; all that run are at the same iteration.
        target: The iteration to reach; at most the next multiple of ``thin`` where the state is
            at none.
        thin: Every how many iterations a state is recorded: at its multiples.
        half: In a warm-up: the moves after which the step's mean is taken; nothing is recorded.
        last_tick: The tick at which a particle waits, wherever it is.

    Returns:
        The state on the host, and what was recorded.
    """
    count, lanes = state.particles, program.lanes
    going = np.asarray(state.status) == RUNNING
    if not going.any():
        return state, None
    begun = int(np.asarray(state.iteration)[going].min())
    builder = None
    if half is None:
        builder = SegmentBuilder(begun // thin * thin, target, thin, count)
        # Where an earlier end was no multiple, the first one comes sooner.
        thin -= begun % thin
    waiting: deque[tuple[int, WalkState]] = deque()
    running: deque[tuple[int, WalkState, Any]] = deque()
    with program.precision():
        for start in range(0, count, lanes):
            part = take(state, _lanes(start, count, lanes))
            status = part.status.copy()
            status[count - start :] = FINISHED
            waiting.append((start, dataclasses.replace(part, status=status)))
        ended: dict[int, WalkState] = {}
        together = 1 if program.solves else _CALLS
        while waiting or running:
            # Several calls are made before the first is waited for: they share the processor's
            # cores. Not all of them: each holds the rows that it records.
            while waiting and len(running) < together:
                start, before = waiting.popleft()
                called = _call(program, before, (target, thin, last_tick, half))
                running.append((start, before, called))
            start, before, called = running.popleft()
            after, record = jax.block_until_ready(called)
            size = min(lanes, count - start)
            was, now = (np.asarray(s.iteration)[:size] for s in (before, after))
            if builder is not None:
                builder.add(record, was, now, slice(start, start + size))
                program.spare.append(record)
            still = (np.asarray(after.status)[:size] == RUNNING) & (now < target)
            still &= np.asarray(after.tick)[:size] < last_tick
            if still.any():
                waiting.append((start, after))
            else:
                ended[start] = take(after, range(size))
    joined = join([ended[start] for start in sorted(ended)])
    return joined, None if builder is None else builder.finish()


def _call(
    program: LaneProgram, state: WalkState, until: tuple[int, int, int, int | None]
) -> tuple[WalkState, Any]:
    target, thin, last_tick, half = until
    data = (np.int32(target), np.int32(thin), np.uint32(last_tick))
    if half is None:
        return program.walk(state, program.room(state), *data)
    return program.warm_up(state, None, *data, np.int32(half))


def warm_up(
    program: LaneProgram,
    state: WalkState,
    plan: Sequence[Stage],
    target: int,
    *,
    last_tick: int = LAST_TICK,
) -> WalkState:
    """Walk through the warm-up up to an iteration, at most to its end; nothing is recorded.

    Args:
        program: The walk.
        state: On the host, at an iteration of the warm-up.
        plan: The stages of the warm-up.
        target: At most 0.
        last_tick: The tick at which a particle waits, wherever it is.
    """
    for stage in plan:
        running = np.asarray(state.status) == RUNNING
        if not running.any():
            break
        at = int(np.asarray(state.iteration)[running].min())
        if at >= stage.last:
            continue
        if at >= target:
            break
        if state.tuning is None:
            state = begin_stage(state, stage, diagonal=program.kernel.diagonal)
        state, _ = advance(
            program, state, min(target, stage.last), half=stage.length // 2, last_tick=last_tick
        )
        if _arrived(state, stage.last):
            state = end_stage(state, stage, tune=program.tune)
        else:
            break
    if target >= 0 and _arrived(state, 0):
        state = _begin_sampling(state)
    return state


def _arrived(state: WalkState, iteration: int) -> bool:
    """Whether no particle that runs is before an iteration."""
    before = (np.asarray(state.status) == RUNNING) & (np.asarray(state.iteration) < iteration)
    return not before.any()


def _begin_sampling(state: WalkState) -> WalkState:
    """Return a state whose moves and suggestions count from here."""
    none = np.zeros_like(state.moves)
    return dataclasses.replace(
        state, tuning=None, moves=none, suggestions=np.zeros_like(state.suggestions)
    )


def finish(state: WalkState, n_iterations: int) -> WalkState:
    """Return a state in which particles that have done all their iterations are finished."""
    status = np.asarray(state.status)
    done = (status == RUNNING) & (np.asarray(state.iteration) >= n_iterations)
    return dataclasses.replace(state, status=np.where(done, FINISHED, status).astype(np.int32))
