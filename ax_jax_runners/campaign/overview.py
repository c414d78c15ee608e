"""What a store knows of its campaigns, read by SQL alone: no JAX, no Ax, no write lock.

It works while another process runs the campaign.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, column, func, select, table

from ax_jax_runners.campaign.best import Best, best_among
from ax_jax_runners.campaign.objectives import Goals, constrained_further, read_goals
from ax_jax_runners.errors import NoFeasibleArm
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import Store, attempts, campaigns, events, leases
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.events import Event
from ax_jax_runners.store.statuses import status_name, trial
from ax_jax_runners.store.tables import attempt, observation

_FAILED, _COMPLETED, _RUNNING, _ABANDONED = 2, 3, 4, 5
_WAITING = {"CANDIDATE", "STAGED"}

_run = table("generator_run_v2", *map(column, ("id", "trial_id")))
_arm = table("arm_v2", *map(column, ("generator_run_id", "name", "parameters")))


@dataclass(frozen=True)
class Overview:
    """The state of one campaign.

    Attributes:
        state: ``created``, ``running``, ``stopped``, ``complete``, ``failed``, or ``interrupted``
            where the process that ran it is gone.
        owner: The live process that runs it.
        stop_requested: Whether it was asked to stop and has not ended yet.
        total_trials: How many trials it aims at; None where it was never run.
        counts: Number of trials by the name of their Ax status.
        best: The best feasible arm, the Pareto front, or None where there is none yet.
        best_score: The objective's value at the best arm of a single objective.
        failures: Index and sentence of the failed and abandoned trials, latest first.
        repeated: Number of runs beyond the first by trial index.
        running: Number of the attempt under way by the index of each running trial.
        happenings: The latest events, oldest first.
    """

    name: str
    state: str
    owner: str | None
    stop_requested: bool
    objective: str | None
    outcome_constraints: tuple[str, ...]
    total_trials: int | None
    counts: Mapping[str, int]
    best: Best | tuple[Best, ...] | None
    best_score: float | None
    failures: tuple[tuple[int, str], ...]
    repeated: Mapping[int, int]
    running: Mapping[int, int]
    happenings: tuple[Event, ...]

    @property
    def begun(self) -> int:
        """Trials that are past waiting; these count towards the total."""
        return sum(n for status, n in self.counts.items() if status not in _WAITING)


def read_overview(store: Store, name: str) -> Overview:
    """The state of one campaign.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        StoreError: The database cannot be read.
    """
    with store.reading() as connection:
        return _overview(connection, campaigns.load_campaign(connection, name))


def read_overviews(store: Store) -> list[Overview]:
    """The state of every campaign, oldest first.

    Raises:
        StoreError: The database cannot be read.
    """
    with store.reading() as connection:
        return [_overview(connection, found) for found in campaigns.list_campaigns(connection)]


def read_best(
    store: Store, name: str, *, subject_to: Sequence[str] = ()
) -> Best | tuple[Best, ...]:
    """The best feasible arm of a campaign; the Pareto front for several objectives.

    Args:
        store: Where it is.
        name: Its name.
        subject_to: Linear inequalities of outputs that must hold beside the campaign's own.

    Raises:
        CampaignNotFound: There is no campaign of that name.
        ConfigurationError: A condition that cannot be read, or names no output.
        NoFeasibleArm: No arm is complete, or none keeps the outcome constraints.
        StoreError: The database cannot be read.
    """
    with store.reading() as connection:
        return _best(connection, campaigns.load_campaign(connection, name), subject_to)


def state_of(record: CampaignRecord, owner: Owner | None) -> str:
    """A campaign's state; one that runs by its row and has no live owner is ``interrupted``."""
    return "interrupted" if record.state == "running" and owner is None else record.state


def _overview(connection: Connection, record: CampaignRecord) -> Overview:
    owner = leases.holder(connection, record.id)
    best, score = None, None
    try:
        best = _best(connection, record)
    except NoFeasibleArm:
        pass
    if isinstance(best, Best):
        (score,) = _goals(record).scores(best.outputs)
    return Overview(
        name=record.name,
        state=state_of(record, owner),
        owner=None if owner is None else str(owner),
        stop_requested=record.stop_requested and owner is not None,
        objective=record.configuration.get("objective"),
        outcome_constraints=tuple(record.configuration.get("outcome_constraints", ())),
        total_trials=record.total_trials,
        counts=_counts(connection, record.experiment_id),
        best=best,
        best_score=score,
        failures=_failures(connection, record.experiment_id),
        repeated=_repeated(connection, record.experiment_id),
        running=_running(connection, record.experiment_id),
        happenings=tuple(events.read_events(connection, record.id, limit=10)),
    )


def _counts(connection: Connection, experiment_id: int) -> dict[str, int]:
    rows = connection.execute(
        select(trial.c.status, func.count())
        .where(trial.c.experiment_id == experiment_id)
        .group_by(trial.c.status)
        .order_by(trial.c.status)
    )
    return {status_name(status): number for status, number in rows}


def _failures(connection: Connection, experiment_id: int) -> tuple[tuple[int, str], ...]:
    rows = connection.execute(
        select(trial.c.index, trial.c.failed_reason, trial.c.abandoned_reason)
        .where(trial.c.experiment_id == experiment_id, trial.c.status.in_((_FAILED, _ABANDONED)))
        .order_by(trial.c.index.desc())
    )
    return tuple((index, first or second or "no reason recorded") for index, first, second in rows)


def _repeated(connection: Connection, experiment_id: int) -> dict[int, int]:
    rows = connection.execute(
        select(attempt.c.trial_index, func.max(attempt.c.attempt))
        .where(attempt.c.experiment_id == experiment_id, attempt.c.attempt > 1)
        .group_by(attempt.c.trial_index)
        .order_by(attempt.c.trial_index)
    )
    return {index: last - 1 for index, last in rows}


def _running(connection: Connection, experiment_id: int) -> dict[int, int]:
    indices = connection.scalars(
        select(trial.c.index)
        .where(trial.c.experiment_id == experiment_id, trial.c.status == _RUNNING)
        .order_by(trial.c.index)
    ).all()
    numbers = attempts.latest(connection, experiment_id, indices)
    return {index: numbers.get(index, 1) for index in indices}


def _goals(record: CampaignRecord) -> Goals:
    stored = record.configuration
    if "objective" not in stored:
        raise NoFeasibleArm(
            f"Campaign {record.name!r} was made by a Scheduler of its own and has no stored "
            "objective; ask its Ax experiment."
        )
    return read_goals(stored["objective"], stored["outcome_constraints"], stored["outputs"])


def _best(
    connection: Connection, record: CampaignRecord, subject_to: Sequence[str] = ()
) -> Best | tuple[Best, ...]:
    goals = _goals(record)
    goals = constrained_further(goals, subject_to, record.configuration.get("outputs", ()))
    observed = _observed(connection, record.experiment_id, goals)
    best = best_among(observed, goals, name=record.name)
    chosen = _with_parameters(
        connection, record.experiment_id, best if isinstance(best, tuple) else (best,)
    )
    return chosen if isinstance(best, tuple) else chosen[0]


def _observed(connection: Connection, experiment_id: int, goals: Goals) -> list[Best]:
    """Completed arms with every output that the goals need, without their parameters."""
    rows = connection.execute(
        select(
            observation.c.trial_index,
            observation.c.arm_name,
            observation.c.metric,
            observation.c.value,
        )
        .join_from(
            observation,
            trial,
            and_(
                trial.c.experiment_id == observation.c.experiment_id,
                trial.c.index == observation.c.trial_index,
            ),
        )
        .where(
            observation.c.experiment_id == experiment_id,
            observation.c.member == 0,
            observation.c.window == "",
            # Earlier points of curves are those of an arm that was running.
            observation.c.status.not_in(("failed", "running")),
            observation.c.value.is_not(None),
            trial.c.status == _COMPLETED,
        )
        .order_by(observation.c.trial_index, observation.c.id)
    )
    arms: dict[tuple[int, str], dict[str, float]] = {}
    for index, arm_name, metric, value in rows:
        arms.setdefault((index, arm_name), {})[metric] = value
    return [
        Best({}, outputs, index, arm_name)
        for (index, arm_name), outputs in arms.items()
        if all(name in outputs for name in goals.outputs)
    ]


def _with_parameters(
    connection: Connection, experiment_id: int, arms: Iterable[Best]
) -> tuple[Best, ...]:
    arms = tuple(arms)
    rows = connection.execute(
        select(trial.c.index, _arm.c.name, _arm.c.parameters)
        .join_from(trial, _run, _run.c.trial_id == trial.c.id)
        .join(_arm, _arm.c.generator_run_id == _run.c.id)
        .where(
            trial.c.experiment_id == experiment_id,
            trial.c.index.in_({arm.trial_index for arm in arms}),
        )
    )
    parameters: dict[tuple[int, str], dict[str, Any]] = {
        (index, name): json.loads(text) for index, name, text in rows
    }
    return tuple(
        Best(parameters[arm.trial_index, arm.arm_name], arm.outputs, arm.trial_index, arm.arm_name)
        for arm in arms
    )
