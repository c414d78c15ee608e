"""Which candidates of a selection keep its conditions, looked up one by one or read all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal, or_, select

from ax_jax_runners.store.selection import AtLeast, Condition, Selection
from ax_jax_runners.store.tables import observation

#: What tells a candidate from others of its experiment.
PLACE = ("trial_index", "arm_name", "step", "member")

_Name = tuple[str | None, str | None]


def of_metric(
    experiment_id: int, row: Any, metric: str | None, window: str | None
) -> list[ColumnElement[bool]]:
    """Say that a row is of an experiment and a metric."""
    return [row.c.experiment_id == experiment_id, *_named(row, metric, window)]


def each_holds_somewhere(
    experiment_id: int, conditions: Sequence[Condition]
) -> list[ColumnElement[bool]]:
    """Say that some row keeps the conditions on each metric: one seek for each.

    Where none does, no candidate needs to be looked at.
    """
    found: list[ColumnElement[bool]] = []
    for name, own in _by_metric(conditions):
        row = observation.alias()
        known = of_metric(experiment_id, row, *name)
        found.append(exists(select(literal(1)).where(*known, *_hold(own, row.c.value))))
    return found


def kept_one_by_one(
    experiment_id: int, row: Any, conditions: Sequence[Condition]
) -> list[ColumnElement[Any]]:
    """Say that the candidate of a row keeps conditions: one seek for each metric.

    PostgreSQL would make a join of EXISTS, by estimates that may be off by the number of rows; a
    value is looked up for one candidate after the other, the best first.
    """
    found: list[ColumnElement[Any]] = []
    for name, own in _by_metric(conditions):
        beside = observation.alias()
        holds = select(and_(*_hold(own, beside.c.value))).where(
            *of_metric(experiment_id, beside, *name),
            *(beside.c[part] == row.c[part] for part in PLACE),
        )
        found.append(holds.scalar_subquery())
    return found


def kept_at_once(
    experiment_id: int,
    selection: Selection,
    conditions: Sequence[Condition],
    *,
    where: Iterable[ColumnElement[bool]],
) -> Select[Any]:
    """Select place and ``value`` of each candidate that keeps conditions: all rows in one reading.

    For many candidates that is faster than seeks, each at another page of the table. Nothing is
    read unless ``where`` holds, which no row has a part in.
    """
    row, where = observation.alias(), list(where)
    # Named as conditions are, for one of them may be on the metric that is compared.
    compared = (selection.metric, selection.window or None)
    asked = {compared: [row.c.value.is_not(None), row.c.status != "failed"]}
    for name, own in _by_metric(conditions):
        asked.setdefault(name, []).extend(_hold(own, row.c.value))
    named = {name: and_(*_named(row, *name)) for name in asked}
    # SQLite looks at a condition without a column for every row, but seeks no experiment NULL;
    # PostgreSQL looks at it once.
    sought = case((and_(*where), experiment_id)) if where else experiment_id
    return (
        select(*(row.c[part] for part in PLACE))
        .add_columns(func.max(case((named[compared], row.c.value))).label("value"))
        .where(
            row.c.experiment_id == sought,
            or_(*(and_(named[name], *kept) for name, kept in asked.items())),
            *where,
        )
        .group_by(*(row.c[part] for part in PLACE))
        # A candidate has at most one row of each metric.
        .having(func.count() == len(asked))
    )


def _named(row: Any, metric: str | None, window: str | None) -> list[ColumnElement[bool]]:
    return [row.c.metric == metric, row.c.window == (window or "")]


def _by_metric(conditions: Sequence[Condition]) -> list[tuple[_Name, list[Condition]]]:
    """All conditions on a metric together: its bounds may contradict each other."""
    found: dict[_Name, list[Condition]] = {}
    for condition in conditions:
        found.setdefault((condition.metric, condition.window or None), []).append(condition)
    return list(found.items())


def _hold(conditions: Iterable[Condition], value: Any) -> list[ColumnElement[bool]]:
    return [
        value >= item.bound if isinstance(item, AtLeast) else value <= item.bound
        for item in conditions
    ]
