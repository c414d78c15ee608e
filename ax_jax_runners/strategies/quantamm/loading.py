"""Loading parameters from files of results; nothing is written, printed or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ax_jax_runners.errors import DataFileError, UnknownMetric
from ax_jax_runners.strategies.quantamm.choosing import DEFAULT_METRIC, choose
from ax_jax_runners.strategies.quantamm.hessians import HessianTrace, checked, with_hessian
from ax_jax_runners.strategies.quantamm.initial_values import SUBSIDIARIES
from ax_jax_runners.strategies.quantamm.result_files import (
    parameters_of,
    read_results,
    set_count,
)


def load_result_array(
    run_location: str | Path,
    key: str = "objective",
    recalc_hess: bool = False,
    *,
    hessian_trace: HessianTrace | None = None,
) -> tuple[dict[str, Any], list[Any]]:
    """Return a file's fingerprint and one value of each of its checkpoints.

    Args:
        run_location: The file.
        key: The value's key.
        recalc_hess: Whether ``hessian_trace`` is computed anew for every checkpoint.
        hessian_trace: What computes it.

    Raises:
        DataFileMissing: There is no such file; it is a FileNotFoundError.
        UnknownMetric: A checkpoint lacks the key; it is a KeyError.
        ConfigurationError: ``recalc_hess`` without a function.
    """
    results = read_results(run_location)
    rows = results.rows
    if recalc_hess:
        rows = tuple(with_hessian(row, hessian_trace) for row in rows)
    for step, row in zip(results.steps, rows, strict=True):
        if key not in row:
            raise UnknownMetric(
                f"Step {step} of file {str(run_location)!r} has no {key!r}; it has "
                f"{', '.join(row)}."
            )
    return results.fingerprint, [row[key] for row in rows]


def load_manually(
    run_location: str | Path,
    load_method: str = "last",
    recalc_hess: bool = False,
    min_test: float = 0.0,
    return_as_iterables: bool = False,
    metric_key: str = DEFAULT_METRIC,
    use_continuous_test: bool = True,
    *,
    hessian_trace: HessianTrace | None = None,
) -> tuple[Any, Any]:
    """Return the checkpoint that a method chooses, and the number of the chosen set.

    Args:
        run_location: The file.
        load_method: One of `choosing.LOAD_METHODS`.
        recalc_hess: Whether ``hessian_trace`` of the chosen checkpoints is computed anew.
        min_test: The least value of the other objective, for the two methods with one.
        return_as_iterables: Whether a single choice comes in lists, too.
        metric_key: The metric, where objectives are dictionaries.
        use_continuous_test: Whether metrics of the continuous test, where there are any, stand
            for the test objective.
        hessian_trace: What computes the Hessian's trace of a row's parameters.

    Returns:
        Row and set; None as the set of "last", which chooses among none. Lists of both for
        "best_train_objective_for_each_parameter_set", without the sets that have no value.

    Raises:
        DataFileMissing: There is no such file; it is a FileNotFoundError.
        UnknownLoadMethod: There is no such method; it is a NotImplementedError.
        UnknownMetric: A metric that no row has; it is a KeyError.
        NoFeasibleArm: No value, or none that keeps the minimum.
        ConfigurationError: ``recalc_hess`` without a function.
    """
    results = read_results(run_location)
    places = choose(
        results,
        load_method,
        metric_key=metric_key,
        minimum=min_test,
        use_continuous_test=use_continuous_test,
    )
    rows = [{**results.rows[place.row], "step": results.steps[place.row]} for place in places]
    if recalc_hess:
        rows = [with_hessian(row, hessian_trace) for row in rows]
    members = [place.member for place in places]
    if return_as_iterables or load_method.endswith("_for_each_parameter_set"):
        return rows, members
    return rows[0], members[0]


def retrieve_best(
    data_location: str | Path,
    load_method: str,
    re_calc_hess: bool,
    min_alt_obj: float = 0.0,
    return_as_iterables: bool = False,
    *,
    metric_key: str = DEFAULT_METRIC,
    use_continuous_test: bool = True,
    hessian_trace: HessianTrace | None = None,
) -> tuple[Any, Any]:
    """Return the chosen set's parameters, nothing else, and the step they are of.

    Args:
        data_location: The file.
        load_method: One of `choosing.LOAD_METHODS`; "last" is the first set of the last row.
        re_calc_hess: As for `load_manually`; the trace is no parameter.
        min_alt_obj: The least value of the other objective, for the two methods with one.
        return_as_iterables: Whether all choices come, in lists, rather than the first one.
        metric_key: As for `load_manually`.
        use_continuous_test: As for `load_manually`.
        hessian_trace: As for `load_manually`.

    Raises:
        DataFileError: A parameter without an axis of sets in a row that has several.
        AxJaxError: As for `load_manually`.
    """
    if re_calc_hess:
        checked(hessian_trace)
    rows, members = load_manually(
        data_location,
        load_method,
        min_test=min_alt_obj,
        return_as_iterables=True,
        metric_key=metric_key,
        use_continuous_test=use_continuous_test,
    )
    params = [
        _one_set(parameters_of(row), member or 0, set_count(row))
        for row, member in zip(rows, members, strict=True)
    ]
    steps = [row["step"] for row in rows]
    return (params, steps) if return_as_iterables else (params[0], steps[0])


def _one_set(params: Mapping[str, Any], member: int, sets: int | None) -> dict[str, Any]:
    if sets is None:
        return dict(params)
    found = {}
    for key, value in params.items():
        if key == SUBSIDIARIES:
            found[key] = [_one_set(each, member, sets) for each in value]
            continue
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != sets:
            raise DataFileError(
                f"Parameter {key!r} has no axis of the {sets} sets that the objectives have; "
                "correct the file, or take the whole row by load_manually."
            )
        found[key] = value[member]
    return found
