"""The compiled walk of a fixed number of lanes.

There is one program for every number of iterations: how many are asked for is data. A particle's
bits are then the same in whatever pieces it walks; and since all lanes are alike, it never matters
which lane it takes, nor who is beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ax_jax_runners.evaluation.programs import holds_solvers
from ax_jax_runners.exploration.adaptation import StepTuning, learn
from ax_jax_runners.exploration.counters import threefry
from ax_jax_runners.exploration.course import Course
from ax_jax_runners.exploration.noise import Noise, draw_noise
from ax_jax_runners.exploration.proposals import Kernel
from ax_jax_runners.exploration.recording import Record, blank_record, clear, write_row
from ax_jax_runners.exploration.region import Region
from ax_jax_runners.exploration.state import AIM_REACHED, RUNNING, STALLED, WalkState

#: Bytes of the random numbers that are drawn at once: they stay in the processor's cache.
_NOISE_BYTES = 2**18
#: Bytes of the rows that one call writes.
_RECORD_BYTES = 2**22
_MOST_TICKS = 32
#: The widest registers there are: half of them, the default, take a quarter longer.
_COMPILER = {"xla_cpu_prefer_vector_width": 512}
_MOST_ITERATIONS = 2**31 - 1
#: The second word of the counter of a stochastic simulator's keys; proposals count from 0.
_EVALUATION = np.uint32(2**31)


@dataclass(frozen=True)
class LaneProgram:
    """A walk's computation for ``lanes`` particles at once.

    Attributes:
        region: Where it stays inside.
        kernel: How it proposes.
        course: What is admissible.
        lanes: Particles of one call.
        max_suggestions: Suggestions in a row without one that could be evaluated, after which a
            particle is stalled.
        tune: How a warm-up tunes the step; None: it is given.
    """

    region: Region
    kernel: Kernel
    course: Course
    lanes: int
    max_suggestions: int
    tune: StepTuning | None = None

    @property
    def dtype(self) -> np.dtype:
        """Of coordinates, violations and steps: the evaluator's."""
        return np.dtype(self.region.evaluator.dtype)

    def precision(self) -> Any:
        """The context in which every call must be made."""
        return jax.enable_x64(self.dtype == np.float64)

    # ------------------------------------------------------------------ one point

    def _evaluate(self, unit: Array, seed_theta: Array, words: Array | None) -> tuple[Array, Any]:
        """Evaluate one point: (k,), (d,) and the key's words (2,) to violation and features."""
        key = None if words is None else jax.random.wrap_key_data(words, impl="threefry2x32")
        theta = self.region.box.theta_row(unit, seed_theta)
        features = self.region.evaluator.row_features(theta, key)
        return self.region.violation(features).astype(self.dtype), features

    def _evaluate_lanes(
        self, unit: Array, seed_theta: Array, words: Array | None
    ) -> tuple[Array, Any]:
        axes = (-1, -1, None if words is None else -1)
        return jax.vmap(self._evaluate, in_axes=axes, out_axes=-1)(unit, seed_theta, words)

    def _evaluation_words(self, key: Array, tick: Array) -> Array | None:
        if not self.region.evaluator.stochastic:
            return None
        counter = jnp.full_like(tick, _EVALUATION)
        return jnp.stack(threefry((key[0], key[1]), (tick, counter)))

    def _allows(self, state: WalkState, proposal: Array) -> Array:
        allowed = self.course.allows(state.unit, state.seed_unit, proposal)
        if not self.region.box.space.linear_constraints:
            return allowed
        box = self.region.box
        theta = jax.vmap(box.theta_row, in_axes=-1, out_axes=-1)(proposal, state.seed_theta)
        return allowed & box.holds(theta)

    @functools.cached_property
    def first(self) -> Any:
        """Compiled (unit (k, P), seed_theta (d, P), key (2, P)) -> (violation, features)."""

        def evaluate(unit: Array, seed_theta: Array, key: Array) -> tuple[Array, Any]:
            # Suggestions begin at tick 0; the last one is never reached.
            tick = jnp.full(key.shape[1:], 2**32 - 1, dtype=jnp.uint32)
            words = self._evaluation_words(key, tick)
            return self._evaluate_lanes(unit, seed_theta, words)

        return jax.jit(evaluate)

    # ------------------------------------------------------------------ one tick

    def _tick(self, state: WalkState, noise: Noise, active: Array) -> tuple[WalkState, Array]:
        """Make one suggestion for every active lane; say which iterations it completed."""
        suggestion = self.kernel.suggest(state, noise, self.course, self._allows)
        # What is not admissible may lie where no simulator should go.
        proposal = jnp.where(suggestion.admissible, suggestion.proposal, state.unit)
        words = self._evaluation_words(state.key, state.tick)
        violation, features = self._evaluate_lanes(proposal, state.seed_theta, words)
        evaluated = active & suggestion.admissible
        inside = evaluated & (violation <= 0)
        complete, line = self.kernel.settle(state, suggestion, inside)
        complete = complete & active
        idle = jnp.where(evaluated, 0, state.idle + suggestion.count.astype(jnp.int32))
        idle = jnp.where(active, idle, state.idle)

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(inside, new, old)

        unit = chosen(proposal, state.unit)
        iteration = state.iteration + complete.astype(jnp.int32)
        at_aim, status = state.at_aim, state.status
        status = jnp.where(active & (idle >= self.max_suggestions), STALLED, status)
        if self.course.aims:
            at_aim = at_aim + (inside & self.course.arrived(unit)).astype(jnp.int32)
            if self.course.stop_at_aim > 0:
                there = active & (at_aim >= self.course.stop_at_aim)
                status = jnp.where(there, AIM_REACHED, status)
        after = dataclasses.replace(
            state,
            unit=unit,
            violation=chosen(violation, state.violation),
            features=jax.tree.map(chosen, features, state.features),
            tick=state.tick + active.astype(jnp.uint32),
            iteration=iteration,
            suggestions=state.suggestions + jnp.where(active, suggestion.count, 0).astype("uint32"),
            idle=idle,
            evaluations=state.evaluations + evaluated.astype(jnp.int32),
            moves=state.moves + inside.astype(jnp.int32),
            nonfinite=state.nonfinite + (evaluated & jnp.isinf(violation)).astype(jnp.int32),
            at_aim=at_aim,
            status=status,
        )
        if line is not None and state.line is not None:
            kept = jax.tree.map(lambda new, old: jnp.where(active, new, old), line, state.line)
            after = dataclasses.replace(after, line=kept)
        return after, complete

    # ------------------------------------------------------------------ many ticks

    @functools.cached_property
    def features(self) -> Any:
        """Shapes and dtypes of one point's features."""
        evaluator = self.region.evaluator
        with self.precision():
            theta = jax.ShapeDtypeStruct((evaluator.space.dimension,), self.dtype)
            key = (jax.eval_shape(lambda: jax.random.key(0)),) if evaluator.stochastic else ()
            return jax.eval_shape(evaluator.row_features, theta, *key)

    @functools.cached_property
    def solves(self) -> bool:
        """Whether the simulator holds linear algebra, so that calls wait for each other."""
        evaluator = self.region.evaluator
        with self.precision():
            theta = jax.ShapeDtypeStruct((evaluator.space.dimension,), self.dtype)
            key = [jax.random.key(0)] if evaluator.stochastic else []
            return holds_solvers(evaluator.row_features, theta, *key)

    @functools.cached_property
    def row_bytes(self) -> int:
        """Bytes that one recorded state of one particle takes."""
        leaves = jax.tree.leaves(self.features)
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        return size + (self.region.box.dimension + 1) * self.dtype.itemsize + 9

    @property
    def rows(self) -> int:
        """Rows that one call can record."""
        return int(np.clip(_RECORD_BYTES // (self.row_bytes * self.lanes), 16, 1024))

    @functools.cached_property
    def spare(self) -> list[Record]:
        """Records whose rows have been read, to be given to the next calls.

        Fresh memory for every call would cost more than what is written there.
        """
        return []

    def room(self, state: WalkState) -> Record:
        """Return a record for a call, whatever its rows hold."""
        try:
            return self.spare.pop()
        except IndexError:
            return blank_record(state, self.rows, lockstep=self.kernel.lockstep)

    @functools.cached_property
    def walk(self) -> Any:
        """Compiled (state, room, target, thin, last_tick) -> (state, record).

        Every running particle goes on to the iteration ``target``, or to the tick ``last_tick``, or
        until it stops, at most as far as the record has room: ``rows * thin`` iterations of a
        kernel in lockstep, ``rows`` ticks of another. A kernel in lockstep records every
        ``thin``-th iteration of the call, the others every tick. The record takes the memory of
        ``room``, and what was there is lost.
        """
        walk = functools.partial(self._walk, learning=False)
        return jax.jit(walk, donate_argnums=1, compiler_options=_COMPILER)

    @functools.cached_property
    def warm_up(self) -> Any:
        """Compiled (state, None, target, thin, last_tick, half) -> (state, None), learning.

        ``half`` is the number of moves after which the mean of the step is taken.
        """
        return jax.jit(functools.partial(self._walk, learning=True), compiler_options=_COMPILER)

    def _walk(
        self,
        state: WalkState,
        room: Record | None,
        target: Array,
        thin: Array,
        last_tick: Array,
        half: Array | None = None,
        *,
        learning: bool,
    ) -> tuple[WalkState, Record | None]:
        k = self.region.box.dimension
        each = self.kernel.candidates * (k + 2) * self.dtype.itemsize * self.lanes
        ticks = int(np.clip(_NOISE_BYTES // each, 1, _MOST_TICKS))
        lockstep = self.kernel.lockstep

        empty = None if room is None else clear(room)
        # Not more than an int32 counts, however thin.
        limit = self.rows * (jnp.minimum(thin, _MOST_ITERATIONS // self.rows) if lockstep else 1)

        def is_active(state: WalkState) -> Array:
            going = (state.status == RUNNING) & (state.tick < last_tick)
            return going & (state.iteration < target)

        def go_on(carry: Any) -> Array:
            at, state, _ = carry
            return (at < limit) & jnp.any(is_active(state))

        def block(carry: Any) -> Any:
            start, state, record = carry
            drawn = draw_noise(state, ticks, self.kernel.candidates, k)

            def body(i: Array, carry: Any) -> Any:
                state, record = carry
                active = is_active(state) & (start + i < limit)
                noise = drawn.of_tick(i, k, self.dtype)
                after, complete = self._tick(state, noise, active)
                if learning and half is not None:
                    after = learn(state, after, complete, half, tune=self.tune)
                # A row is written until its last tick: no branch is needed.
                place = (start + i) // (thin if lockstep else 1)
                if record is not None:
                    record = write_row(record, place, after, None if lockstep else complete)
                return after, record

            # Rows are written at every tick, so there must not be more ticks than rows; and a tick
            # that nobody makes would cost an evaluation.
            left = jnp.minimum(
                (target - state.iteration).astype(jnp.uint32), last_tick - state.tick
            )
            missing = jnp.max(jnp.where(is_active(state), left, 0)).astype(jnp.int32)
            steps = jnp.minimum(ticks, jnp.minimum(limit - start, missing))
            state, record = lax.fori_loop(0, steps, body, (state, record))
            return start + steps, state, record

        _, state, record = lax.while_loop(go_on, block, (jnp.int32(0), state, empty))
        return state, record


@functools.lru_cache(maxsize=32)
def shared_program(
    region: Region,
    kernel: Kernel,
    course: Course,
    lanes: int,
    max_suggestions: int,
    tune: StepTuning | None,
) -> LaneProgram:
    """Return the program of these parts; walks with equal ones share what was compiled."""
    return LaneProgram(region, kernel, course, lanes, max_suggestions, tune)
