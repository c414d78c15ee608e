"""A copied campaign is the same campaign, in whichever databases the two are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ax.storage.json_store.encoder import object_to_json
from sqlalchemy import func, select, text

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Store,
    registry_bundle,
)
from ax_jax_runners.errors import (
    ArtifactCorrupt,
    CampaignExists,
    CampaignNotFound,
    ConfigurationError,
    LeaseHeld,
)
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import campaigns, leases, tables
from ax_jax_runners.store.ax_tables import portable_metadata
from ax_jax_runners.store.copying import copy_campaign

SPACE = ParameterSpace(
    [
        Parameter("gain[0]", lower=0.1, upper=2.0),
        Parameter("line.k", lower=0.5, upper=8.0, log_scale=True),
        Parameter("kind", choices=("a", "b")),
    ],
    constraints=["gain[0] + line.k <= 9.9"],
)


def curve(parameters: dict[str, Any]) -> dict[str, Any]:
    x = jnp.linspace(0.0, 1.0, 5)
    y = parameters["gain[0]"] * jnp.sin(parameters["line.k"] * x) / 3.0
    return {"y": jnp.where(parameters["gain[0]"] > 1.8, jnp.nan, y)}


def loss(features: dict[str, Any]) -> Any:
    return jnp.sum(features["y"] ** 2)


def peak(features: dict[str, Any]) -> Any:
    return jnp.max(features["y"])


TASK = FeatureTask(FeatureEvaluator(curve, SPACE), outputs={"loss": loss, "peak.y": peak})


@dataclass
class Case:
    """A campaign of 12 trials in one store, and another store to copy it to."""

    source: Store
    target: Store
    campaign: Campaign


def make(store: Store, name: str = "walk") -> Campaign:
    return Campaign(
        name,
        TASK,
        objective="-loss",
        outcome_constraints=["peak.y <= 10"],
        store=store,
        batch_size=4,
        generation="sobol",
        seed=5,
    )


@pytest.fixture(params=["sqlite to sqlite", "sqlite to postgresql", "postgresql to sqlite"])
def case(
    request: pytest.FixtureRequest, tmp_path: Path, make_postgresql: Callable[[], str]
) -> Iterator[Case]:
    kinds = request.param.split(" to ")
    stores = []
    for role, kind in zip(("source", "target"), kinds, strict=True):
        url = f"sqlite:///{tmp_path / role}.db" if kind == "sqlite" else make_postgresql()
        stores.append(Store.open(url, artifacts=tmp_path / f"{role}-files"))
    # Rows of another experiment on both sides, so that ids cannot be equal by chance.
    make(stores[0], "other").run(4, progress=False)
    make(stores[1], "third").run(8, progress=False)
    campaign = make(stores[0]).run(12, progress=False)
    yield Case(stores[0], stores[1], campaign)
    for store in stores:
        store.close()


def contents_of(store: Store) -> tuple[Any, ...]:
    """Experiment, strategy and data as loaded, without database ids, which differ."""
    campaign = Campaign.load("walk", TASK, store=store)
    bundle = registry_bundle(tasks=(TASK,))
    encoded = [
        object_to_json(
            part,
            encoder_registry=bundle.encoder_registry,
            class_encoder_registry=bundle.class_encoder_registry,
        )
        for part in (campaign.experiment, campaign.generation_strategy)
    ]
    rows = [
        (row.trial_index, row.arm_name, row.metric_name, row.mean.hex(), row.se.hex())
        for row in campaign.experiment.data._data_rows
    ]
    return (*encoded, rows, campaign.record.configuration)


def rows_of(store: Store, table: Any, key: str) -> list[tuple[Any, ...]]:
    """Our rows of the campaign without their ids; floats as the text of their bits."""
    with store.reading() as connection:
        record = campaigns.load_campaign(connection, "walk")
        wanted = record.experiment_id if key == "experiment_id" else record.id
        columns = [column for column in table.c if column.name not in {"id", key}]
        statement = select(*columns).where(table.c[key] == wanted).order_by(table.c.id)
        return [
            tuple(value.hex() if isinstance(value, float) else value for value in row)
            for row in connection.execute(statement)
        ]


def counts_of_ax(store: Store) -> dict[str, int]:
    with store.reading() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in portable_metadata().sorted_tables
        }


def test_the_copy_is_the_same_campaign_bit_by_bit(case: Case) -> None:
    before = counts_of_ax(case.source), counts_of_ax(case.target)
    copied = copy_campaign(case.source, case.target, "walk")
    assert (copied.trials, copied.name) == (12, "walk")
    assert contents_of(case.target) == contents_of(case.source)
    for table, key in (
        (tables.observation, "experiment_id"),
        (tables.artifact, "experiment_id"),
        (tables.attempt, "experiment_id"),
        (tables.event, "campaign_id"),
    ):
        mine = rows_of(case.target, table, key)
        assert mine == rows_of(case.source, table, key)
        assert mine
    for store in (case.source, case.target):
        with store.reading() as connection:
            assert campaigns.load_campaign(connection, "walk").total_trials == 12
    assert counts_of_ax(case.source) == before[0]
    trials = counts_of_ax(case.target)["trial_v2"] - before[1]["trial_v2"]
    assert trials == 12


@pytest.mark.slow
def test_the_copy_goes_on_with_the_same_arms_and_values(case: Case) -> None:
    copy_campaign(case.source, case.target, "walk")
    theirs = Campaign.load("walk", TASK, store=case.target).run(20, progress=False)
    mine = case.campaign.run(20, progress=False)
    frame, copied = mine.to_frame(), theirs.to_frame()
    assert len(frame) == 20
    assert frame.equals(copied)
    assert mine.best() == theirs.best()


def test_new_arrays_go_to_the_folder_of_the_copy(case: Case) -> None:
    copy_campaign(case.source, case.target, "walk")
    assert case.source.files is not None
    assert case.target.files is not None
    known = {path.name for path in case.source.files.folder.rglob("*") if path.is_file()}
    Campaign.load("walk", TASK, store=case.target).run(16, progress=False)
    with case.target.reading() as connection:
        record = campaigns.load_campaign(connection, "walk")
        digests = set(
            connection.execute(
                select(tables.artifact.c.sha256).where(
                    tables.artifact.c.experiment_id == record.experiment_id
                )
            ).scalars()
        )
    for digest in digests:
        assert np.shape(case.target.files.read_arrays(digest)["y"]) == (5,)
    after = {path.name for path in case.source.files.folder.rglob("*") if path.is_file()}
    assert after == known
    assert digests - known


def test_a_name_that_is_taken_is_refused_and_changes_nothing(case: Case) -> None:
    copy_campaign(case.source, case.target, "walk")
    before = counts_of_ax(case.target)
    with pytest.raises(CampaignExists, match="campaign named 'walk' already"):
        copy_campaign(case.source, case.target, "walk")
    with pytest.raises(CampaignExists, match="'walk' already"):
        copy_campaign(case.source, case.source, "walk")
    assert counts_of_ax(case.target) == before


def test_a_campaign_that_runs_is_not_copied(case: Case) -> None:
    elsewhere = Owner(host="another-host", machine="boot/ns", pid=1, started=1)
    case.source.transact(
        lambda connection: leases.acquire(
            connection, case.campaign.record.id, name="walk", owner=elsewhere
        )
    )
    with pytest.raises(LeaseHeld, match="process 1 on another-host"):
        copy_campaign(case.source, case.target, "walk")


@pytest.fixture
def two_files(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    stores = [Store.open(f"sqlite:///{tmp_path / name}.db") for name in ("one", "two")]
    make(stores[0]).run(4, progress=False)
    yield stores[0], stores[1]
    for store in stores:
        store.close()


def test_a_copy_that_fails_half_way_leaves_nothing(two_files: tuple[Store, Store]) -> None:
    source, target = two_files
    with target.unit_of_work() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON attempt "
                "BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        )
    with pytest.raises(Exception, match="no room"):
        copy_campaign(source, target, "walk")
    assert set(counts_of_ax(target).values()) == {0}
    with target.unit_of_work() as connection:
        connection.execute(text("DROP TRIGGER refuse"))
    copy_campaign(source, target, "walk")
    assert contents_of(target) == contents_of(source)


def test_a_damaged_file_stops_the_copy(two_files: tuple[Store, Store]) -> None:
    source, target = two_files
    assert source.files is not None
    damaged = next(path for path in source.files.folder.rglob("*") if path.is_file())
    damaged.write_bytes(b"something else")
    with pytest.raises(ArtifactCorrupt, match=damaged.name):
        copy_campaign(source, target, "walk")
    assert set(counts_of_ax(target).values()) == {0}


def test_files_need_a_folder(
    tmp_path: Path, two_files: tuple[Store, Store], make_postgresql: Callable[[], str]
) -> None:
    target = Store.open(make_postgresql())
    with pytest.raises(ConfigurationError, match="was opened without a folder for files"):
        copy_campaign(two_files[0], target, "walk")
    target.close()


def test_an_unknown_campaign_is_refused(two_files: tuple[Store, Store]) -> None:
    with pytest.raises(CampaignNotFound, match="No campaign 'nobody'"):
        copy_campaign(two_files[0], two_files[1], "nobody")
