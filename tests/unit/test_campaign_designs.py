"""Designs attached to a campaign: trials, labels, points that are already there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Store,
)
from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.parameters import (
    Linear,
    Log2,
    Logarithmic,
    latin_hypercube_design,
    plot_heat_map,
    product_design,
    sobol_design,
)

SPACE = ParameterSpace(
    [
        Parameter("x", lower=-1, upper=1),
        Parameter("k", lower=0.25, upper=4, bijector=Log2()),
        Parameter("fixed", fixed=2.0),
    ]
)
EVALUATOR = FeatureEvaluator(lambda p: {"y": p["x"] * p["k"] * p["fixed"]}, SPACE, chunk=8)
TASK = FeatureTask(EVALUATOR, outputs={"y": lambda features: features["y"]})
GRID = product_design({"x": Linear(-1, 1, 3), "k": Logarithmic(0.25, 4, 5)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'campaigns.db'}")
    yield opened
    opened.close()


def test_a_grid_becomes_trials_and_its_values_a_picture(store: Store) -> None:
    campaign = Campaign("pool", TASK, objective="y", store=store, generation="sobol")
    assert campaign.attach_design(GRID) == tuple(range(15))
    loaded = Campaign.load("pool", TASK, store=store)
    assert [t.arm.parameters for t in loaded.experiment.trials.values()] == [  # type: ignore[attr-defined]
        {**point, "fixed": 2.0} for point in GRID
    ]
    loaded.run(trials=16, progress=False)
    frame = loaded.to_frame()
    assert frame["trial_status"].tolist() == ["COMPLETED"] * 16
    grid = frame.iloc[:15]
    assert grid["y"].tolist() == pytest.approx([2.0 * p["x"] * p["k"] for p in GRID])  # type: ignore[operator]
    nodes = loaded.client().summarize().set_index("trial_index")["generation_node"]
    assert nodes[:15].tolist() == ["grid"] * 15
    assert nodes[15] != "grid"
    points = grid[["x", "k", "fixed"]].to_dict("records")
    cells = np.asarray(plot_heat_map(points, grid["y"], value="y").data[0].z)
    np.testing.assert_allclose(cells, 2.0 * np.outer([0.25, 0.5, 1, 2, 4], [-1, 0, 1]), atol=1e-12)


def test_points_that_are_there_are_left_out(store: Store) -> None:
    campaign = Campaign("pool", TASK, objective="y", store=store)
    campaign.attach({"x": 0.0, "k": 1.0}, {"y": 0.0})
    assert len(campaign.attach_design(GRID)) == 14
    assert campaign.attach_design(GRID) == ()
    finer = product_design({"x": Linear(-1, 1, 5), "k": Logarithmic(0.25, 4, 5)})
    assert len(campaign.attach_design(finer)) == 10
    assert len(Campaign.load("pool", TASK, store=store).experiment.trials) == 25


@pytest.mark.parametrize("make", [sobol_design, latin_hypercube_design])
def test_space_filling_designs_have_their_label(store: Store, make: type) -> None:
    campaign = Campaign("pool", TASK, objective="y", store=store)
    design = make(SPACE, 8, seed=0)
    assert len(campaign.attach_design(design)) == 8
    runs = [run for t in campaign.experiment.trials.values() for run in t.generator_runs]
    assert {run._generator_key for run in runs} == {design.label}
    assert {run._generation_node_name for run in runs} == {design.label}


def test_the_report_calls_designs_attached(store: Store) -> None:
    from ax_jax_runners.campaign.report.findings import ATTACHED, collect

    campaign = Campaign("pool", TASK, objective="y", store=store, generation="sobol")
    campaign.attach_design(GRID)
    campaign.run(trials=17, progress=False)
    arms = collect(campaign).arms
    assert {(arm.source, arm.node) for arm in arms[:15]} == {(ATTACHED, "grid")}
    assert ATTACHED not in {arm.source for arm in arms[15:]}


def test_points_that_the_campaign_cannot_take_are_refused_and_nothing_is_added(
    store: Store,
) -> None:
    campaign = Campaign("pool", TASK, objective="y", store=store)
    wide = product_design({"x": Linear(-2, 2, 3), "k": [1.0]})
    with pytest.raises(ConfigurationError, match=r"2 of the design's 3 points .*'x': -2.0"):
        campaign.attach_design(wide)
    with pytest.raises(ParameterError, match="missing k"):
        campaign.attach_design(product_design({"x": [0.5]}))
    assert not campaign.experiment.trials
    assert len(campaign.attach_design(wide.within(SPACE))) == 1
