"""Copy one campaign from a store to another: SQLite to PostgreSQL, or any to any.

Rows keep every column but their ids, which the other database gives anew, with all references
between them. Text is copied as text and floats as float64, so nothing is decoded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, insert, or_, select, text
from sqlalchemy.types import TypeDecorator

from ax_jax_runners.errors import CampaignExists, ConfigurationError, LeaseHeld, StoreError
from ax_jax_runners.store import campaigns, leases, tables
from ax_jax_runners.store.ax_tables import portable_metadata
from ax_jax_runners.store.store import Store

Row = dict[str, Any]
Ids = dict[str, dict[int, int]]

_EXPERIMENT = "experiment_v2"
_ARTIFACT = "artifact"
_BY_EXPERIMENT = (tables.observation, tables.artifact, tables.evaluation, tables.attempt)
_IDS_PER_QUERY = 500


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        name: The campaign's name.
        store: The other store's URL without its password.
        trials: Number of trials.
        files: Number of different files.
    """

    name: str
    store: str
    trials: int
    files: int


@dataclass(frozen=True)
class _Snapshot:
    """All rows of one campaign by table name, in the order of their ids."""

    campaign: Row
    ax: dict[str, list[Row]]
    ours: dict[str, list[Row]]

    @property
    def digests(self) -> list[str]:
        return list(dict.fromkeys(row["sha256"] for row in self.ours[_ARTIFACT]))


def copy_campaign(source: Store, target: Store, name: str) -> Copied:
    """Copy a campaign with its experiment, results, files, attempts and events.

    Files go first, then all rows in ONE transaction of the target, so a copy is there as a whole
    or not at all. The lease stays behind, and so do links to other experiments and registered
    posteriors, which belong to the store and not to a campaign. The source is only read.

    Args:
        source: Where the campaign is. No process may be running it.
        target: Another store; the name must be free there.
        name: Name of the campaign.

    Raises:
        CampaignNotFound: The source has no such campaign.
        CampaignExists: The target has a campaign or an Ax experiment of that name.
        LeaseHeld: A live process runs the campaign.
        ConfigurationError: The campaign has files and one of the stores has no folder for them.
        ArtifactCorrupt: A file of the campaign is missing or damaged.
        StoreError: A database cannot be read or written.
    """
    with source.reading() as connection:
        snapshot = _read(connection, name)
    with target.reading() as connection:
        _refuse_taken(connection, target, name)
    _copy_files(source, target, name, snapshot.digests)

    def write(connection: Connection) -> None:
        _refuse_taken(connection, target, name)
        _write(connection, snapshot)

    target.transact(write)
    return Copied(name, target.description, len(snapshot.ax["trial_v2"]), len(snapshot.digests))


def _read(connection: Connection, name: str) -> _Snapshot:
    if connection.dialect.name == "postgresql":
        # SQLite's readers see one state throughout; PostgreSQL's only when asked.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    record = campaigns.load_campaign(connection, name)
    owner = leases.holder(connection, record.id)
    if owner is not None:
        raise LeaseHeld(
            f"Campaign {name!r} is being run by {owner}; stop it with `ax-jax stop {name}` before "
            "it is copied."
        )
    (row,) = _rows(connection, tables.campaign, tables.campaign.c.id == record.id)
    ours = {
        table.name: list(_rows(connection, table, table.c.experiment_id == record.experiment_id))
        for table in _BY_EXPERIMENT
    }
    events = tables.event
    ours[events.name] = list(_rows(connection, events, events.c.campaign_id == record.id))
    return _Snapshot(row, _read_ax(connection, record.experiment_id), ours)


def _read_ax(connection: Connection, experiment_id: int) -> dict[str, list[Row]]:
    """Every row of Ax's tables that belongs to an experiment, however indirectly."""
    experiment = _ax_tables()[_EXPERIMENT]
    found = {_EXPERIMENT: list(_rows(connection, experiment, experiment.c.id == experiment_id))}
    # Selects the ids of the rows of each table that belong to the experiment.
    belonging = {_EXPERIMENT: select(experiment.c.id).where(experiment.c.id == experiment_id)}
    for table in _ax_tables().values():
        upward = [
            column.in_(belonging[parent])
            for column, parent in _references(table)
            if parent != table.name
        ]
        if table.name == _EXPERIMENT or not upward:
            continue
        rows = list(_rows(connection, table, or_(*upward)))
        found[table.name] = _with_children(connection, table, rows)
        belonging[table.name] = select(table.c.id).where(or_(*upward))
    return found


def _with_children(connection: Connection, table: Table, rows: list[Row]) -> list[Row]:
    """The rows, those that refer to them within the same table, and so on, by their ids."""
    known = {row["id"]: row for row in rows}
    inward = [column for column, parent in _references(table) if parent == table.name]
    newest = list(known)
    while inward and newest:
        fresh: dict[int, Row] = {}
        for start in range(0, len(newest), _IDS_PER_QUERY):
            ids = newest[start : start + _IDS_PER_QUERY]
            for row in _rows(connection, table, or_(*(column.in_(ids) for column in inward))):
                if row["id"] not in known:
                    fresh[row["id"]] = row
        known |= fresh
        newest = list(fresh)
    return [known[row_id] for row_id in sorted(known)]


def _write(connection: Connection, snapshot: _Snapshot) -> None:
    ids: Ids = {}
    for name, rows in snapshot.ax.items():
        table = _ax_tables()[name]
        ids[name] = {}
        references = _references(table)
        for wave in _waves(rows, [column.name for column, parent in references if parent == name]):
            _insert_with_ids(connection, table, wave, references, ids)
    (experiment_id,) = ids[_EXPERIMENT].values()
    row = {**snapshot.campaign, "experiment_id": experiment_id, "stop_requested": None}
    del row["id"]
    campaign_id = connection.execute(
        insert(tables.campaign).values(row).returning(tables.campaign.c.id)
    ).scalar_one()
    for name, rows in snapshot.ours.items():
        table = tables.metadata.tables[name]
        key = "experiment_id" if "experiment_id" in table.c else "campaign_id"
        value = experiment_id if key == "experiment_id" else campaign_id
        fresh = [{**row, key: value} for row in rows]
        for row in fresh:
            del row["id"]
        if fresh:
            connection.execute(insert(table), fresh)


def _insert_with_ids(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    references: Sequence[tuple[Column[Any], str]],
    ids: Ids,
) -> None:
    """Insert rows with their references led to the new ids, and note which ids they got."""
    fresh = []
    for row in rows:
        new = {name: value for name, value in row.items() if name != "id"}
        for column, parent in references:
            if new[column.name] is not None:
                new[column.name] = _new_id(ids, parent, new[column.name], table)
        fresh.append(new)
    statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    given = connection.execute(statement, fresh).scalars()
    ids[table.name] |= dict(zip((row["id"] for row in rows), given, strict=True))


def _new_id(ids: Ids, parent: str, old: int, table: Table) -> int:
    try:
        return ids[parent][old]
    except KeyError as error:
        raise StoreError(
            f"A row of {table.name} refers to row {old} of {parent}, which belongs to another "
            "experiment; such an experiment cannot be copied."
        ) from error


def _waves(rows: Sequence[Row], inward: Sequence[str]) -> Iterator[Sequence[Row]]:
    """Rows in groups, each of which refers within its table to earlier groups only."""
    if not inward:
        if rows:
            yield rows
        return
    done: set[int] = set()
    left = list(rows)
    while left:
        ready = [row for row in left if all(row[key] is None or row[key] in done for key in inward)]
        if not ready:
            raise StoreError(
                "Rows of the experiment refer to each other in a circle; it cannot be copied."
            )
        yield ready
        done |= {row["id"] for row in ready}
        left = [row for row in left if row["id"] not in done]


def _refuse_taken(connection: Connection, target: Store, name: str) -> None:
    experiment = _ax_tables()[_EXPERIMENT]
    taken = campaigns.find_campaign(connection, name) is not None
    kind = "campaign" if taken else "Ax experiment"
    if not taken:
        found = select(experiment.c.id).where(experiment.c.name == name).limit(1)
        taken = connection.execute(found).first() is not None
    if taken:
        raise CampaignExists(
            f"{target.description} has a {kind} named {name!r} already; copy to another store, or "
            "remove it there first."
        )


def _copy_files(source: Store, target: Store, name: str, digests: Sequence[str]) -> None:
    if not digests:
        return
    for store, role in ((source, "has"), (target, "would have")):
        if store.files is None:
            raise ConfigurationError(
                f"Campaign {name!r} has {len(digests)} files, and {store.description}, which "
                f"{role} them, was opened without a folder for files; give one "
                f"({'--artifacts' if store is source else '--to-artifacts'} FOLDER)."
            )
    assert source.files is not None and target.files is not None  # noqa: S101, PT018
    for digest in digests:
        target.files.write_bytes(source.files.read_bytes(digest), "npz")


def _rows(connection: Connection, table: Table, condition: Any) -> Iterator[Row]:
    statement = select(table).where(condition).order_by(table.c.id)
    for row in connection.execute(statement).mappings():
        yield dict(row)


@cache
def _ax_tables() -> Mapping[str, Table]:
    """Ax's tables that have ids, parents first, with columns that pass values on untouched."""
    raw = MetaData()
    for table in portable_metadata().sorted_tables:
        for column in table.to_metadata(raw).columns:
            if isinstance(column.type, TypeDecorator):
                column.type = column.type.impl_instance
    return {table.name: table for table in raw.sorted_tables if "id" in table.c}


def _references(table: Table) -> list[tuple[Column[Any], str]]:
    """The columns that hold ids of other rows, and the tables of those."""
    return [(key.parent, key.column.table.name) for key in table.foreign_keys]
