"""What a task or a runner may hand back: a bad trial fails, the campaign goes on."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ax.core.trial_status import TrialStatus
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sqlalchemy import NullPool, create_engine, text

from ax_jax_runners import Campaign, JaxRunner, Store
from ax_jax_runners.errors import CampaignError
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


REPORTED: list[Any] = []
"""What arms report as their cost, in turns. No part of the task: what it is must not change."""


def reported_by(arm: Any) -> Any:
    return REPORTED[int(1e6 * arm["gain"]) % len(REPORTED)]


@dataclass(frozen=True)
class TellingTask(LoggedTask):
    """Reports whatever is wanted."""

    def progress(self, state: Any) -> list[Progress]:
        arms = [SPACE.unpack(theta) for theta in state["arms"]]
        return [
            Progress(step=1, done=True, outputs={"cost": reported_by(arm), "peak": (1.0, 0.0)})
            for arm in arms
        ]


SCALARS = st.one_of(
    st.floats(),
    st.floats(-1e3, 1e3),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.fractions(),
    st.lists(st.floats(), max_size=3),
    hnp.arrays(
        st.sampled_from(["f8", "f4", "c8", "i8", "?", "U3", "M8[s]"]), hnp.array_shapes(min_dims=0)
    ),
    st.sampled_from([np.float32("nan"), np.empty((0, 3)), {1}, {"mean": 1.0}, object()]),
)
REPORTS = st.lists(st.one_of(st.tuples(SCALARS, SCALARS), SCALARS), min_size=8, max_size=8)
NUMBERS = itertools.count()
FEW = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))


def is_plainly_good(report: Any) -> bool:
    if not isinstance(report, tuple) or [type(part) for part in report] != [float, float]:
        return False
    return math.isfinite(report[0]) and math.isfinite(report[1]) and report[1] >= 0


def run_new(store: Store, log: Path, task: type[LoggedTask] = LoggedTask) -> Campaign:
    campaign = Campaign(
        f"told {next(NUMBERS)}",
        runner=JaxRunner(task(str(log))),
        objective="-peak",
        store=store,
        generation="sobol",
        batch_size=8,
    )
    # Where nothing but failures came of a run, it says so.
    with contextlib.suppress(CampaignError):
        campaign.run(8, progress=False)
    return campaign


@pytest.mark.fault(4)
@given(reports=REPORTS)
@example(reports=[(1.0, 0.1)] * 8)
@example(reports=[(1.0, -0.1), (1.0, math.nan), (1.0, None), (math.nan, 0.0)] * 2)
@FEW
def test_nothing_but_finite_numbers_reaches_the_data(
    store: Store, tmp_path: Path, reports: list[Any]
) -> None:
    REPORTED[:] = reports
    campaign = run_new(store, tmp_path / "log", TellingTask)
    data = campaign.experiment.lookup_data().df
    costs = dict(zip(data["trial_index"], data["mean"], strict=True)) if len(data) else {}
    frame = Campaign.load(campaign.name, store=store).to_frame().set_index("trial_index")
    for index, trial in campaign.experiment.trials.items():
        report = reported_by(trial.arms[0].parameters)
        if trial.status is TrialStatus.FAILED:
            assert not is_plainly_good(report)
            assert "cost" in (trial.status_reason or "")
            assert index not in costs
            continue
        assert trial.status is TrialStatus.COMPLETED
        (outcome,) = trial.run_metadata["ax_jax"]["arms"].values()
        mean, sem = outcome["outputs"]["cost"]
        assert np.asarray(report[0]).dtype.kind in "biufO"
        assert mean == float(np.asarray(report[0]).reshape(())) == frame.loc[index, "cost"]
        assert math.isfinite(mean)
        assert sem is None or (math.isfinite(sem) and sem >= 0)
    check_no_strange_numbers(store.url)


TREES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=3),
        st.sampled_from([10**400, np.float64(1.5), np.ones(2), {1}, object(), "\0", "\ud800"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def as_json(tree: Any) -> Any:
    """The tree as JSON gives it back, or None inside a list where it has no place in JSON."""
    try:
        return json.loads(json.dumps(tree, allow_nan=False))
    except (TypeError, ValueError):
        return [None, "refused"]


@pytest.mark.fault(7, 8)
@given(trees=st.lists(TREES, min_size=8, max_size=8))
@example(trees=[{"__type": "Arm", "name": "x", "parameters": {}}, {"__type": "evil"}] * 4)
@FEW
def test_metadata_come_back_exactly_or_fail_their_trial(
    store: Store, tmp_path: Path, trees: list[Any]
) -> None:
    real = JaxRunner.run_multiple

    def run_multiple(self: JaxRunner, trials: Any) -> Any:
        metadata = real(self, trials)
        return {i: found | {"extra": trees[i]} for i, found in metadata.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JaxRunner, "run_multiple", run_multiple)
        campaign = run_new(store, tmp_path / "log")
    loaded = Campaign.load(campaign.name, store=store)
    assert loaded.to_frame().equals(campaign.to_frame())
    for index, trial in loaded.experiment.trials.items():
        expected = as_json(trees[index])
        if trial.status is TrialStatus.COMPLETED:
            assert trial.run_metadata["extra"] == expected
        else:
            assert trial.status is TrialStatus.FAILED
            assert "extra" in (trial.status_reason or "") or expected == [None, "refused"]
    check_no_strange_numbers(store.url)
