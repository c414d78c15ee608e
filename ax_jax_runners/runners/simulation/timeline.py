"""When which trial ran, as a table."""

from __future__ import annotations

import math

import pandas as pd
from ax.core.experiment import Experiment

from ax_jax_runners.runners.simulation.cluster import Cluster, Job
from ax_jax_runners.runners.simulation.records import RUNTIME_KEY

COLUMNS = ("trial_index", "queued", "started", "ended", "runtime", "status")


def timeline(experiment: Experiment, cluster: Cluster) -> pd.DataFrame:
    """Return one row for each trial that was submitted to the cluster.

    Returns:
        trial_index; queued, started, ended in virtual seconds, NaN where not yet; runtime in
        seconds as sampled, before time scaling; status by Ax's name, or QUEUED.
    """
    rows = []
    for index, job in sorted(cluster.jobs.items()):
        trial = experiment.trials[index]
        runtime = trial.run_metadata.get(RUNTIME_KEY)
        rows.append(
            {
                "trial_index": index,
                "queued": job.queued,
                "started": math.nan if job.started is None else job.started,
                "ended": math.nan if job.ended is None else job.ended,
                "runtime": math.nan if runtime is None else float(runtime),
                "status": "QUEUED" if _waits(job) else trial.status.name,
            }
        )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(COLUMNS[1:5], "float64"))


def _waits(job: Job) -> bool:
    return job.started is None and job.ended is None
