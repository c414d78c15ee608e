"""What a selection chooses: its statement is asked, and the answer put into words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from ax_jax_runners.errors import NoFeasibleArm, UnknownMetric
from ax_jax_runners.store.selection import Chosen, Selection, label
from ax_jax_runners.store.selection_statement import statement
from ax_jax_runners.store.tables import observation


def choose(
    connection: Connection, experiment_id: int, selection: Selection
) -> Chosen | tuple[Chosen, ...] | None:
    """Return what a selection chooses among the observations of an experiment.

    Trials that failed or were abandoned are no candidates.

    Args:
        connection: A read transaction.
        experiment_id: Database id of the experiment.
        selection: What to choose.

    Returns:
        One choice; with ``per`` a tuple of them, by trial, arm and set or checkpoint. None or an
        empty tuple where there is none and ``on_empty`` is "none".

    Raises:
        UnknownMetric: A metric, or a window of it, that no observation has.
        NoFeasibleArm: No candidate has a value and keeps the conditions.
    """
    rows = connection.execute(statement(experiment_id, selection)).all()
    if not rows or not all(row.is_kept for row in rows):
        _check_names(connection, experiment_id, selection)
    chosen: dict[tuple[int, str, int, int], dict[str, Any]] = {}
    kept: dict[tuple[int, str, int, int], bool] = {}
    for row in rows:
        place = (row.trial_index, row.arm_name, row.step, row.member)
        chosen.setdefault(place, {})[label(row.metric, row.window)] = row.value
        kept[place] = bool(row.is_kept)
    found = tuple(
        Chosen(*place, metrics, _reason(selection, metrics, kept[place]))
        for place, metrics in chosen.items()
    )
    if not found and selection.on_empty != "none":
        raise NoFeasibleArm(_complaint(selection))
    if selection.per is not None:
        return found
    return found[0] if found else None


def _check_names(connection: Connection, experiment_id: int, selection: Selection) -> None:
    asked = [(item.metric, item.window) for item in selection.conditions]
    if selection.metric is not None:
        asked.insert(0, (selection.metric, selection.window))
    of_experiment = observation.c.experiment_id == experiment_id
    for metric, window in asked:
        of_metric = (observation.c.metric == metric, observation.c.window == (window or ""))
        one = select(observation.c.id).where(of_experiment, *of_metric).limit(1)
        if connection.execute(one).first() is not None:
            continue
        names = select(observation.c.metric, observation.c.window).where(of_experiment).distinct()
        listed = ", ".join(sorted(label(*pair) for pair in connection.execute(names).all()))
        if listed:
            raise UnknownMetric(
                f"No observation has the metric {label(metric, window)!r}; the metrics are "
                f"{listed}."
            )


def _reason(selection: Selection, metrics: dict[str, Any], is_kept: bool) -> str:
    conditions = " and ".join(map(str, selection.conditions))
    text = str(selection)
    if selection.metric is not None:
        text += f", {metrics[label(selection.metric, selection.window)]:g}"
    if conditions and is_kept:
        return f"{text}, where {conditions}"
    if conditions:
        return f"{text}; none keeps {conditions}"
    return text


def _complaint(selection: Selection) -> str:
    if selection.metric is None:
        return "There is no observation to choose from; run trials first."
    conditions = " and ".join(map(str, selection.conditions))
    where = f" and {conditions}" if conditions else ""
    name = label(selection.metric, selection.window)
    return (
        f"No observation has a value of {name}{where}; run more trials, loosen the conditions, or "
        "say what to do with on_empty."
    )
