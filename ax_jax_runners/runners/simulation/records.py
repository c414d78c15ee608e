"""A job of the cluster in its trial's run_metadata, from where a resume rebuilds the cluster."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ax.core.base_trial import BaseTrial

from ax_jax_runners.runners.simulation.cluster import Cluster, Job

RUNTIME_KEY = "runtime"
KEY = "simulated"


def encode_job(job: Job, runtime: float | None, now: float) -> dict[str, Any]:
    """Return a job as plain JSON for a trial's run_metadata.

    Args:
        job: The job.
        runtime: Its trial's runtime in seconds, before time scaling; None: it has none.
        now: The cluster's time.
    """
    return {
        RUNTIME_KEY: runtime,
        KEY: {
            "queued": job.queued,
            "started": job.started,
            "ended": job.ended,
            "span": job.span,
            "fails_after": job.fails_after,
            "attempt": job.attempt,
            "clock": now,
        },
    }


def decode_job(trial: BaseTrial) -> tuple[Job, float] | None:
    """Return a trial's job and the cluster's time when it was written; None where there is none."""
    record = trial.run_metadata.get(KEY)
    if not isinstance(record, Mapping):
        return None
    try:
        job = Job(
            trial.index,
            _time(record["queued"]),
            _time(record["span"]),
            _time_or_none(record["fails_after"]),
            _time_or_none(record["started"]),
            _time_or_none(record["ended"]),
            int(record["attempt"]),
        )
        return job, _time(record["clock"])
    except (KeyError, TypeError, ValueError):
        # A damaged record is none: the trial is submitted again.
        return None


def rebuilt(slots: int, trials: Iterable[BaseTrial]) -> Cluster:
    """Return the cluster as the trials' records tell; its time is the latest among them."""
    found = [known for trial in trials if (known := decode_job(trial)) is not None]
    now = max((time for _, time in found), default=0.0)
    return Cluster.rebuilt(slots, [job for job, _ in found], now)


def _time_or_none(value: Any) -> float | None:
    return None if value is None else _time(value)


def _time(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a time that is not finite")
    return number
