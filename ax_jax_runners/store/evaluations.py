"""Which evaluations are recorded: ids of completed arms, across all campaigns of a store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, and_, column, delete, insert, select, table

from ax_jax_runners.store.statuses import TRIAL_STATUSES
from ax_jax_runners.store.tables import campaign, evaluation

_IDS_PER_QUERY = 500
_COMPLETED = next(number for number, name in TRIAL_STATUSES.items() if name == "COMPLETED")
_trial = table("trial_v2", *map(column, ("experiment_id", "index", "status", "run_metadata")))


@dataclass(frozen=True)
class Evaluation:
    """A completed arm.

    Attributes:
        trial_index: Index of its trial.
        arm_name: Its name.
        evaluation_id: What decides its result, as `identity.evaluation_id` returns it.
        cached_from: Where its result was taken from, in words; None: it was computed.
    """

    trial_index: int
    arm_name: str
    evaluation_id: str
    cached_from: str | None = None


@dataclass(frozen=True)
class Recorded:
    """A recorded evaluation.

    Attributes:
        source: Where it was computed, in words.
        record: What its runner recorded of the arm, as it stands in the trial's run metadata.
    """

    source: str
    record: Mapping[str, Any]


def write_evaluations(
    connection: Connection, experiment_id: int, rows: Sequence[Evaluation]
) -> None:
    """Replace the evaluations of the trials that ``rows`` name."""
    if not rows:
        return
    trials = {row.trial_index for row in rows}
    connection.execute(
        delete(evaluation).where(
            evaluation.c.experiment_id == experiment_id, evaluation.c.trial_index.in_(trials)
        )
    )
    connection.execute(
        insert(evaluation), [{"experiment_id": experiment_id, **asdict(row)} for row in rows]
    )


def find_evaluations(connection: Connection, ids: Sequence[str]) -> dict[str, Recorded]:
    """Return those of the evaluations that are recorded in completed trials, the first of each."""
    found: dict[str, Recorded] = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        rows = connection.execute(
            select(
                evaluation.c.evaluation_id,
                evaluation.c.trial_index,
                evaluation.c.arm_name,
                evaluation.c.cached_from,
                campaign.c.name,
                _trial.c.run_metadata,
            )
            .join_from(
                evaluation,
                _trial,
                and_(
                    _trial.c.experiment_id == evaluation.c.experiment_id,
                    _trial.c.index == evaluation.c.trial_index,
                ),
            )
            .join(campaign, campaign.c.experiment_id == evaluation.c.experiment_id)
            .where(
                evaluation.c.evaluation_id.in_(ids[start : start + _IDS_PER_QUERY]),
                _trial.c.status == _COMPLETED,
            )
            .order_by(evaluation.c.id)
        )
        for row in rows:
            record = _arm_record(row.run_metadata, row.arm_name)
            if record is not None:
                here = f"campaign {row.name!r}, trial {row.trial_index}, arm {row.arm_name}"
                found.setdefault(row.evaluation_id, Recorded(row.cached_from or here, record))
    return found


def _arm_record(run_metadata: str | None, arm_name: str) -> Mapping[str, Any] | None:
    try:
        record = json.loads(run_metadata or "{}")["ax_jax"]["arms"][arm_name]
    except (ValueError, KeyError, TypeError):
        return None
    return record if isinstance(record, Mapping) else None
