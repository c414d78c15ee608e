"""Runners and tasks that the contract suites combine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.cases import TASKS
from tests.contract.combining import RUNNERS, RunnerCase

# They start interpreters for every test.
_SLOW = {"Worker", "Worker with Dask"}
_NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in _SLOW)) for name in RUNNERS]


@pytest.fixture(params=_NAMES)
def runners_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=TASKS)
def runners_case(request: pytest.FixtureRequest, runners_name: str) -> Iterator[RunnerCase]:
    case = RunnerCase(runners_name, TASKS[request.param])
    yield case
    case.close()


@pytest.fixture
def runners_long_case(runners_name: str) -> Iterator[RunnerCase]:
    case = RunnerCase(runners_name, TASKS["long"])
    yield case
    case.close()
