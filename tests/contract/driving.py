"""Driving a runner by hand as the Orchestrator does."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.trial_status import TrialStatus

from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.outcome import decode_outcomes

PATIENCE = 120.0
"""Seconds after which an unfinished trial is a failure."""


def deploy(runner: TaskRunner, trials: Sequence[BaseTrial]) -> None:
    """Start trials."""
    for index, metadata in runner.run_multiple(trials=trials).items():
        trial = next(trial for trial in trials if trial.index == index)
        trial.update_run_metadata(metadata)
        trial.mark_running(no_runner_required=True)


def poll(runner: TaskRunner, trials: Sequence[BaseTrial]) -> dict[TrialStatus, set[int]]:
    """Poll and apply the statuses."""
    found = runner.poll_trial_status(trials=trials)
    by_index = {trial.index: trial for trial in trials}
    for status, indices in found.items():
        for index in indices:
            if by_index[index].status != status:
                by_index[index].mark_as(status, unsafe=True)
    return found


def finish(runner: TaskRunner, trials: Sequence[BaseTrial]) -> None:
    """Poll until every trial has ended."""
    end = time.monotonic() + PATIENCE
    while True:
        poll(runner, trials)
        if all(trial.status.is_terminal for trial in trials):
            return
        assert time.monotonic() < end, [trial.status for trial in trials]
        runner.wait(0.5)


def complete(runner: TaskRunner, trials: Sequence[BaseTrial]) -> None:
    """Start trials as fast as the runner takes them, and poll until all have ended."""
    waiting = list(trials)
    end = time.monotonic() + PATIENCE
    while True:
        room = runner.poll_available_capacity()
        batch = waiting if room == -1 else waiting[:room]
        if batch:
            deploy(runner, batch)
            waiting = waiting[len(batch) :]
        started = [trial for trial in trials if trial not in waiting]
        poll(runner, started)
        if all(trial.status.is_terminal for trial in trials):
            return
        assert time.monotonic() < end, [trial.status for trial in trials]
        runner.wait(0.5)


def results(trials: Sequence[BaseTrial]) -> list[dict[str, dict[str, Any]]]:
    """Outputs by arm, of each trial."""
    return [
        {name: dict(outcome.outputs) for name, outcome in decode_outcomes(t.run_metadata).items()}
        for t in trials
    ]


def values(trials: Sequence[BaseTrial]) -> list[dict[str, Any]]:
    """Outputs in the order of the arms, without the arms' names."""
    return [outputs for trial in results(trials) for outputs in trial.values()]


def record(trial: BaseTrial) -> dict[str, Any]:
    """What is recorded of the one arm of a trial."""
    (arm,) = trial.arms
    return trial.run_metadata["ax_jax"]["arms"][arm.name]


def plain(value: Any) -> bool:
    """Whether a value is made of JSON's own Python types only."""
    if type(value) is dict:
        return all(type(key) is str and plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(plain, value))
    return (
        value is None
        or type(value) in (str, int)
        or (type(value) is float and math.isfinite(value))
    )
