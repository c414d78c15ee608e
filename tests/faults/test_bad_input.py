"""What a task or a runner may hand back: a bad trial fails, the campaign goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from sqlalchemy import NullPool, create_engine, text

from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.tasks import Progress
from tests.faults.simulators import SPACE, LoggedTask, read_evaluations

TRIALS = 12


def raise_error(_cost: float) -> Any:
    raise ZeroDivisionError("the bench is not connected")


BAD: dict[str, tuple[Callable[[float], Any], str]] = {
    "nan": (lambda cost: math.nan, "nan"),
    "infinity": (lambda cost: math.inf, "inf"),
    "minus infinity": (lambda cost: -np.float64("inf"), "inf"),
    "complex": (lambda cost: complex(cost, 1.0), "complex"),
    "text": (lambda cost: "a lot", "a lot"),
    "array": (lambda cost: np.array([cost, cost]), "one real number"),
    "nothing": (lambda cost: None, "None"),
    "raises": (raise_error, "ZeroDivisionError: the bench is not connected"),
}


@dataclass(frozen=True)
class HalfBadTask(LoggedTask):
    """Reports something bad of arms with a high gain.

    Attributes:
        bad: Key of what it reports.
    """

    bad: str = "nan"

    def progress(self, state: Any) -> list[Progress]:
        reports = []
        for theta, good in zip(state["arms"], super().progress(state), strict=True):
            outputs = dict(good.outputs)
            if is_bad(SPACE.unpack(theta)):
                outputs["cost"] = (BAD[self.bad][0](outputs["cost"][0]), 0.0)
            reports.append(Progress(step=1, done=True, outputs=outputs))
        return reports


def is_bad(arm: Any) -> bool:
    return arm["gain"] > 2.0


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(store_url, artifacts=tmp_path / "artifacts")
    yield opened
    opened.close()


def everything_stored(url: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]  # noqa: S608
            for name in ("trial_v2", "data_v2", "observation")
        }


def check_no_strange_numbers(url: str) -> None:
    stored = everything_stored(url)
    for rows in stored.values():
        for value in (value for row in rows for value in row):
            assert not isinstance(value, float) or math.isfinite(value)
            if isinstance(value, str) and value.startswith("{"):
                json.loads(value, parse_constant=lambda name: pytest.fail(f"{name} was stored"))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.fault(4)
def test_a_bad_result_fails_its_own_trial(store: Store, tmp_path: Path, bad: str) -> None:
    task = HalfBadTask(str(tmp_path / "evaluations"), bad=bad)
    campaign = Campaign(
        "bench",
        runner=JaxRunner(task),
        objective="-cost",
        store=store,
        generation="sobol",
        batch_size=4,
    )
    campaign.run(TRIALS)
    trials = campaign.experiment.trials
    failed = {i for i, trial in trials.items() if is_bad(trial.arms[0].parameters)}
    assert 0 < len(failed) < TRIALS / 2
    for index, trial in trials.items():
        if index in failed:
            assert trial.status is TrialStatus.FAILED
            assert BAD[bad][1] in (trial.status_reason or "")
        else:
            assert trial.status is TrialStatus.COMPLETED
    stored = everything_stored(store.url)
    assert {row[2] for row in stored["observation"]} == set(trials) - failed
    check_no_strange_numbers(store.url)
    assert campaign.best().trial_index not in failed


@pytest.mark.parametrize(
    "extra", [object(), b"bytes", {1, 2}, math.nan, np.ones(3), {"deep": [1, math.inf]}], ids=repr
)
@pytest.mark.fault(7)
def test_metadata_that_is_not_json_fails_its_trial_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: Any
) -> None:
    real = JaxRunner.run_multiple

    def run_multiple(self: JaxRunner, trials: Any) -> Any:
        metadata = real(self, trials)
        if 2 in metadata:
            metadata[2]["extra"] = extra
        return metadata

    monkeypatch.setattr(JaxRunner, "run_multiple", run_multiple)
    log = tmp_path / "evaluations"
    campaign = Campaign(
        "bench",
        runner=JaxRunner(LoggedTask(str(log))),
        objective="-cost",
        store=store,
        generation="sobol",
        batch_size=4,
    )
    campaign.run(8)
    trials = campaign.experiment.trials
    assert [i for i, trial in trials.items() if trial.status is TrialStatus.FAILED] == [2]
    assert "not plain finite JSON" in (trials[2].status_reason or "")
    assert len(read_evaluations(log)) == 8
    check_no_strange_numbers(store.url)
    again = Campaign.load("bench", store=store)
    assert again.experiment.trials[2].status is TrialStatus.FAILED
    assert again.to_frame().equals(campaign.to_frame())
