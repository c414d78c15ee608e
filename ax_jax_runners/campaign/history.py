"""Results of earlier runs of the original simulator as observations of a campaign.

They belong to no trial of Ax, which learns nothing from them: their trials have the indices -1, -2
and so on, their arms the names of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import Connection, func, select

from ax_jax_runners.campaign.recorder import Recorder
from ax_jax_runners.errors import DataFileError
from ax_jax_runners.store import events
from ax_jax_runners.store.observations import Observation, write_observations
from ax_jax_runners.store.tables import observation
from ax_jax_runners.strategies.quantamm.fingerprints import get_run_location
from ax_jax_runners.strategies.quantamm.result_files import (
    CONTINUOUS,
    CONTINUOUS_PREFIX,
    ResultFile,
    number,
    read_results,
)

# Where dictionaries of metrics are told apart by window.
_WINDOWS = {
    "objective": "",
    "train_objective": "train",
    "test_objective": "test",
    CONTINUOUS: "continuous_test",
}


def import_history(recorder: Recorder, path: str | Path) -> int:
    """Store a file of results in one transaction; see `Campaign.import_history`.

    Raises:
        DataFileMissing: There is no such file.
        DataFileError: It holds something else, or no objective.
    """
    results = read_results(path)
    arm_name = get_run_location(results.fingerprint)
    experiment_id = recorder.record.experiment_id
    if all(row.get(key) in (None, [], {}) for row in results.rows for key in _WINDOWS):
        raise DataFileError(
            f"File {str(path)!r} has rows without any objective; there is nothing to choose by."
        )

    def write(connection: Connection) -> int:
        trial_index = _index(connection, experiment_id, arm_name)
        write_observations(connection, experiment_id, list(_rows(results, trial_index, arm_name)))
        told = f"{len(results.rows)} checkpoints of {Path(path).name} as trial {trial_index}"
        events.record_event(connection, recorder.record.id, "imported", told)
        return trial_index

    return recorder.store.transact(write, lease=recorder.lease)


def _index(connection: Connection, experiment_id: int, arm_name: str) -> int:
    """Return the index that the run has, or else the next one."""
    of_history = (observation.c.experiment_id == experiment_id, observation.c.trial_index < 0)
    known = select(func.max(observation.c.trial_index)).where(
        *of_history, observation.c.arm_name == arm_name
    )
    lowest = select(func.min(observation.c.trial_index)).where(*of_history)
    found = connection.execute(known).scalar()
    return (connection.execute(lowest).scalar() or 0) - 1 if found is None else found


def _rows(results: ResultFile, trial_index: int, arm_name: str) -> Iterator[Observation]:
    steps = results.steps
    for step, row in zip(steps, results.rows, strict=True):
        status = "completed" if step == steps[-1] else "running"
        for key in _WINDOWS:
            given = row.get(key)
            members = given if isinstance(given, list) else [] if given is None else [given]
            for member, told in enumerate(members):
                for metric, window, value in _metrics(key, told):
                    yield Observation(
                        trial_index,
                        arm_name,
                        metric,
                        value if math.isfinite(value) else None,
                        None,
                        status,
                        step=step,
                        member=member,
                        window=window,
                    )


def _metrics(key: str, told: object) -> Iterator[tuple[str, str, float]]:
    if not isinstance(told, Mapping):
        yield key, "", number(told, key)
        return
    prefix = CONTINUOUS_PREFIX if key == CONTINUOUS else ""
    for metric, value in told.items():
        yield metric.removeprefix(prefix), _WINDOWS[key], number(value, metric)
