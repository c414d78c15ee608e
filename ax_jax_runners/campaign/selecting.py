"""Choose among a campaign's observations, by a selection or by the name of one."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy import select as select_rows

from ax_jax_runners.campaign.objectives import read_goals
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.store import Chosen, Selection, Store
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.named_selections import OBJECTIVE, named_selection
from ax_jax_runners.store.selection_query import choose
from ax_jax_runners.store.tables import observation


def select(
    store: Store,
    record: CampaignRecord,
    selection: str | Selection,
    *,
    metric: str | None = None,
    minimum: float = 0.0,
) -> Chosen | tuple[Chosen, ...] | None:
    """Return what a selection chooses; see `Campaign.select`.

    Raises:
        ConfigurationError: There is no selection of that name.
        UnknownMetric: A metric that nothing recorded has.
        NoFeasibleArm: Nothing keeps the conditions, and the selection does not say what then.
    """
    if isinstance(selection, str):
        selection = named_selection(selection, metric=metric, minimum=minimum)
        own = selection if metric is not None else _by_own_objective(selection, record)
    elif not isinstance(selection, Selection):
        raise ConfigurationError(
            f"The selection is a {type(selection).__name__}; give a Selection or the name of one."
        )
    elif metric is not None or minimum:
        raise ConfigurationError(
            "metric and minimum belong to the name of a selection; a Selection has its own."
        )
    else:
        own = selection
    with store.reading() as connection:
        if own is not selection and not _is_recorded(connection, record, own):
            # The objective of an imported history, where there is one.
            own = selection if _is_recorded(connection, record, selection) else own
        return choose(connection, record.experiment_id, own)


def _is_recorded(connection: Connection, record: CampaignRecord, selection: Selection) -> bool:
    row = observation.c
    found = select_rows(row.id).where(
        row.experiment_id == record.experiment_id,
        row.metric == selection.metric,
        row.window == (selection.window or ""),
    )
    return connection.execute(found.limit(1)).first() is not None


def _by_own_objective(selection: Selection, record: CampaignRecord) -> Selection:
    """Put the campaign's objective in the place of a metric that none of its outputs is."""
    stored = record.configuration
    outputs = stored.get("outputs", ())
    if selection.metric != OBJECTIVE or OBJECTIVE in outputs or "objective" not in stored:
        return selection
    goals = read_goals(stored["objective"], stored["outcome_constraints"], outputs)
    if len(goals.objectives) != 1 or len(goals.objectives[0]) != 1:
        raise ConfigurationError(
            f"The objective {stored['objective']!r} of campaign {record.name!r} is not one output; "
            "give a Selection with the metric to choose by."
        )
    ((name, weight),) = goals.objectives[0]
    return replace(selection, metric=name, direction="max" if weight > 0 else "min")
