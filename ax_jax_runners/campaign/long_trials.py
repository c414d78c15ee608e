"""Trials that outlive a poll: taken up after a restart, given up, timed out, recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from ax.core.base_trial import BaseTrial
from ax.core.runner import Runner
from ax.core.trial_status import TrialStatus

from ax_jax_runners.campaign.recorder import Recorder, arm_outcomes
from ax_jax_runners.runners.base import TaskRunner

_LOG = logging.getLogger(__name__)

PROGRESS_SECONDS = 2.0
"""How often the progress of running trials is written, between the changes of their states."""

LOST_ATTEMPTS = 10
"""A trial whose process ended so often in a row, without any progress, is not tried again."""


class LongTrials:
    """What a Scheduler knows of trials that run for more than one poll."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[object, ...]] = {}
        self._fetched: dict[int, tuple[object, ...]] = {}
        self._last_write = time.monotonic()

    def take_up(
        self, recorder: Recorder, runner: Runner, trials: Iterable[BaseTrial]
    ) -> list[BaseTrial]:
        """Open an attempt of every running trial, and fail trials that kill their process.

        Args:
            recorder: The campaign's writer.
            runner: The experiment's runner.
            trials: Running and waiting trials of an earlier run.

        Returns:
            The trials that failed; they are not saved yet.
        """
        trials = list(trials)
        if not trials:
            return []
        running = [t.index for t in trials if t.status is TrialStatus.RUNNING]
        slices: dict[int, int] = {}
        may_kill = True
        if isinstance(runner, TaskRunner):
            slices = runner.slices_frozen(trials)
            may_kill = runner.computes_while_running
        lost = recorder.take_up_attempts(running, [trial.index for trial in trials], slices)
        given_up = [t for t in trials if may_kill and lost.get(t.index, 0) >= LOST_ATTEMPTS]
        for trial in given_up:
            reason = (
                f"The process that ran it ended {lost[trial.index]} times in a row without any "
                "progress; what the last one left is in the log of the system. Run it again with "
                "retry_failed() once the cause is found."
            )
            trial.mark_as(TrialStatus.FAILED, unsafe=True, reason=reason)
        if running:
            _LOG.info("Taken up from an earlier run: trials %s.", running)
        return given_up

    def expire(self, runner: Runner, running: Iterable[BaseTrial]) -> list[BaseTrial]:
        """Stop and fail running trials that are older than their time to live.

        Ax marks such a trial and the next poll of its runner revives it.
        """
        expired = []
        for trial in running:
            started, limit = trial.time_run_started, trial.ttl_seconds
            if limit is None or started is None:
                continue
            if datetime.now() - started <= timedelta(seconds=limit):
                continue
            reason = f"It ran longer than its time to live of {limit} s, and was stopped."
            runner.stop(trial, reason=reason)
            trial.mark_failed(reason=reason)
            expired.append(trial)
        return expired

    def with_news(self, trials: Iterable[BaseTrial]) -> set[int]:
        """Return the indices of trials whose record changed since they were asked for last."""
        # Trials of a runner that is not ours have no record to tell by.
        return {
            trial.index
            for trial in trials
            if _has_changed(trial, self._fetched) or not arm_outcomes(trial)
        }

    def to_write(self, running: Iterable[BaseTrial]) -> list[BaseTrial]:
        """Return the running trials with progress to write, at most every two seconds."""
        now = time.monotonic()
        if now - self._last_write < PROGRESS_SECONDS:
            return []
        self._last_write = now
        return [trial for trial in running if _has_changed(trial, self._written)]


def _has_changed(trial: BaseTrial, marks: dict[int, tuple[object, ...]]) -> bool:
    """Whether a trial's record is not as when last asked; keeps in ``marks`` how it is now."""
    mark = _mark(trial)
    has_changed = marks.get(trial.index) != mark
    marks[trial.index] = mark
    return has_changed


def _mark(trial: BaseTrial) -> tuple[object, ...]:
    """What changes whenever a trial has made a step or lost an attempt."""
    return tuple(
        (name, outcome.get("status"), outcome.get("step"), len(outcome.get("lost", ())))
        for name, outcome in arm_outcomes(trial).items()
    )
