"""Commands that read a store say what the campaign itself says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pandas as pd
import pytest
from ax.core.base_trial import TrialStatus
from typer.testing import CliRunner

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Store,
)
from ax_jax_runners.campaign.overview import read_overview
from ax_jax_runners.cli.app import app
from ax_jax_runners.files.owner import Owner
from ax_jax_runners.store import leases
from ax_jax_runners.store.statuses import TRIAL_STATUSES

SPACE = ParameterSpace(
    [Parameter("x[0]", lower=-1.0, upper=1.0), Parameter("y", lower=-1.0, upper=1.0)]
)


def simulate(parameters: dict[str, Any]) -> dict[str, Any]:
    x, y = parameters["x[0]"], parameters["y"]
    return {"r": jnp.where(x > 0.8, jnp.nan, x**2 + y**2), "s": x + y}


TASK = FeatureTask(
    FeatureEvaluator(simulate, SPACE),
    outputs={"r.squared": lambda f: f["r"] / 3.0, "sum": lambda f: f["s"] / 7.0},
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    url = f"sqlite:///{tmp_path_factory.mktemp('reading') / 'c.db'}"
    store = Store.open(url)
    common: dict[str, Any] = {"store": store, "batch_size": 4, "generation": "sobol"}
    front = Campaign("front", TASK, objective="-r.squared, sum", **common)
    front.run(8, progress=False)
    made = Campaign(
        "single", TASK, objective="-r.squared", outcome_constraints=["sum >= 0"], **common
    )
    made.attach({"x[0]": 0.9, "y": 0.0})
    made.run(16, progress=False)
    yield made
    store.close()


def ask(campaign: Campaign, *arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--store", campaign.store.url, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_statuses_are_those_of_ax() -> None:
    assert TRIAL_STATUSES == {status.value: status.name for status in TrialStatus}


def test_best_is_the_campaigns_best_to_the_last_bit(campaign: Campaign) -> None:
    best = campaign.best()
    assert not isinstance(best, tuple)
    assert ask(campaign, "best", "single") == {
        "trial_index": best.trial_index,
        "arm_name": best.arm_name,
        "parameters": dict(best.parameters),
        "outputs": dict(best.outputs),
    }


def test_best_of_two_objectives_is_the_front(campaign: Campaign) -> None:
    front = Campaign.load("front", TASK, store=campaign.store).best()
    assert isinstance(front, tuple)
    found = ask(campaign, "best", "front")
    assert [each["arm_name"] for each in found] == [each.arm_name for each in front]
    assert [each["outputs"] for each in found] == [dict(each.outputs) for each in front]


def test_status_counts_what_there_is(campaign: Campaign) -> None:
    found = ask(campaign, "status", "single")
    by_status = campaign.experiment.trials_by_status
    assert found["counts"] == {s.name: len(t) for s, t in by_status.items() if t}
    assert (found["state"], found["owner"], found["trials"]) == ("complete", None, 16)
    assert found["counts"]["FAILED"] == len(found["failures"]) >= 1
    assert "is nan" in found["failures"][-1]["reason"]
    assert found["failures"][-1]["trial_index"] == 0
    assert found["best"] == ask(campaign, "best", "single")
    latest = found["events"]
    assert [event["kind"] for event in latest] == ["trial"] * (len(latest) - 1) + ["complete"]
    assert latest[-2]["to_status"] in {"COMPLETED", "FAILED"}


def test_all_campaigns_are_listed(campaign: Campaign) -> None:
    for command in ("status", "list"):
        assert [each["name"] for each in ask(campaign, command)] == ["front", "single"]
    table = CliRunner().invoke(app, ["list", "--store", campaign.store.url]).stdout
    assert "single" in table
    assert "16 of 16" in table


def test_status_of_a_campaign_that_runs_names_its_process(campaign: Campaign) -> None:
    elsewhere = Owner(host="another-host", machine="boot/ns", pid=7, started=1)
    lease = campaign.store.transact(
        lambda connection: leases.acquire(
            connection, campaign.record.id, name="single", owner=elsewhere
        )
    )
    try:
        assert ask(campaign, "status", "single")["owner"] == "process 7 on another-host"
        result = CliRunner().invoke(
            app, ["stop", "single", "--wait", "0.3", "--store", campaign.store.url]
        )
        assert result.exit_code == 1
        assert "still run by process 7 on another-host" in result.stderr
        assert ask(campaign, "status", "single")["stop_requested"] is True
    finally:
        campaign.store.transact(lambda connection: leases.release(connection, lease))
    assert ask(campaign, "status", "single")["stop_requested"] is False


def test_stopping_what_nobody_runs_is_no_failure(campaign: Campaign) -> None:
    found = ask(campaign, "stop", "single")
    assert found == {"name": "single", "owner": None, "stopped": True}


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_an_export_holds_every_digit(campaign: Campaign, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"trials.{ending}"
    assert ask(campaign, "export", "single", "--to", str(path))["rows"] == 16
    if ending == "parquet":
        found = pd.read_parquet(path)
    elif ending == "csv":
        found = pd.read_csv(path, float_precision="round_trip")
    else:
        found = pd.DataFrame(json.loads(path.read_text()))
    expected = campaign.to_frame()
    assert list(found.columns) == [*expected.columns, "r.squared_sem", "sum_sem"]
    for name in expected.columns:
        for mine, theirs in zip(expected[name], found[name], strict=True):
            if isinstance(mine, float):
                same = float(mine).hex() == float(theirs).hex()
                assert same or (math.isnan(mine) and (theirs is None or math.isnan(theirs)))
            else:
                assert mine == theirs
    failed = found["trial_status"] == "FAILED"
    assert found["sum_sem"][~failed].eq(0.0).all()
    assert found["sum_sem"][failed].isna().all()


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["best"], ["stop"], ["resume"], ["report"], ["export", "--to", "a.csv"]],
)
def test_an_unknown_campaign_is_a_usage_error(campaign: Campaign, arguments: list[str]) -> None:
    command, *options = arguments
    result = CliRunner().invoke(
        app, [command, "nobody", *options, "--store", campaign.store.url, "--json"]
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "No campaign 'nobody'" in result.stderr


def test_a_campaign_of_failures_has_no_best(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    made = Campaign("hopeless", TASK, objective="-r.squared", store=url, generation="sobol")
    for y in (0.0, 0.5):
        made.attach({"x[0]": 0.9, "y": y})
    made.run(2, progress=False)
    result = CliRunner().invoke(app, ["best", "hopeless", "--store", url])
    assert result.exit_code == 1
    assert "none of them is feasible" in result.stderr
    overview = read_overview(made.store, "hopeless")
    assert (overview.best, overview.counts) == (None, {"FAILED": 2})
    shown = CliRunner().invoke(app, ["status", "hopeless", "--store", url]).stdout
    assert "Latest failures" in shown
    made.store.close()
