"""Database engines: one for units of work, one for reads, and the errors a database can give.

SQLite needs ``isolation_level=None`` and an explicit BEGIN, or an outer transaction protects
nothing; writers take the lock at once (BEGIN IMMEDIATE), readers never do (plain BEGIN).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ax_jax_runners.errors import (
    ConfigurationError,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

BUSY_SECONDS = 30.0
"""How long a writer waits for another writer's transaction."""

_BUSY_MILLISECONDS = int(BUSY_SECONDS * 1000)
_DISK_FULL_STATES = {"53100", "53000"}
_READ_ONLY_STATES = {"25006"}


@dataclass(frozen=True)
class Engines:
    """The two engines of one database."""

    url: URL
    writer: Engine
    reader: Engine

    @property
    def dialect(self) -> str:
        return self.writer.dialect.name

    @property
    def description(self) -> str:
        """The URL with its password hidden, for messages."""
        return self.url.render_as_string(hide_password=True)

    def dispose(self) -> None:
        self.writer.dispose()
        self.reader.dispose()


def open_engines(url: str) -> Engines:
    """Make the engines for a database URL; nothing is connected yet.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql+psycopg://user@host/database``.

    Raises:
        ConfigurationError: The URL is malformed, names an in-memory database or another dialect.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return Engines(parsed, _sqlite_engine(parsed, "IMMEDIATE"), _sqlite_engine(parsed, ""))
    return Engines(parsed, _postgresql_engine(parsed), _postgresql_engine(parsed))


def sqlite_file(url: URL) -> Path | None:
    """The file behind a SQLite URL, else None."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def translate(error: DBAPIError, description: str) -> StoreError:
    """Turn a driver's error into one sentence of ours."""
    text = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    state = getattr(error.orig, "sqlstate", None)
    lower = text.lower()
    if state in _DISK_FULL_STATES or "disk is full" in lower or "no space left" in lower:
        return StoreFull(
            f"Database {description}: {text}. Free space or raise the limit, then resume; "
            "everything committed so far is intact."
        )
    if state in _READ_ONLY_STATES or "readonly" in lower or "read-only" in lower:
        return StoreReadOnly(
            f"Database {description}: {text}. Give this user write access to the file and its "
            "folder, or choose another store."
        )
    if "locked" in lower:
        return StoreUnavailable(
            f"Database {description}: still locked by another process after {BUSY_SECONDS:.0f} s; "
            "end the other writer and try again."
        )
    return StoreUnavailable(
        f"Database {description}: {text}. Check that it exists, is reachable and is a database."
    )


def is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when tried again."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state[:2] in {"08", "57"} or state in {"40001", "40P01", "55P03"}
    return "connection" in str(error.orig).lower() and "unable to open" not in str(error.orig)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            f"Store {url!r} is not a database URL; write sqlite:///file.db or "
            "postgresql+psycopg://user@host/database."
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigurationError(
                f"Store {url!r} is an in-memory database, which keeps nothing; name a file: "
                "sqlite:///campaigns.db."
            )
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"Store {url!r}: {backend} is not supported; use sqlite:///file.db or "
        "postgresql+psycopg://user@host/database."
    )


def _sqlite_engine(url: URL, begin: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={
            "isolation_level": None,
            "timeout": BUSY_SECONDS,
            "check_same_thread": False,
        },
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(f"BEGIN {begin}".strip())

    return engine


def _postgresql_engine(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 10,
                "options": f"-c lock_timeout={_BUSY_MILLISECONDS} -c statement_timeout=120000",
            },
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "PostgreSQL needs psycopg: pip install 'ax-jax-runners[postgres]'."
        ) from error
