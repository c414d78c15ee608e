"""Bring a database to the schema that this version needs, in one transaction."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ax_jax_runners.errors import SchemaTooNew
from ax_jax_runners.store.engine import Engines

VERSION_TABLE = "axjax_version"
_ADVISORY_LOCK = 0x6178_6A61
"""Key of the PostgreSQL lock that lets one process at a time create the schema ("axja")."""


def ensure_schema(engines: Engines) -> None:
    """Create or upgrade Ax's tables and ours; a database that is up to date is only read.

    Raises:
        SchemaTooNew: The database was written by a newer version of this package.
    """
    with engines.reader.connect() as connection:
        if current_version(connection) == newest_version():
            return
    with engines.writer.begin() as connection:
        if engines.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        upgrade(connection)


def current_version(connection: Connection) -> str | None:
    """The schema version in the database; None when it has none of our tables.

    Raises:
        SchemaTooNew: The version is not one that this package knows.
    """
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    found = context.get_current_revision()
    if found is not None and found not in _known_versions():
        raise SchemaTooNew(
            f"The database has schema version {found}; this package knows versions up to "
            f"{newest_version()}. Upgrade ax-jax-runners, or choose another database."
        )
    return found


def newest_version() -> str:
    """The schema version that this package writes."""
    (head,) = _scripts().get_heads()
    return head


def upgrade(connection: Connection) -> None:
    """Run everything that is missing on this connection's transaction."""
    # Ax takes seconds to import, and a database that is up to date does not need it.
    from ax_jax_runners.store.ax_tables import create_ax_tables

    current_version(connection)
    create_ax_tables(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_writable(engines: Engines) -> bool:
    """Whether a write transaction can begin and write."""
    try:
        with engines.writer.connect() as connection:
            transaction = connection.begin()
            connection.execute(text("CREATE TABLE axjax_probe (id INTEGER)"))
            transaction.rollback()
    except DBAPIError:
        return False
    return True


@cache
def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


@cache
def _known_versions() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())
