"""A selection as ONE SQL statement over the observation table, the same on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    Subquery,
    and_,
    exists,
    func,
    literal,
    select,
    union_all,
)

from ax_jax_runners.store.selection import Condition, Selection
from ax_jax_runners.store.selection_conditions import (
    PLACE,
    each_holds_somewhere,
    kept_at_once,
    kept_one_by_one,
    of_metric,
)
from ax_jax_runners.store.statuses import TRIAL_STATUSES, trial
from ax_jax_runners.store.tables import observation

_DISREGARDED = [
    number for number, name in TRIAL_STATUSES.items() if name in ("FAILED", "ABANDONED")
]
_SET = ("trial_index", "arm_name", "member")
_CHECKPOINT = ("trial_index", "arm_name", "step")
_PARTS = {"set": _SET, "checkpoint": _CHECKPOINT}
#: How many candidates, the best first, are looked at one by one before all of them are read.
NEAREST = 4_000


def statement(experiment_id: int, selection: Selection) -> Select:
    """Return the statement: a row for each metric of each choice, choices in their order."""
    if selection.metric is None:
        chosen = _last_checkpoint(experiment_id)
    elif selection.conditions and selection.on_empty == "ignore_constraints":
        strict = _best(experiment_id, selection, selection.conditions).cte("strict")
        loose = _best(experiment_id, selection, ()).cte("loose")
        same = [strict.c[name] == loose.c[name] for name in _PARTS.get(selection.per or "", ())]
        answered = exists(select(literal(1)).select_from(strict).where(*same).correlate(loose))
        chosen = union_all(
            select(*(strict.c[name] for name in PLACE), literal(1).label("is_kept")),
            select(*(loose.c[name] for name in PLACE), literal(0)).where(~answered),
        ).cte("chosen")
    else:
        best = _best(experiment_id, selection, selection.conditions).subquery("best")
        chosen = select(best, literal(1).label("is_kept")).cte("chosen")
    # PostgreSQL would put the choice into the join, and choose again for each row that is joined.
    chosen = chosen.prefix_with("MATERIALIZED", dialect="postgresql")
    of = observation.alias("of_chosen")
    return (
        select(
            *(chosen.c[name] for name in PLACE),
            chosen.c.is_kept,
            of.c.metric,
            of.c.window,
            of.c.value,
        )
        .join_from(chosen, of, and_(*(of.c[name] == chosen.c[name] for name in PLACE)))
        .where(of.c.experiment_id == experiment_id)
        .order_by(chosen.c.trial_index, chosen.c.step, chosen.c.member, of.c.id)
    )


def _best(experiment_id: int, selection: Selection, conditions: Sequence[Condition]) -> Select:
    """Select the places of the best candidates."""
    if conditions and selection.per is None and not selection.last:
        return _nearest_or_any(experiment_id, selection, conditions)
    somewhere = each_holds_somewhere(experiment_id, conditions)
    if selection.last:
        row: Any = _at_last_steps(experiment_id, selection)
        kept = kept_one_by_one(experiment_id, row, conditions)
        candidates = _places(row).where(row.c.value.is_not(None), *somewhere, *kept)
    elif not conditions:
        row = observation.alias()
        candidates = _of_value(experiment_id, selection, row)
    else:
        row = kept_at_once(experiment_id, selection, conditions, where=somewhere).subquery("kept")
        candidates = _places(row)
    candidates = candidates.where(*_regarded(experiment_id, row.c.trial_index))
    best = candidates.order_by(*_order(row, selection)).limit(1)
    if selection.per is None:
        return best
    if selection.per == "set" and not selection.last and not conditions:
        return _best_of_sets(experiment_id, selection, best, row)
    parts = [row.c[name] for name in _PARTS[selection.per]]
    rank = func.row_number().over(partition_by=parts, order_by=_order(row, selection))
    ranked = candidates.add_columns(rank.label("rank")).subquery("ranked")
    return _places(ranked).where(ranked.c.rank == 1)


def _nearest_or_any(
    experiment_id: int, selection: Selection, conditions: Sequence[Condition]
) -> Select:
    """Select the best place that keeps conditions: among the best by value, or else among all."""
    somewhere = each_holds_somewhere(experiment_id, conditions)
    row = observation.alias()
    regarded = _regarded(experiment_id, row.c.trial_index)
    best = _of_value(experiment_id, selection, row).add_columns(row.c.value).where(*regarded)
    near = best.where(*somewhere).order_by(*_order(row, selection)).limit(NEAREST).subquery("near")
    kept = _places(near).where(*kept_one_by_one(experiment_id, near, conditions))
    nearest = kept.order_by(*_order(near, selection)).limit(1).cte("nearest")
    # In the innermost query, so that nothing is read where one was near.
    none_near = ~exists(select(literal(1)).select_from(nearest))
    every = kept_at_once(experiment_id, selection, conditions, where=[none_near, *somewhere])
    far = every.subquery("far")
    farther = _places(far).where(*_regarded(experiment_id, far.c.trial_index))
    rest = farther.order_by(*_order(far, selection)).limit(1).subquery("rest")
    return select(*_places(nearest).union_all(_places(rest)).subquery("either").c)


def _places(row: Any) -> Select:
    return select(*(row.c[name] for name in PLACE))


def _of_value(experiment_id: int, selection: Selection, row: Any) -> Select:
    """Select places with a value of the metric."""
    return _places(row).where(
        row.c.value.is_not(None),
        *of_metric(experiment_id, row, selection.metric, selection.window),
        # No index holds it, so that no index but the one in the order of values looks tempting.
        row.c.status != "failed",
    )


def _best_of_sets(experiment_id: int, selection: Selection, best: Select, row: Any) -> Select:
    """Select the best place of each set: a seek for each, by an index."""
    sets = _sets(experiment_id, selection)
    step = (
        best.with_only_columns(row.c.step)
        .where(*(row.c[name] == sets.c[name] for name in _SET))
        .correlate(sets)
        .scalar_subquery()
    )
    found = select(*(sets.c[name] for name in _SET), step.label("step")).subquery()
    return select(*(found.c[name] for name in PLACE)).where(found.c.step.is_not(None))


def _sets(experiment_id: int, selection: Selection) -> Subquery:
    """Select every member of every arm that has the metric."""
    row = observation.alias()
    return (
        select(*(row.c[name] for name in _SET))
        .where(*of_metric(experiment_id, row, selection.metric, selection.window))
        .distinct()
        .subquery("sets")
    )


def _at_last_steps(experiment_id: int, selection: Selection) -> Subquery:
    """Select place and value of every set at the last step of its arm, whatever was told there."""
    sets, other, at_last = _sets(experiment_id, selection), observation.alias(), observation.alias()
    step = (
        select(func.max(other.c.step))
        .where(
            other.c.experiment_id == experiment_id,
            other.c.trial_index == sets.c.trial_index,
            other.c.arm_name == sets.c.arm_name,
        )
        .scalar_subquery()
    )
    places = select(*(sets.c[name] for name in _SET), step.label("step")).subquery("places")
    value = (
        select(at_last.c.value)
        .where(
            *of_metric(experiment_id, at_last, selection.metric, selection.window),
            *(at_last.c[name] == places.c[name] for name in PLACE),
        )
        .scalar_subquery()
    )
    return select(*(places.c[name] for name in PLACE), value.label("value")).subquery("at_last")


def _order(row: Any, selection: Selection) -> list[ColumnElement[Any]]:
    # Databases sort texts in their own ways; Ax's names of arms are numbers.
    arm = (func.length(row.c.arm_name), row.c.arm_name)
    keys = [row.c.trial_index, row.c.step, row.c.member, *arm]
    ordered = keys if selection.ties == "earliest" else [key.desc() for key in keys]
    best = row.c.value.desc() if selection.direction == "max" else row.c.value.asc()
    return [best, *ordered]


def _last_checkpoint(experiment_id: int) -> CTE:
    """Select the first member at the last step of the last trial."""
    row, other = observation.alias(), observation.alias()
    # One seek for each trial and arm, where DISTINCT and ORDER BY would read every row.
    of_experiment = row.c.experiment_id == experiment_id
    newest = select(func.max(row.c.trial_index).label("trial_index")).where(of_experiment)
    trials = newest.cte("trials", recursive=True)
    before = select(func.max(row.c.trial_index)).where(
        of_experiment, row.c.trial_index < trials.c.trial_index
    )
    trials = trials.union_all(
        select(before.correlate(trials).scalar_subquery()).where(trials.c.trial_index.is_not(None))
    )
    last_trial = (
        select(func.max(trials.c.trial_index))
        .where(*_regarded(experiment_id, trials.c.trial_index))
        .scalar_subquery()
    )
    here = (other.c.experiment_id == experiment_id, other.c.trial_index == last_trial)
    arms = (
        select(func.min(other.c.arm_name).label("arm_name"))
        .where(*here)
        .cte("arms", recursive=True)
    )
    following = select(func.min(other.c.arm_name)).where(*here, other.c.arm_name > arms.c.arm_name)
    arms = arms.union_all(
        select(following.correlate(arms).scalar_subquery()).where(arms.c.arm_name.is_not(None))
    )
    step = select(func.max(other.c.step)).where(*here, other.c.arm_name == arms.c.arm_name)
    ends = (
        select(
            last_trial.label("trial_index"),
            arms.c.arm_name,
            step.correlate(arms).scalar_subquery().label("step"),
        )
        .where(arms.c.arm_name.is_not(None))
        .subquery("ends")
    )
    member = select(func.min(other.c.member)).where(
        *here, other.c.arm_name == ends.c.arm_name, other.c.step == ends.c.step
    )
    return (
        select(
            ends.c.trial_index,
            ends.c.arm_name,
            ends.c.step,
            member.correlate(ends).scalar_subquery().label("member"),
            literal(1).label("is_kept"),
        )
        .order_by(ends.c.step.desc(), func.length(ends.c.arm_name), ends.c.arm_name)
        .limit(1)
        .cte("chosen")
    )


def _regarded(experiment_id: int, trial_index: Any) -> list[ColumnElement[bool]]:
    disregarded = select(trial.c.index).where(
        trial.c.experiment_id == experiment_id, trial.c.status.in_(_DISREGARDED)
    )
    return [trial_index.not_in(disregarded)]
