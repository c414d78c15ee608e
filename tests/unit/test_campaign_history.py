"""Runs of the original in a campaign's database: what is chosen there, and what stays apart.

Faults of the original: 27 (fingerprint and rows in one file), 31 to 34 (selection), 40 (attempts).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Selection,
    Store,
)
from ax_jax_runners.errors import DataFileError, NoFeasibleArm, UnknownMetric
from ax_jax_runners.store import events
from ax_jax_runners.store.named_selections import NAMES
from ax_jax_runners.store.tables import observation
from ax_jax_runners.strategies import LOAD_METHODS, get_run_location, load_manually
from tests.unit.quantamm_files import FINGERPRINT, NAN, Table, reference, row, tabled, write

SPACE = ParameterSpace([Parameter("x", lower=-1.0, upper=1.0)])
TASK = FeatureTask(
    FeatureEvaluator(lambda values: {"y": values["x"] ** 2}, SPACE, chunk=8, capacity=8),
    outputs={"y": lambda features: features["y"]},
)
OBJECTIVES = ("objective", "train_objective", "test_objective")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('history') / 'c.db'}")
    yield opened
    opened.close()


def make(store: Store, name: str) -> Campaign:
    return Campaign(name, TASK, objective="-y", store=store, generation="sobol", batch_size=2)


def count(campaign: Campaign) -> int:
    with campaign.store.reading() as connection:
        rows = select(func.count()).where(
            observation.c.experiment_id == campaign.record.experiment_id
        )
        return connection.execute(rows).scalar_one()


def tables(generator: np.random.Generator, rows: int, sets: int) -> dict[str, Table]:
    """Objectives with ties, NaN, infinities and nulls."""
    values = np.array([-1.0, 0.0, 0.0, 0.5, 1.0, NAN, NAN, math.inf])
    return {name: generator.choice(values, (rows, sets)).tolist() for name in OBJECTIVES}


def by_campaign(campaign: Campaign, method: str, minimum: float) -> Any:
    try:
        found = campaign.select(method, minimum=minimum)
    except NoFeasibleArm:
        return None
    if isinstance(found, tuple):
        # The database lists them by step, a file by set.
        places = [(each.step // 10, each.member) for each in found]
        return sorted(places, key=lambda place: place[1]) or None
    assert found is not None
    return found.step // 10, found.member


def by_file(path: Path, method: str, minimum: float) -> Any:
    try:
        rows, members = load_manually(path, method, min_test=minimum, return_as_iterables=True)
    except NoFeasibleArm:
        return None
    places = [(r["step"] // 10, s or 0) for r, s in zip(rows, members, strict=True)]
    return places if method.endswith("_set") else places[0]


def test_file_and_database_choose_what_the_definitions_say(store: Store, tmp_path: Path) -> None:
    assert LOAD_METHODS == NAMES
    campaign = make(store, "methods")
    generator = np.random.default_rng(4)
    for rows, sets in [(1, 1), (1, 3), (2, 1), (3, 2), (5, 3), (4, 4), (8, 2)] * 2:
        drawn = tables(generator, rows, sets)
        path = write(tmp_path / "r.json", tabled(**drawn))
        assert campaign.import_history(path) == -1
        for method in LOAD_METHODS:
            for minimum in (0.0, 0.7):
                expected = reference(method, minimum, drawn)
                assert by_file(path, method, minimum) == expected, (method, drawn)
                # A set without any value is left out by the database, too.
                chosen = by_campaign(campaign, method, minimum)
                assert chosen == expected, (method, drawn)


def test_metrics_have_windows_and_runs_indices_below_zero(store: Store, tmp_path: Path) -> None:
    campaign = make(store, "windows")
    rows = [
        row(
            10 * i,
            2,
            train_objective=[{"sharpe": 0.1 * i + s, "return": 0.0} for s in range(2)],
            test_objective=[{"sharpe": -0.1 * i - s} for s in range(2)],
            continuous_test_metrics=[{"continuous_test_sharpe": i * s} for s in range(2)],
        )
        for i in range(3)
    ]
    first = campaign.import_history(write(tmp_path / "a.json", rows))
    other = {**FINGERPRINT, "fees": 0.01}
    second = campaign.import_history(str(write(tmp_path / "b.json", rows[:2], other)))
    assert (first, second) == (-1, -2)
    chosen = campaign.select("best_train_objective", metric="sharpe")
    assert (chosen.trial_index, chosen.step, chosen.member) == (-1, 20, 1)  # type: ignore[union-attr]
    assert chosen.arm_name == get_run_location(FINGERPRINT)  # type: ignore[union-attr]
    assert chosen.metrics == {  # type: ignore[union-attr]
        "sharpe[train]": 1.2,
        "return[train]": 0.0,
        "sharpe[test]": -1.2,
        "sharpe[continuous_test]": 2.0,
    }
    earliest = campaign.select("best_test_objective", metric="sharpe")
    assert (earliest.trial_index, earliest.step, earliest.member) == (-2, 0, 0)  # type: ignore[union-attr]
    continuous = campaign.select(Selection("sharpe", "continuous_test", direction="max"))
    assert (continuous.trial_index, continuous.step) == (-1, 20)  # type: ignore[union-attr]
    with pytest.raises(UnknownMetric):
        campaign.select("best_train_objective", metric="sharp")


def test_a_run_imported_again_replaces_itself(store: Store, tmp_path: Path) -> None:
    campaign = make(store, "again")
    path = write(tmp_path / "r.json", tabled(objective=[[1.0], [2.0]]))
    assert campaign.import_history(path) == campaign.import_history(path) == -1
    assert count(campaign) == 2
    longer = [*tabled(objective=[[1.0], [2.0], [9.0]]), row(10, 1, objective=[3.0])]
    assert campaign.import_history(write(path, longer)) == -1
    assert count(campaign) == 2
    assert campaign.select("best_objective").metrics == {"objective": 3.0}  # type: ignore[union-attr]
    with store.reading() as connection:
        kinds = [event.kind for event in events.read_events(connection, campaign.record.id)]
    assert kinds.count("imported") == 3


def test_the_campaign_goes_on_beside_its_history(store: Store, tmp_path: Path) -> None:
    campaign = make(store, "beside")
    path = write(tmp_path / "r.json", tabled(objective=[[5.0], [4.0]]))
    campaign.import_history(path)
    assert campaign.select("best_objective").trial_index == -1  # type: ignore[union-attr]
    campaign.run(2, progress=False)
    assert campaign.to_frame()["trial_index"].tolist() == [0, 1]
    # Its own objective is its own again.
    own = campaign.select("best_objective")
    assert own.metrics == {"y": campaign.to_frame()["y"].min()}  # type: ignore[union-attr]
    loaded = Campaign.load("beside", TASK, store=store)
    assert loaded.best().trial_index == own.trial_index  # type: ignore[union-attr]
    assert loaded.select(Selection("objective")).trial_index == -1  # type: ignore[union-attr]
    before = count(campaign)
    for text in ("[]", "{"):
        path.write_text(text)
        with pytest.raises(DataFileError):
            loaded.import_history(path)
    with pytest.raises(DataFileError, match="rows without any objective"):
        loaded.import_history(write(path, [row(0, 1), row(10, 1, objective=[])]))
    with pytest.raises(FileNotFoundError):
        loaded.import_history(tmp_path / "none.json")
    assert count(campaign) == before
