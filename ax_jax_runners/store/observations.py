"""Exact results: one row per output of an arm, as float64, and the files that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, and_, delete, insert, select

from ax_jax_runners.store.tables import artifact, observation


@dataclass(frozen=True)
class Observation:
    """One output of one arm; a value or sem that is unknown or not finite is None."""

    trial_index: int
    arm_name: str
    metric: str
    value: float | None
    sem: float | None
    status: str
    step: int = 0
    member: int = 0
    window: str = ""


@dataclass(frozen=True)
class ArtifactAddress:
    """Where an array of one arm is: its digest in the store's folder of files."""

    trial_index: int
    arm_name: str
    name: str
    sha256: str
    bytes: int
    kind: str


def write_observations(
    connection: Connection, experiment_id: int, rows: Sequence[Observation]
) -> None:
    """Replace the observations of the trials that ``rows`` name."""
    if not rows:
        return
    trials = {row.trial_index for row in rows}
    connection.execute(
        delete(observation).where(
            and_(
                observation.c.experiment_id == experiment_id,
                observation.c.trial_index.in_(trials),
            )
        )
    )
    connection.execute(
        insert(observation), [{"experiment_id": experiment_id, **vars(row)} for row in rows]
    )


def read_observations(connection: Connection, experiment_id: int) -> Sequence[Row[tuple[object]]]:
    """All observations of an experiment in the order of trials and arms."""
    return connection.execute(
        select(observation)
        .where(observation.c.experiment_id == experiment_id)
        .order_by(observation.c.trial_index, observation.c.id)
    ).all()


def write_artifacts(
    connection: Connection, experiment_id: int, rows: Sequence[ArtifactAddress]
) -> None:
    """Replace the addresses of the trials that ``rows`` name."""
    if not rows:
        return
    trials = {row.trial_index for row in rows}
    connection.execute(
        delete(artifact).where(
            and_(artifact.c.experiment_id == experiment_id, artifact.c.trial_index.in_(trials))
        )
    )
    connection.execute(
        insert(artifact), [{"experiment_id": experiment_id, **asdict(row)} for row in rows]
    )


def read_artifacts(connection: Connection, experiment_id: int) -> list[ArtifactAddress]:
    """All artifact addresses of an experiment."""
    rows = connection.execute(
        select(artifact)
        .where(artifact.c.experiment_id == experiment_id)
        .order_by(artifact.c.trial_index, artifact.c.id)
    )
    return [
        ArtifactAddress(row.trial_index, row.arm_name, row.name, row.sha256, row.bytes, row.kind)
        for row in rows
    ]
