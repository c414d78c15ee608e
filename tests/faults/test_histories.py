"""Random histories of a campaign against a model of it in memory."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import event, select, text

from ax_jax_runners import Campaign, JaxRunner, Parameter, ParameterSpace, Store
from ax_jax_runners.campaign.leasing import take_lease
from ax_jax_runners.errors import CampaignError, ConfigurationError, LeaseLost
from ax_jax_runners.store import events
from ax_jax_runners.store.tables import campaign as campaign_table
from ax_jax_runners.tasks import Progress

SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])
STEEP = 0.75
BATCH = 2
NUMBERS = itertools.count()


class PowerCut(BaseException):
    """The end of a process, without a farewell."""


def cost(x: float) -> float:
    return math.sin(9.0 * x) + x


@dataclass(frozen=True)
class SteepTask:
    """A cheap number; arms that are too steep fail."""

    space: ParameterSpace = SPACE
    outputs: tuple[str, ...] = ("cost",)

    def begin(self, arms: Any, keys: Any) -> Any:
        return np.array([arm["x"] for arm in arms])

    def advance(self, state: Any) -> Any:
        for ask in BEFORE_AN_EVALUATION:
            ask()
        return state

    def progress(self, state: Any) -> list[Progress]:
        return [
            Progress(1, True, {}, failure=f"{x} is too steep")
            if x > STEEP
            else Progress(1, True, {"cost": (cost(x), 0.0)})
            for x in state.tolist()
        ]


BEFORE_AN_EVALUATION: list[Callable[[], None]] = []


class Process:
    """What one process has of a campaign, until it is cut off."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self.store = Store.open(url, artifacts=folder)
        self._left: dict[str, int] = {}
        self._is_dead = False
        for engine in (self.store._engines.writer, self.store._engines.reader):
            event.listen(engine, "before_cursor_execute", lambda *_: self.reach("statement"))
        self.campaign = Campaign(
            name,
            runner=JaxRunner(SteepTask(), directory=folder),
            objective="-cost",
            store=self.store,
            generation="sobol",
            batch_size=BATCH,
        )

    def reach(self, what: str) -> None:
        """Come to a moment at which the power may go; when it is gone nothing works any more."""
        if threading.current_thread() is not threading.main_thread():
            return
        if what in self._left:
            self._left[what] -= 1
            self._is_dead |= self._left[what] < 0
        if self._is_dead:
            raise PowerCut

    def run(self, total: int, *, cut_after: dict[str, int] | None = None) -> bool:
        """Run; False when the power went, or too many trials failed."""
        self._left = dict(cut_after or {})
        BEFORE_AN_EVALUATION[:] = [lambda: self.reach("evaluation")]
        try:
            self.campaign.run(total, progress=False)
        except PowerCut:
            return False
        except CampaignError:
            # More than nine in ten failed.
            return False
        finally:
            self._left = {}
        return True


class Histories(RuleBasedStateMachine):
    """One campaign, worked on by processes that come and go."""

    url: ClassVar[str]
    folder: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.name = f"history {next(NUMBERS)}"
        self.processes: list[Process] = []
        self.xs: list[float] = []
        self.results: dict[int, float | None] = {}
        self.told: set[int] = set()
        self.start()

    def start(self) -> None:
        """A new process takes the campaign up; nobody says goodbye to the one before."""
        self.process = Process(self.url, self.folder, self.name)
        self.processes.append(self.process)
        self.experiment_id = self.process.campaign.record.experiment_id

    def teardown(self) -> None:
        for process in self.processes:
            process.store.close()

    @property
    def campaign(self) -> Campaign:
        return self.process.campaign

    @rule(percent=st.integers(0, 100))
    def ask(self, percent: int) -> None:
        index = self.campaign.attach({"x": percent / 100})
        assert index == len(self.xs)
        self.xs.append(percent / 100)

    @rule(percent=st.integers(0, 100), value=st.floats(-1e6, 1e6))
    def tell(self, percent: int, value: float) -> None:
        index = self.campaign.attach({"x": percent / 100}, {"cost": value})
        assert index == len(self.xs)
        self.xs.append(percent / 100)
        self.results[index] = value
        self.told.add(index)

    @rule(value=st.sampled_from([math.nan, math.inf, -math.inf, "3", None, 1j]))
    def tell_what_is_no_number(self, value: Any) -> None:
        with pytest.raises(ConfigurationError):
            self.campaign.attach({"x": 0.5}, {"cost": value})

    @rule(more=st.integers(0, 4))
    def run(self, more: int) -> None:
        total, waiting = len(self.results) + more, len(self.xs) - len(self.results)
        if total and self.process.run(total):
            self.look()
            # A whole batch of arms that wait is begun where some of it is due.
            surplus = BATCH - 1 if waiting and more else 0
            assert total <= len(self.results) <= total + surplus
        self.look()

    @rule()
    def run_failed_ones_again(self) -> None:
        BEFORE_AN_EVALUATION.clear()
        # Where more than nine in ten fail, the campaign says so.
        with contextlib.suppress(CampaignError):
            self.campaign.retry_failed(progress=False)
        self.look()

    @rule(
        more=st.integers(1, 4),
        what=st.sampled_from(["evaluation", "statement"]),
        after=st.integers(0, 40),
    )
    def crash(self, more: int, what: str, after: int) -> None:
        after = after % 3 if what == "evaluation" else after
        self.process.run(len(self.results) + more, cut_after={what: after})
        self.start()
        self.look()

    @rule()
    def restart(self) -> None:
        self.process.store.close()
        self.start()

    @rule(percent=st.integers(0, 100))
    def another_process_takes_over_and_back(self, percent: int) -> None:
        first = self.process
        self.start()
        self.ask(percent)
        self.process = first

    @rule()
    def tell_too_late(self) -> None:
        first, record = self.process.store, self.campaign.record
        late = take_lease(first, record)
        take_lease(first, record, take_over=True)
        with pytest.raises(LeaseLost):
            first.transact(lambda c: events.record_event(c, record.id, "late"), lease=late)

    @rule()
    def sweep(self) -> None:
        assert self.process.store.files is not None
        self.process.store.files.sweep()

    def look(self) -> None:
        """Learn of the trials that a run has made or ended, and check each against the model."""
        rows = self.stored_trials()
        assert sorted(rows) == list(range(len(rows)))
        for index, (status, x, reason) in rows.items():
            if index >= len(self.xs):
                self.xs.append(x)
            if status is TrialStatus.FAILED:
                gave_up = (reason or "").startswith("The process that ran it ended")
                assert gave_up or x > STEEP
                self.results[index] = None
            elif status is TrialStatus.COMPLETED and index not in self.results:
                assert x <= STEEP
                self.results[index] = cost(x)
            elif status is TrialStatus.COMPLETED and self.results[index] is None:
                # One that was given up, and run again.
                self.results[index] = cost(x)
            elif status is not TrialStatus.COMPLETED and self.results.get(index, 0.0) is None:
                # A second run of a failed trial that was cut off.
                del self.results[index]

    @invariant()
    def model_and_store_agree(self) -> None:
        rows = self.stored_trials()
        assert [rows[index][1] for index in range(len(rows))] == self.xs
        for index, (status, _, _) in rows.items():
            if index not in self.results:
                assert status in (TrialStatus.CANDIDATE, TrialStatus.RUNNING)
            elif self.results[index] is None:
                assert status is TrialStatus.FAILED
            else:
                assert status is TrialStatus.COMPLETED
        values = {index: value for index, value in self.results.items() if value is not None}
        assert self.stored_values() == values

    def stored_trials(self) -> dict[int, tuple[TrialStatus, float, str | None]]:
        query = text(
            'SELECT t."index", t.status, a.parameters, t.failed_reason FROM trial_v2 t '
            "JOIN generator_run_v2 g ON g.trial_id = t.id JOIN arm_v2 a "
            "ON a.generator_run_id = g.id WHERE t.experiment_id = :experiment"
        )
        with self.looking() as connection:
            rows = connection.execute(query, {"experiment": self.experiment_id}).all()
        found = {
            index: (TrialStatus(status), json_x(parameters), reason)
            for index, status, parameters, reason in rows
        }
        assert len(found) == len(rows), "an index came twice"
        return found

    def stored_values(self) -> dict[int, float]:
        query = text("SELECT trial_index, value FROM observation WHERE experiment_id = :experiment")
        with self.looking() as connection:
            rows = connection.execute(query, {"experiment": self.experiment_id}).all()
        found = {index: value for index, value in rows}
        assert len(found) == len(rows), "a result came twice"
        return found

    def looking(self) -> Any:
        return LOOKERS[self.url].reading()


LOOKERS: dict[str, Store] = {}


def json_x(parameters: Any) -> float:
    read = parameters if isinstance(parameters, dict) else json.loads(parameters)
    return read["x"]


@pytest.fixture(params=["sqlite", "postgresql"])
def machine(request: pytest.FixtureRequest) -> Iterator[type[Histories]]:
    # In memory where there is such a folder: what a disk takes for a flush is not the subject.
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'campaigns.db'}"
        if request.param == "postgresql":
            url = request.getfixturevalue("make_postgresql")()
        LOOKERS[url] = Store.open(url, artifacts=folder / "artifacts")
        yield type("Histories", (Histories,), {"url": url, "folder": folder / "artifacts"})
        BEFORE_AN_EVALUATION.clear()
        with LOOKERS[url].reading() as connection:
            assert connection.execute(select(campaign_table.c.id)).all()
        LOOKERS.pop(url).close()


def check(machine: type[Histories], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.fault(17)
def test_a_few_histories(machine: type[Histories]) -> None:
    check(machine, examples=3, steps=8)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.fault(17)
def test_many_long_histories(machine: type[Histories]) -> None:
    # What differs between databases shows early; what depends on the history needs many.
    check(machine, examples=200 if "sqlite" in machine.url else 40, steps=50)
