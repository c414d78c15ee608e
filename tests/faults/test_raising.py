"""Evaluations that raise whatever there is, or find no memory: their own trials fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pytest
from ax.core.trial_status import TrialStatus
from sqlalchemy import NullPool, create_engine, text

from ax_jax_runners import Campaign, JaxRunner, Store
from tests.faults.simulators import SPACE, LoggedTask, read_evaluations


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing can be said")


ERRORS: tuple[tuple[BaseException, str], ...] = (
    (SystemExit(3), "SystemExit: 3"),
    (Unpicklable("local"), "Unpicklable: local"),
    (RuntimeError("x" * 1_000_000 + "\0"), "more bytes"),
    (Speechless(), "its message cannot be shown"),
    (ValueError("half a pair \ud800, a \0, '; DROP TABLE trial_v2; --"), "half a pair ?"),
    (ExceptionGroup("several", [OSError(5, "gone"), KeyError("x")]), "several (2 sub-exceptions)"),
    (RecursionError("too deep"), "RecursionError: too deep"),
)
OUT_OF_MEMORY: tuple[tuple[BaseException, str], ...] = (
    (
        jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 10995116277 bytes"
        ),
        "RESOURCE_EXHAUSTED: Out of memory allocating 10995116277 bytes",
    ),
    (MemoryError("Unable to allocate 8. TiB"), "MemoryError: Unable to allocate 8. TiB"),
)


@dataclass(frozen=True)
class RaisingTask(LoggedTask):
    """Arms raise by their order: the first error that of order 1, and so on; others are good.

    Attributes:
        memory: Whether memory is what is missing.
        room: Most arms that fit into memory together.
    """

    memory: bool = False
    room: int = 100

    def advance(self, state: Any) -> Any:
        errors = OUT_OF_MEMORY if self.memory else ERRORS
        if len(state["arms"]) > self.room:
            raise OUT_OF_MEMORY[0][0]
        for theta in state["arms"]:
            order = int(SPACE.unpack(theta)["order"])
            if order <= len(errors):
                raise errors[order - 1][0]
        return super().advance(state)


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def run_orders(store: Store, task: RaisingTask) -> Campaign:
    """Run arms of order 1 to 9 in one batch, and three more."""
    campaign = Campaign(
        "bench",
        runner=JaxRunner(task),
        objective="-cost",
        store=store,
        generation="sobol",
        batch_size=9,
    )
    for order in range(1, 10):
        campaign.attach({"gain": 1.0 + order / 10, "decay": 0.1, "order": order})
    return campaign.run(12)


def stored_reasons(url: str) -> dict[int, str | None]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        rows = connection.execute(text('SELECT "index", failed_reason FROM trial_v2'))
        return {index: reason for index, reason in rows}


def check(campaign: Campaign, errors: tuple[tuple[BaseException, str], ...]) -> None:
    loaded = Campaign.load("bench", store=campaign.store)
    reasons = stored_reasons(campaign.store.url)
    for index, trial in campaign.experiment.trials.items():
        order = trial.arms[0].parameters["order"]
        if order > len(errors):
            assert trial.status is TrialStatus.COMPLETED
            continue
        expected = errors[order - 1][1]
        assert trial.status is loaded.experiment.trials[index].status is TrialStatus.FAILED
        sentence = loaded.experiment.trials[index].status_reason or ""
        assert expected in sentence
        assert sentence == reasons[index] == trial.status_reason
        assert len(sentence.encode()) <= 10_000
    statuses = [t.status for t in loaded.experiment.trials.values()]
    assert statuses[: len(errors)] == [TrialStatus.FAILED] * len(errors)
    assert statuses.count(TrialStatus.COMPLETED) >= 9 - len(errors)
    assert loaded.to_frame().equals(campaign.to_frame())


@pytest.mark.fault(5)
def test_whatever_is_raised_fails_its_own_trial(store: Store, tmp_path: Path) -> None:
    task = RaisingTask(str(tmp_path / "evaluations"))
    campaign = run_orders(store, task)
    check(campaign, ERRORS)
    # Finding the arm that is to blame evaluates none of the others twice.
    arms = [arm for _, arm in read_evaluations(tmp_path / "evaluations")]
    assert len(arms) == len(set(arms))


@pytest.mark.fault(6)
def test_an_arm_without_memory_fails_alone(store: Store, tmp_path: Path) -> None:
    task = RaisingTask(str(tmp_path / "evaluations"), memory=True)
    check(run_orders(store, task), OUT_OF_MEMORY)


@pytest.mark.fault(6)
def test_a_batch_that_is_too_large_is_done_in_smaller_ones(store: Store, tmp_path: Path) -> None:
    task = RaisingTask(str(tmp_path / "evaluations"), memory=True, room=4)
    check(run_orders(store, task), OUT_OF_MEMORY)
