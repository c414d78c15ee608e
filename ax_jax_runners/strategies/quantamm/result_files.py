"""Files of results as the original simulator writes them: JSON text encoded as JSON once more.

The text is a list: the fingerprint of the run, then a row for each checkpoint with its parameters
(sets first), its objectives and what else the training noted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ax_jax_runners.errors import DataFileError, DataFileMissing, UnknownMetric

OBJECTIVES = ("objective", "train_objective", "test_objective")
CONTINUOUS = "continuous_test_metrics"
CONTINUOUS_PREFIX = "continuous_test_"
_NOTES = frozenset({"step", "hessian_trace", "local_learning_rate", "iterations_since_improvement"})

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ResultFile:
    """What a file of results holds.

    Attributes:
        fingerprint: The settings of the run.
        rows: The checkpoints by rising step. Where a run was begun again, from its start or from
            an earlier checkpoint, the rows from that step on are those of the later attempt.
    """

    fingerprint: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    @property
    def steps(self) -> list[int]:
        """The step of every row; where the rows have none, their number."""
        return [_step(row, number) for number, row in enumerate(self.rows)]


def read_results(path: str | Path) -> ResultFile:
    """Read a file of results; text that was encoded once is read as well.

    Raises:
        DataFileMissing: There is no such file; it is a FileNotFoundError.
        DataFileError: It holds something else, or no row.
    """
    file = Path(path)
    if not file.is_file():
        raise DataFileMissing(f"There is no file {str(file)!r}; name a file of results.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        found = json.loads(found) if isinstance(found, str) else found
    except ValueError as error:
        raise DataFileError(f"File {str(file)!r} is no JSON ({error}); name another.") from error
    is_list = isinstance(found, list) and all(isinstance(row, dict) for row in found)
    if not is_list or len(found) < 2:
        raise DataFileError(
            f"File {str(file)!r} holds no list of a fingerprint and at least one row; name a file "
            "of results."
        )
    fingerprint, *rows = found
    return ResultFile(fingerprint, tuple(_latest(rows, file)))


def metric_values(
    rows: Sequence[Row], objective: str, metric: str, *, continuous: bool = False
) -> list[list[float]]:
    """Return the values of an objective, a list of one for each set for every row.

    Args:
        rows: The checkpoints.
        objective: One of `OBJECTIVES`.
        metric: Which one, where the objectives are dictionaries of metrics; numbers are taken as
            they are.
        continuous: Whether the metrics of the continuous test, where a row has them, stand for the
            objective in all rows.

    Returns:
        NaN where there is no value.

    Raises:
        UnknownMetric: No row has that objective, or none of its dictionaries that metric.
    """
    key = objective
    if continuous and any(row.get(CONTINUOUS) for row in rows):
        key, metric = CONTINUOUS, f"{CONTINUOUS_PREFIX}{metric}"
    entries = [_entries(row.get(key)) for row in rows]
    each = [entry for row in entries for entry in row]
    known = sorted({name for entry in each if isinstance(entry, Mapping) for name in entry})
    if not each:
        raise UnknownMetric(f"No row has the objective {key!r}; choose by another one.")
    if all(isinstance(entry, Mapping) for entry in each) and metric not in known:
        raise UnknownMetric(
            f"No row has the metric {metric!r} in {key!r}; its metrics are {', '.join(known)}."
        )
    return [
        [number(e.get(metric) if isinstance(e, Mapping) else e, key) for e in row]
        for row in entries
    ]


def number(value: Any, what: str) -> float:
    """Return a value of a file as a number; NaN for null.

    Raises:
        DataFileError: It is none.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, np.generic)):
        raise DataFileError(f"{what!r} holds {value!r}, which is no number; correct the file.")
    return float(value)


def parameters_of(row: Row) -> dict[str, Any]:
    """Return a row's parameters: everything but objectives, metrics and notes of the training."""
    return {
        key: value
        for key, value in row.items()
        if key not in _NOTES and not key.endswith(("objective", "_metrics"))
    }


def set_count(row: Row) -> int | None:
    """Return how many parameter sets a row has; None where it does not tell sets apart."""
    for key in OBJECTIVES:
        if isinstance(row.get(key), (list, tuple)):
            return len(row[key])
    return None


def _entries(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _latest(rows: Sequence[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    kept: list[tuple[int, dict[str, Any]]] = []
    for position, row in enumerate(rows):
        if not isinstance(row.get("step", 0), int):
            raise DataFileError(
                f"File {str(file)!r}: row {position} has the step {row['step']!r}; it must be a "
                "whole number."
            )
        step = _step(row, position)
        while kept and kept[-1][0] >= step:
            kept.pop()
        kept.append((step, row))
    return [row for _, row in kept]


def _step(row: Row, position: int) -> int:
    return int(row.get("step", position))
