"""Choosing checkpoints and parameter sets of a file, by the names that the methods have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ax_jax_runners.errors import (
    ConfigurationError,
    NoFeasibleArm,
    UnknownLoadMethod,
    UnknownMetric,
)
from ax_jax_runners.strategies.quantamm.result_files import ResultFile, metric_values, number

LOAD_METHODS = (
    "last",
    "best_objective",
    "best_train_objective",
    "best_train_objective_for_each_parameter_set",
    "best_test_objective",
    "best_objective_of_last",
    "best_train_objective_of_last",
    "best_test_objective_of_last",
    "best_train_min_test_objective",
    "best_test_min_train_objective",
)
"""Every name that there is."""

DEFAULT_METRIC = "returns_over_uniform_hodl"

Table = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Place:
    """One parameter set at one checkpoint.

    Attributes:
        row: Number of the row among those of the file.
        member: Number of the set; None: the row as a whole was chosen.
    """

    row: int
    member: int | None


def choose(
    results: ResultFile,
    load_method: str,
    *,
    metric_key: str = DEFAULT_METRIC,
    minimum: float = 0.0,
    use_continuous_test: bool = True,
) -> list[Place]:
    """Return what a method chooses: one place, or one for each set that has a value.

    The choice is that of the selections of a campaign: set and checkpoint are chosen together, a
    value that is not finite never wins and keeps no condition, the earliest of equal ones is taken.

    Args:
        results: The file.
        load_method: One of `LOAD_METHODS`.
        metric_key: The metric, where objectives are dictionaries.
        minimum: The least test objective of ``best_train_min_test_objective``, and the least train
            objective of ``best_test_min_train_objective``.
        use_continuous_test: Whether the metrics of the continuous test, where there are any, stand
            for the test objective.

    Raises:
        UnknownLoadMethod: There is no such method; it is a NotImplementedError.
        UnknownMetric: A metric that no row has; it is a KeyError.
        NoFeasibleArm: No value, or none that keeps the condition.
    """
    if load_method not in LOAD_METHODS:
        raise UnknownLoadMethod(
            f"There is no load method {load_method!r}; the methods are {', '.join(LOAD_METHODS)}."
        )
    if not math.isfinite(minimum):
        raise ConfigurationError(f"The least objective is {minimum}; give a finite number.")
    end = len(results.rows) - 1
    if load_method == "last":
        return [Place(end, None)]

    def table(objective: str) -> Table:
        continuous = use_continuous_test and objective == "test_objective"
        return metric_values(results.rows, objective, metric_key, continuous=continuous)

    if load_method == "best_train_min_test_objective":
        return [_best(table("train_objective"), load_method, table("test_objective"), minimum)]
    if load_method == "best_test_min_train_objective":
        return [_best(table("test_objective"), load_method, table("train_objective"), minimum)]
    prefix, _, rest = load_method.removeprefix("best_").partition("objective")
    values = table(f"{prefix}objective")
    if rest == "_for_each_parameter_set":
        return _best_of_sets(values, load_method)
    if rest == "_of_last":
        values = [*([] for _ in range(end)), values[end]]
    return [_best(values, load_method)]


def get_objective_scalar(obj: Any, metric_key: str = DEFAULT_METRIC) -> float:
    """Return one objective as a number.

    Args:
        obj: A number, or a dictionary of metrics; None is NaN.
        metric_key: Which metric.

    Raises:
        UnknownMetric: The dictionary lacks the metric; it is a KeyError.
        DataFileError: It is neither.
    """
    if not isinstance(obj, dict):
        return number(obj.item() if getattr(obj, "shape", None) == () else obj, "objective")
    if metric_key not in obj:
        raise UnknownMetric(
            f"There is no metric {metric_key!r}; the metrics are {', '.join(map(str, obj))}."
        )
    return number(obj[metric_key], metric_key)


def _best(values: Table, method: str, beside: Table | None = None, minimum: float = 0.0) -> Place:
    found = list(_candidates(values, beside, minimum))
    if not found:
        kept = "" if beside is None else f" whose other objective is at least {minimum:g}"
        raise NoFeasibleArm(
            f"{method}: no checkpoint has a finite objective{kept}; lower the minimum, or choose "
            "by another method."
        )
    # max takes the first of equal ones.
    _, row, member = max(found, key=lambda candidate: candidate[0])
    return Place(row, member)


def _best_of_sets(values: Table, method: str) -> list[Place]:
    best: dict[int, tuple[float, int]] = {}
    for value, row, member in _candidates(values, None, 0.0):
        if member not in best or value > best[member][0]:
            best[member] = (value, row)
    if not best:
        raise NoFeasibleArm(f"{method}: no set has a finite objective; choose by another method.")
    return [Place(best[member][1], member) for member in sorted(best)]


def _candidates(
    values: Table, beside: Table | None, minimum: float
) -> Iterator[tuple[float, int, int]]:
    for row, members in enumerate(values):
        for member, value in enumerate(members):
            if not math.isfinite(value):
                continue
            if beside is not None:
                other = beside[row][member] if member < len(beside[row]) else math.nan
                if not (math.isfinite(other) and other >= minimum):
                    continue
            yield value, row, member
