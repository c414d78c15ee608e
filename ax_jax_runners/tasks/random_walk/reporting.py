"""What is said of an arm after a slice: outputs, and at the end arrays or why there are none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ax_jax_runners.exploration.expedition import iteration_of
from ax_jax_runners.exploration.state import WalkState
from ax_jax_runners.tasks.protocol import Progress
from ax_jax_runners.tasks.random_walk.arm import WalkArm
from ax_jax_runners.tasks.random_walk.extension import kept_arrays
from ax_jax_runners.tasks.random_walk.findings import FEWEST, Known, Walked, outputs


def progress_of(
    arm: WalkArm,
    arrays: Mapping[str, np.ndarray],
    known: Known,
    names: tuple[str, ...],
    *,
    done: bool,
) -> Progress:
    """Say what is known of an arm.

    Args:
        arm: The arm.
        arrays: Its state.
        known: What was known of the region before.
        names: Outputs that a finished arm has.
        done: Whether nothing more will come.
    """
    state = arm.state(arrays)
    step = int(np.asarray(state.tick, dtype=np.int64).sum())
    course = arm.walk.course
    walked = _sampled(arrays, state, step) if course.free else _directed(arrays, state, step)
    found = {} if walked is None else outputs(walked, course, known, final=done)
    told = {name: found[name] for name in names if name in found}
    if not done:
        return Progress(step, False, told)
    if len(told) < len(names):
        recorded = 0 if walked is None else len(walked.unit)
        return Progress(step, True, {}, failure=_failure(arm, state, recorded))
    return Progress(step, True, told, kept_arrays(arrays))


def _sampled(arrays: Mapping[str, np.ndarray], state: WalkState, step: int) -> Walked | None:
    """Return the walk of a sampler: states of the particles that have about as many as most."""
    recorded = np.isfinite(arrays["violation"]).sum(axis=0)
    going = recorded > 0
    if not going.any():
        return None
    # Particles that stalled early are left out: the others would have to be cut to theirs.
    kept = recorded >= 0.5 * np.median(recorded[going])
    rows = int(recorded[kept].min())
    return Walked(
        np.moveaxis(arrays["unit"][:rows, :, kept], 1, -1).astype(np.float64),
        np.asarray(state.moves)[kept],
        np.maximum(np.asarray(state.iteration)[kept], 0),
        step,
    )


def _directed(arrays: Mapping[str, np.ndarray], state: WalkState, step: int) -> Walked | None:
    """Return a directed walk: of all particles, up to where each is now.

    Those that came to their aim stop early, and stay there.
    """
    iterations = np.asarray(state.iteration)
    if not iterations.any():
        return None
    rows = int(np.isfinite(arrays["violation"]).sum(axis=0).max())
    now = np.asarray(state.unit)
    history = arrays["unit"][:rows]
    path = np.concatenate([np.where(np.isfinite(history), history, now), now[None]])
    return Walked(
        np.moveaxis(path, 1, -1).astype(np.float64), np.asarray(state.moves), iterations, step
    )


def _failure(arm: WalkArm, state: WalkState, recorded: int) -> str:
    at = iteration_of(state)
    if at is None:
        return (
            f"None of {arm.walk.max_suggestions} suggestions in a row could be evaluated, for any "
            f"particle, after {recorded} recorded states; take smaller steps, or another seed "
            "point."
        )
    if at < 0:
        return (
            f"All {arm.ticks} evaluations of each particle went into the warm-up; raise "
            "evaluations, or give the walk a shorter warm_up."
        )
    return (
        f"Only {recorded} states of each particle were recorded in {arm.ticks} evaluations, and "
        f"{FEWEST} are needed; raise evaluations, or lower the number of particles, thin or "
        "warm_up."
    )
