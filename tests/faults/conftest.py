"""A warm process to kill copies of, and campaigns for them to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.zygote import Victims


@pytest.fixture(scope="session")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    with Victims(tmp_path_factory.mktemp("victims") / "output") as started:
        yield started


@pytest.fixture
def bench(victims: Victims, store_url: str, tmp_path: Path) -> Bench:
    """A campaign on a fresh database, once for each kind of database."""
    return Bench(victims, store_url, tmp_path)


@pytest.fixture
def sqlite_bench(victims: Victims, tmp_path: Path) -> Bench:
    return Bench(victims, f"sqlite:///{tmp_path / 'campaigns.db'}", tmp_path)
