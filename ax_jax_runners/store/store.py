"""A store: one database, one folder of files, and transactions on the former."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.files import FileStore
from ax_jax_runners.store import leases
from ax_jax_runners.store.engine import Engines, is_transient, open_engines, sqlite_file, translate
from ax_jax_runners.store.leases import Lease
from ax_jax_runners.store.posteriors import PosteriorRegistry
from ax_jax_runners.store.schema import ensure_schema

_LOG = logging.getLogger(__name__)

_Result = TypeVar("_Result")

RETRY_SECONDS = 30.0
"""How long a lost connection or a lock conflict is retried before the campaign gives up."""


class Store:
    """Where campaigns live. Make one with `Store.open`.

    Attributes:
        description: The database URL without its password.
        files: The folder of arrays and reports; None for a PostgreSQL store without ``artifacts``.
    """

    def __init__(self, engines: Engines, files: FileStore | None) -> None:
        self._engines = engines
        # One writer at a time in a process: units of work bind Ax's process-wide session factory.
        self._writing = threading.RLock()
        self.files = files

    @classmethod
    def open(cls, url: str, *, artifacts: str | Path | None = None) -> Store:
        """Open a database, creating or upgrading its tables when needed.

        Args:
            url: ``sqlite:///file.db`` (created when missing, its folder not) or
                ``postgresql+psycopg://user@host/database``.
            artifacts: Folder for arrays; default: beside the SQLite file, ``<name>.artifacts``.

        Raises:
            ConfigurationError: The URL cannot be used.
            StoreUnavailable: The database cannot be reached, opened or written.
            SchemaTooNew: A newer version of this package wrote it.
        """
        engines = open_engines(url)
        file = sqlite_file(engines.url)
        if file is not None and not file.parent.is_dir():
            raise ConfigurationError(
                f"Store {engines.description}: folder {str(file.parent)!r} does not exist; "
                "create it, or name another file."
            )
        try:
            ensure_schema(engines)
        except DBAPIError as error:
            engines.dispose()
            raise translate(error, engines.description) from error
        except BaseException:
            engines.dispose()
            raise
        folder = artifacts if artifacts is not None else file and file.with_suffix(".artifacts")
        return cls(engines, None if folder is None else FileStore(Path(folder)))

    @property
    def url(self) -> str:
        """The full database URL, password included: never show it."""
        return self._engines.url.render_as_string(hide_password=False)

    @property
    def description(self) -> str:
        return self._engines.description

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engines.dialect

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read transaction that never takes a write lock.

        Raises:
            StoreUnavailable: The database cannot be read.
        """
        try:
            with self._engines.reader.connect() as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise translate(error, self.description) from error

    @contextmanager
    def unit_of_work(self, lease: Lease | None = None) -> Iterator[Connection]:
        """One write transaction: all of a step, or nothing of it.

        Args:
            lease: The campaign's lease, renewed and checked first and held until the commit.

        Raises:
            LeaseLost: Another process owns the campaign now; nothing was written.
            StoreUnavailable: The database cannot be written (also `StoreReadOnly`, `StoreFull`).
        """
        try:
            with self._begin(lease) as connection:
                yield connection
        except DBAPIError as error:
            raise translate(error, self.description) from error

    def transact(
        self, work: Callable[[Connection], _Result], *, lease: Lease | None = None
    ) -> _Result:
        """Run ``work`` in a unit of work, again when the connection or a lock was lost.

        ``work`` may run more than once, each time on a fresh transaction, so it must not change
        anything but the database.

        Raises:
            LeaseLost: Another process owns the campaign now; nothing was written.
            StoreUnavailable: The database stayed out of reach for `RETRY_SECONDS`.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        pause = 0.1
        while True:
            try:
                with self._begin(lease) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not is_transient(error) or time.monotonic() + pause > deadline:
                    raise translate(error, self.description) from error
                _LOG.warning(
                    "%s Trying again for %.0f s.",
                    translate(error, self.description),
                    deadline - time.monotonic(),
                )
            # Jitter keeps several processes from coming back in step.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(2 * pause, 5.0)

    def artifact_registry(self) -> PosteriorRegistry:
        """The saved posterior estimators of this store, by name and version and by digest."""
        return PosteriorRegistry(self)

    def close(self) -> None:
        """Close every connection."""
        self._engines.dispose()

    @contextmanager
    def _begin(self, lease: Lease | None) -> Iterator[Connection]:
        with self._writing, self._engines.writer.begin() as connection:
            if lease is not None:
                leases.check(connection, lease)
            yield connection
