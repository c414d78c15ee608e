"""The built-in campaign of a momentum pool, and several ways to search it in one store."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ax_jax_runners import Campaign, FeatureEvaluator, RandomWalkTask, Store, problems
from ax_jax_runners.campaign.comparison import comparison_figure, read_search
from ax_jax_runners.campaign.settings import read_settings
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.evaluation import Constraint
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.parameters import Log2, MemoryDecay
from ax_jax_runners.tasks import task_identity
from ax_jax_runners.tasks.keys import arm_keys

GOAL = {"objective": "train_sharpe", "outcome_constraints": ["validation_sharpe >= 0"]}
SMALL = {"days": 240, "measures": ["drawdown"]}


@pytest.fixture(scope="module")
def task():
    return problems.build("momentum-pool", **SMALL)


def evaluated(task, *arms):
    keys = arm_keys(0, [(i, 0) for i in range(len(arms))])
    reports = task.progress(task.advance(task.begin(arms, keys)))
    return [{name: mean for name, (mean, _) in report.outputs.items()} for report in reports]


def test_outputs_are_the_measures_of_every_window(task):
    assert task.outputs == (
        "train_sharpe",
        "validation_sharpe",
        "test_sharpe",
        "train_drawdown",
        "validation_drawdown",
        "test_drawdown",
    )
    one, other = evaluated(
        task, {"memory_days": 5.0, "k_per_day": 0.5}, {"memory_days": 90.0, "k_per_day": 0.5}
    )
    assert all(np.isfinite(value) for value in one.values())
    assert all(one[name] != other[name] for name in task.outputs)


def test_memory_and_strength_are_searched_on_their_own_scales(task):
    memory, strength = task.space.parameters
    assert (memory.name, memory.bijector) == ("memory_days", MemoryDecay(1440.0))
    assert (strength.name, strength.bijector) == ("k_per_day", Log2())
    assert memory.log_scale
    assert strength.log_scale
    hourly = problems.build("momentum-pool", chunk_period=2880, **SMALL)
    assert hourly.space.parameters[0].bijector == MemoryDecay(2880.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assets", "dimension"), [(4, 8), pytest.param(20, 40, marks=pytest.mark.slow)]
)
def test_every_asset_may_have_parameters_of_its_own(assets, dimension):
    task = problems.build("momentum-pool", assets=assets, per_asset=True, days=60)
    assert task.space.dimension == dimension
    assert "memory_days_asset_4" in task.space.names
    common = problems.build("momentum-pool", assets=assets, days=60)
    both = {"memory_days": 12.0, "k_per_day": 3.0}
    each = {name: both[name.rsplit("_asset", 1)[0]] for name in task.space.names}
    assert evaluated(task, each)[0] == pytest.approx(evaluated(common, both)[0], rel=1e-9)


def test_neither_goal_nor_constraint_knows_the_test_window():
    for name in ("momentum-pool", "momentum-pool-training"):
        problem = problems.get(name)
        assert problem.objective == GOAL["objective"]
        assert list(problem.outcome_constraints) == GOAL["outcome_constraints"]
    path = Path(__file__).parents[2] / "notebooks" / "momentum-pool.toml"
    settings = read_settings(path)
    assert settings.objective == GOAL["objective"]
    assert list(settings.outcome_constraints) == GOAL["outcome_constraints"]


def test_tasks_are_equal_by_their_market_and_options(task):
    again = problems.build("momentum-pool", **SMALL)
    assert task == again
    assert task_identity(task) == task_identity(again)
    other = problems.build("momentum-pool", seed=1, **SMALL)
    assert task != other
    assert task_identity(task).digest != task_identity(other).digest


def test_own_prices_are_read_from_a_file(tmp_path):
    prices = problems.build("momentum-pool", **SMALL).evaluator.fn.market.prices
    path = tmp_path / "prices.csv"
    path.write_text("a,b,c\n" + "\n".join(",".join(map(repr, row)) for row in prices.tolist()))
    own = problems.build("momentum-pool", market=str(path), assets=["c", "a"], days_per_year=252)
    market = own.evaluator.fn.market
    assert (market.assets, market.days_per_year) == (("c", "a"), 252)
    np.testing.assert_array_equal(market.prices, prices[:, [2, 0]])
    assert own.evaluator.fn.windows.test == (192, 240)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"assets": ["a", "b"]}, "give the number of assets of a synthetic market"),
        ({"market": "stocks", "assets": 3}, "name those of 'stocks' in a list"),
        ({"measures": ["sharp"]}, "measures has 'sharp'"),
        ({"train": "half"}, "train is 'half'"),
        ({"per_asset": 1}, "per_asset is 1"),
        ({"train": 0.8, "validation": 0.3}, "leave something for the test window"),
        ({"day": 3}, "no option 'day'; .* Did you mean 'days'"),
    ],
)
def test_options_that_cannot_be_used(options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        problems.build("momentum-pool", **options)


def campaign_of(name, task, store, *, trials):
    return Campaign(
        name, task, store=store, trials=trials, batch_size=3, generation="sobol", **GOAL
    )


def test_a_campaign_resumes_and_reports_all_windows_side_by_side(task, tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/pools.db")
    whole = campaign_of("whole", task, store, trials=12).run(progress=False)
    campaign_of("parts", task, store, trials=12).run(trials=6, progress=False)
    parts = Campaign.load("parts", store=store).run(trials=12, progress=False)
    assert parts.to_frame().equals(whole.to_frame())

    text = whole.report(tmp_path / "report.html").read_text()
    best = whole.best()
    assert best.outputs["validation_sharpe"] >= 0
    (found,) = re.findall(r"<th[^>]*>measure</th>.*?</table>", text, flags=re.S)
    heads = re.findall(r"<th[^>]*>(\w+)</th>", "<th>" + found)
    assert heads == ["measure", "train", "validation", "test"]
    for measure in ("sharpe", "drawdown"):
        row = [f"{best.outputs[f'{w}_{measure}']:.6g}" for w in ("train", "validation", "test")]
        assert re.search(measure + ".*?" + ".*?".join(map(re.escape, row)), found, flags=re.S)

    search = read_search(whole, **GOAL)
    frame = whole.to_frame()
    good = frame[frame["validation_sharpe"] >= 0]["train_sharpe"].cummax().drop_duplicates()
    np.testing.assert_array_equal(search.best[:-1], good)
    np.testing.assert_array_equal(search.evaluations[:-1], good.index + 1)
    assert search.total == 12


def test_a_search_of_which_nothing_is_feasible_is_empty(task, tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/pools.db")
    campaign = campaign_of("few", task, store, trials=3).run(progress=False)
    goal = {**GOAL, "outcome_constraints": ["validation_sharpe >= 1000"]}
    search = read_search(campaign, **goal)
    assert (len(search.best), search.total) == (0, 3)
    (trace,) = comparison_figure({"few": campaign}, **goal).data
    assert trace.name == "few (nothing feasible), 3 evaluations"
    with pytest.raises(ConfigurationError, match="train_sharp"):
        read_search(campaign, objective="train_sharp")


@pytest.mark.slow
def test_four_ways_to_search_one_pool_stand_in_one_store_and_one_picture(tmp_path):
    task = problems.build("momentum-pool", **SMALL)
    store = Store.open(f"sqlite:///{tmp_path}/pools.db")
    bayes = Campaign("bayes", task, store=store, trials=9, batch_size=3, **GOAL).run(progress=False)
    grid = Campaign("grid", task, store=store, **GOAL)
    for memory in (3.0, 30.0, 150.0):
        for k in (0.01, 0.3):
            grid.attach({"memory_days": memory, "k_per_day": k})
    grid.run(trials=6, progress=False)
    trained = Campaign(
        "trained",
        problems.build(
            "momentum-pool-training", steps=6, steps_per_slice=3, sets=2, together=2, **SMALL
        ),
        store=store,
        trials=2,
        batch_size=2,
        **GOAL,
    ).run(progress=False)

    backtest = task.evaluator.fn
    sound = Constraint("validation.sharpe", lower=-1.0)
    good = bayes.to_frame().sort_values("validation_sharpe").iloc[-1]
    walk = RandomWalk(FeatureEvaluator(backtest, backtest.space), [sound], n_iterations=1)
    walks = RandomWalkTask(
        walk,
        seed_points=[{name: good[name] for name in task.space.names}],
        evaluations=160,
        particles=4,
        slices=2,
    )
    walked = Campaign(
        "walked", walks, store=store, trials=1, objective="log10_jump_ess_per_1000"
    ).run(progress=False)

    searches = {"BO": bayes, "grid": grid, "gradients": trained, "random walk": walked}
    figure = comparison_figure(searches, task=task, **GOAL)
    assert len(figure.data) == 4
    totals = [int(re.findall(r"(\d+) evaluations", trace.name)[0]) for trace in figure.data]
    assert totals == [9, 6, 24, 160]
    for trace, name in zip(figure.data, searches, strict=True):
        found = [value for value in trace.y if value is not None]
        assert trace.name.startswith(name)
        assert found == sorted(found)
    # What a walk found is computed from its states.
    search = read_search(walked, task=task, **GOAL)
    assert len(search.best) > 0
    with pytest.raises(ConfigurationError, match="give the FeatureTask that computes them"):
        read_search(walked, **GOAL)
