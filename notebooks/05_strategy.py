# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A trading strategy, searched in four ways
#
# A **momentum pool** holds several assets and moves its money towards those that have been rising.
# Two numbers say how: the memory, in days, over which it looks back, and the strength with which it
# follows. We look for the pair with the best Sharpe ratio on the first part of a history of prices,
# demand that it does not lose on the second, and hear once, at the end, what happened on the third.
#
# Whoever tries many parameters on one history finds some that fit it by chance. So this page is as
# much about keeping count as about searching: a grid, Bayesian optimisation, gradient training and
# a random walk search the same pool, stand in one database, and are compared by what they found for
# how many evaluations. It runs in a minute or two. The prices are made up; nothing here is advice.

# %%
import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots

from ax_jax_runners import Campaign, RandomWalkTask, Store, problems
from ax_jax_runners.campaign.comparison import comparison_figure
from ax_jax_runners.errors import UnknownMetric
from ax_jax_runners.evaluation import Constraint
from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.parameters import (
    Logarithmic,
    fixed_point,
    fixed_point_simplex,
    plot_heat_map,
    product_design,
)
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.store import Selection
from ax_jax_runners.strategies import PoolBacktest, Windows, momentum_pool, synthetic_market

# Ax and GPyTorch warn of their own inner matters.
warnings.filterwarnings("ignore", module=r"(ax|gpytorch|linear_operator)\.")

# Everything lands here; for a campaign of your own, take a folder that stays.
folder = Path(tempfile.mkdtemp(prefix="pools-"))

# %% [markdown]
# ## Prices, in three parts
#
# Three assets for three years, a price a day. Each follows a random walk whose drift changes its
# sign now and then, after 120 days on average: there are trends in this market, because we put them
# there. The **train** window is what the search sees. A pool must also pass the **validation**
# window, which follows it. The **test** window is for the report.

# %%
market = synthetic_market(assets=3, days=1099, seed=0)
windows = Windows.split(len(market.prices), train=0.6, validation=0.2)

LAYOUT = {
    "template": "plotly_white",
    "width": 900,
    "margin": {"l": 70, "r": 20, "t": 70, "b": 55},
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
}
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#4D4D4D"
ASSET_COLORS = ("#56B4E9", "#E69F00", "#CC79A7")


def mark_windows(figure, until):
    """Shade the validation window and name all that are shown."""
    for name, (first, last) in windows.items():
        if first < until:
            shade = 0.10 if name == "validation" else 0.0
            figure.add_vrect(
                x0=first,
                x1=last,
                line_width=0,
                fillcolor=GREY,
                opacity=shade,
                row=1,
                annotation={"text": name, "font": {"color": GREY}},
                annotation_position="inside top left",
            )


figure = make_subplots(1, 1)
known = windows.validation[1]
for asset, color, price in zip(market.assets, ASSET_COLORS, market.prices.T, strict=True):
    figure.add_scatter(y=price[:known], name=asset, line={"color": color, "width": 1.5})
mark_windows(figure, len(market.prices))
figure.add_annotation(
    text="kept for the end",
    font={"color": GREY},
    x=(known + len(market.prices)) / 2,
    y=0.5,
    yref="paper",
    showarrow=False,
)
figure.update_layout(**LAYOUT, height=340, title="Prices", xaxis_title="day")
figure.update_yaxes(title="price", type="log", dtick=0.30103)
figure

# %% [markdown]
# ## The pool
#
# Every day the pool computes, for each asset, how fast its price grows relative to its own moving
# average, and moves weights from those that grow less to those that grow more. No weight falls
# below a tenth of an equal share, none changes by more than 0.03 a day, and a decision comes into
# force a day later, so that no day's weights know that day's price. Others trade with the pool
# until its holdings have these weights, and earn what it costs to move them; with weights $w$ and
# prices $p$ the value $V$ obeys exactly
#
# $$\ln\frac{V_{t+1}}{V_t} = w_t \cdot \ln\frac{p_{t+1}}{p_t} - \sum_i w_{t+1,i}
#   \ln\frac{w_{t+1,i}}{w_{t,i}}.$$
#
# The last term is that cost. There are no fees here. A pair of parameters, by guess:

# %%
guess = {"memory_days": 20.0, "k_per_day": 0.1}
RULES = {
    "chunk_period": 1440,  # minutes between two decisions
    "weight_interpolation_period": 1440,  # minutes in which the weights move after one
    "maximum_change": 0.03,
    "minimum_weight": 0.1 / 3,
}
path = momentum_pool(market.prices, **guess, **RULES)

w, returns = path.weights, np.diff(np.log(market.prices), axis=0)
cost = (w[1:] * np.log(w[1:] / w[:-1])).sum(axis=1)
growth = (w[:-1] * returns).sum(axis=1) - cost
exact = np.allclose(path.value[1:], np.exp(np.cumsum(growth)), rtol=1e-12)
print(f"the value follows the formula: {exact}")

future = market.prices.copy()
future[500:] = future[500:][::-1]  # other prices from day 500 on
other = momentum_pool(future, **guess, **RULES)
same_past = np.array_equal(other.weights[:501], path.weights[:501])
print(f"up to day 500 the weights know nothing of the prices after it: {same_past}")

# %%
held = (market.prices / market.prices[0]).mean(axis=1)  # a third in each, never touched


def draw_pool(path, title, *, until):
    """Value of a pool beside what was held, and its weights, up to a day."""
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.08)
    for label, value, color, dash in (
        ("pool", path.value, BLUE, "solid"),
        ("a third in each, held", held, GREY, "dot"),
    ):
        line = {"color": color, "dash": dash, "width": 2}
        figure.add_scatter(y=value[:until], name=label, line=line, row=1, col=1)
    for asset, color, share in zip(market.assets, ASSET_COLORS, path.weights.T, strict=True):
        figure.add_scatter(
            y=share[:until],
            name=asset,
            stackgroup="weights",
            line={"width": 0.5, "color": color},
            row=2,
            col=1,
        )
    mark_windows(figure, until)
    figure.update_yaxes(title="value", type="log", dtick=0.30103, row=1)
    figure.update_yaxes(title="weights", range=[0, 1], row=2)
    figure.update_xaxes(title="day", row=2)
    figure.update_layout(**LAYOUT, height=480, title=title)
    return figure


draw_pool(path, "A pool by guess", until=known)

# %% [markdown]
# ## Parameters that carry a bijector
#
# A `PoolBacktest` is such a pool with everything decided but memory and strength: a JAX function
# from named parameters to measures by window. The parameters know two scales. People, Ax and the
# database see days; inside, the moving average has a decay $\lambda$ a day, and random walks and
# gradients move its logit, which may be any real number, so that no step leads out of what is
# possible. `MemoryDecay` maps one to the other, without cancellation where $\lambda$ is nearly 1.

# %%
backtest = PoolBacktest(market, windows)
memory, strength = backtest.space.parameters
days = np.array([1.0, 10.0, 100.0, 365.0])
raw = memory.bijector.to_raw(days)
print(memory.bijector, strength.bijector, sep=", ")
pd.DataFrame(
    {
        "memory_days": days,
        "decay a day": 1 / (1 + np.exp(-raw)),
        "raw": raw,
        "back again": memory.bijector.to_value(raw),
    }
).round(6)

# %% [markdown]
# This very pool is built in, as the problem `momentum-pool`. The option `per_asset=True` gives each
# asset a memory and a strength of its own, `market="prices.csv"` takes your prices, and
# `market="stocks"` those of the S&P 500 that come with [skfolio](https://skfolio.org).

# %%
task = problems.build("momentum-pool")
assert task.evaluator.fn == backtest
print(f"{len(task.outputs)} outputs, among them {', '.join(task.outputs[:3])}")

# %% [markdown]
# Objective and constraint are outputs by name. `test_sharpe` is computed and stored with the
# others, and neither of the two mentions it: to choose by the test window would make it another
# train window.

# %%
GOAL = {"objective": "train_sharpe", "outcome_constraints": ["validation_sharpe >= 0"]}
store = Store.open(f"sqlite:///{folder / 'pools.db'}")

# %% [markdown]
# ## A grid
#
# A design is a list of points that is fixed before anything is computed: a product of axes here, or
# Sobol points or a Latin hypercube. Attached to a campaign, each point becomes a trial; points that
# are there already are left out.

# %%
design = product_design(
    {"memory_days": Logarithmic(1, 365, 17), "k_per_day": Logarithmic(1 / 256, 256, 17)}
)
grid = Campaign("grid", task, store=store, batch_size=64, **GOAL)
attached = grid.attach_design(design)
grid.run(trials=len(attached), progress=False)
cells = grid.to_frame()
plot_heat_map(design, cells["train_sharpe"], value="train Sharpe")

# %% [markdown]
# At the bottom the pool hardly moves. At the top it is thrown from one asset into another at every
# change of direction: disastrous with a memory of days, profitable with one of months. The best
# pools have memories of two to four months and a strength between. Cells of pools that lose in the
# validation window are blank here:

# %%
sound = cells["train_sharpe"].where(cells["validation_sharpe"] >= 0)
print(f"{sound.notna().sum()} of {len(cells)} pools pass the validation")
plot_heat_map(design, sound, value="train Sharpe")

# %% [markdown]
# ### Again, for nothing
#
# What stands in the database is not computed again, whichever campaign asks, as long as it is the
# same computation (the program, the prices and the versions are part of what is compared) at the
# same parameters. The same grid under another name:

# %%
again = Campaign("grid-again", task, store=store, batch_size=64, **GOAL)
again.attach_design(design)
again.run(trials=len(design), progress=False)

outcomes = [decode_outcomes(trial.run_metadata) for trial in again.experiment.trials.values()]
reused = [each.cached for arms in outcomes for each in arms.values() if each.cached]
print(f"{len(reused)} of {len(design)} reused, the first from {reused[0]}")
same = again.to_frame().equals(cells)
print(f"the same table: {same}")

# %% [markdown]
# For a pool of a tenth of a millisecond, that saves nothing. For a simulation of an hour, it saves
# the afternoon in which a script was run twice. `run(cache=False)` computes all anew.
#
# ## Bayesian optimisation
#
# Two parameters can be laid out on a grid; eight cannot. Ax models the outputs with Gaussian
# processes and decides what to try next, with the constraint in mind. It sees both parameters on
# logarithmic scales, because their bijectors say so. Our guess is its first trial.

# %%
bayes = Campaign("bayes", task, store=store, batch_size=4, **GOAL)
bayes.attach(guess)
bayes.run(trials=32, progress=False)
columns = ["memory_days", "k_per_day", "train_sharpe", "validation_sharpe"]
bayes.to_frame()[columns].sort_values("train_sharpe", ascending=False).head(4).round(3)

# %% [markdown]
# ## Gradients
#
# The pool is differentiable, so it can be trained like a network. In `momentum-pool-training` a
# trial is a training: Adam follows the gradient of the train Sharpe in the raw coordinates, from
# four beginnings side by side, which are a starting point and shifted copies of it. What it
# reports is the best of all steps that passed the validation, which the gradient never sees. Ax
# chooses starting points and learning rates.

# %%
training = problems.build("momentum-pool-training", steps=50)
trained = Campaign("gradients", training, store=store, batch_size=4, **GOAL)
trained.run(trials=8, progress=False)
shown = ["memory_days", "k_per_day", "learning_rate", "best_memory_days", "best_k_per_day"]
trained.to_frame()[[*shown, "train_sharpe", "evaluations"]].round(3)

# %% [markdown]
# ## A random walk
#
# The fourth way does not look for the best pool. It asks which pools are good enough, here with a
# train Sharpe of at least 0.5 and a validation that does not lose, and walks through all of them
# from the guess. A trial is a walk, and its outputs say how well it explored; one arm is enough
# here ([the page on random walks](03_random_walk.ipynb) says more).

# %%
enough = [Constraint("train.sharpe", lower=0.5), Constraint("validation.sharpe", lower=0.0)]
walk = RandomWalk(task.evaluator, enough, n_iterations=1)  # an arm's budget decides how many
walks = RandomWalkTask(walk, seed_points=guess, evaluations=2048, particles=32, slices=4)
walked = Campaign("walk", walks, objective="log10_jump_ess_per_1000", store=store)
walked.attach(
    {"max_step_size": 0.3, "step_ratio": 0.5, "kernel": "reflect", "adapt": False, "seed_point": 0}
)
walked.run(trials=1, progress=False)

(outcome,) = decode_outcomes(walked.experiment.trials[0].run_metadata).values()
unit_states = store.files.read_arrays(outcome.artifacts["unit_states"])["unit_states"]
visited = walk.region.box.to_theta(unit_states.reshape(-1, 2))
print(f"{len(visited):,} states, acceptance {outcome.outputs['acceptance'][0]:.2f}")

# %%
figure = plot_heat_map(design, sound, value="train Sharpe")
tried, ends = bayes.to_frame(), trained.to_frame()
for name, x, y, marker in (
    ("random walk", *visited[::4].T, {"size": 3, "color": "#000000"}),
    ("BO", tried["memory_days"], tried["k_per_day"], {"size": 9, "color": "#56B4E9"}),
    (
        "gradients, ends",
        ends["best_memory_days"],
        ends["best_k_per_day"],
        {"size": 12, "color": VERMILION, "symbol": "diamond"},
    ),
):
    if name != "random walk":
        marker |= {"line": {"color": "#FFFFFF", "width": 1.5}}
    figure.add_scatter(x=x, y=y, name=name, mode="markers", marker=marker)
figure.update_layout(
    title={"text": "Where the searches went", "subtitle": {"text": "blank: validation Sharpe < 0"}},
    legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
)
figure

# %% [markdown]
# ## Which way is best?
#
# All four stand in one database. An evaluation is one pool simulated through the history. A
# training counts when it is over, with every step of each of its sets, and each of those costs a
# gradient besides. A walk counts every suggestion; what it found is computed from its states again.

# %%
searches = {"BO": bayes, "grid": grid, "gradients": trained, "random walk": walked}
comparison = comparison_figure(searches, task=task, **GOAL)
comparison

# %% [markdown]
# BO is there after some twenty evaluations; the grid has to come by the right corner first. It does
# not matter here, where 289 pools take seconds. It does where an evaluation takes an hour, or with
# eight parameters, where a grid as fine as this one has seven billion points. The walk comes upon
# good pools at once, because its steps are long and the region has two dimensions; it does not look
# for them, and in more dimensions hardly any state of a region is near its best.

# %% [markdown]
# ## Selection
#
# To choose is a query, and it says what it does. Candidates are all observations, checkpoints of
# trainings included; NaN never wins, ties go to the earliest, and where nothing keeps the
# conditions there is an error, unless one says what to do then.

# %%
best_sound = Selection("train_sharpe", subject_to=["validation_sharpe >= 0"])
chosen = {name: searches[name].select(best_sound) for name in ("BO", "grid", "gradients")}
for name, each in chosen.items():
    print(f"{name:10} trial {each.trial_index:3}, step {each.step}: {each.reason}")

# %%
try:
    bayes.select(Selection("train_sharp"))
except UnknownMetric as error:
    print(error)

# %% [markdown]
# ## The test window, once
#
# The choice is made, by train and validation. Now, and not before, we look at the third window.

# %%
winner = max(chosen, key=lambda name: chosen[name].metrics["train_sharpe"])
metrics = chosen[winner].metrics
arm = searches[winner].experiment.trials[chosen[winner].trial_index].arm
# A training's arm is where it began; where it came to is an output.
parameters = {n: metrics.get(f"best_{n}", arm.parameters[n]) for n in task.space.names}
print(f"{winner}: " + ", ".join(f"{name} {value:.4g}" for name, value in parameters.items()))

table = pd.DataFrame(
    {
        window: {name: metrics[f"{window}_{name}"] for name in backtest.measures}
        for window in ("train", "validation", "test")
    }
)
table.round(3)

# %%
for name, (first, last) in windows.items():
    error = 1 / math.sqrt((last - first) / 365)
    print(f"Sharpe ratio, {name:10} {table.loc['sharpe', name]:5.2f} ± {error:.2f}")

# %% [markdown]
# What counts is the "±". Over $T$ years the standard error of a yearly Sharpe ratio is about
# $1/\sqrt{T}$ (Lo 2002, Financial Analysts Journal 58, 36-52): two years of prices hardly tell a
# good pool from a mediocre one, and the differences between what the searches found are nothing.
# That the test came out above the train window is luck. And a Sharpe ratio is not all: within the
# train window this pool lost more than half of its value.

# %%
path = backtest.path(parameters)
draw_pool(path, "The chosen pool", until=len(market.prices))

# %% [markdown]
# All three windows of a campaign's best arm also stand side by side in its report,
# `bayes.report("pools.html")`.
#
# ## Export
#
# Contracts on a blockchain know no floating point, but integers in units of $10^{-18}$.
# `fixed_point` takes the exact binary value of a float and rounds once. Weights rounded one by one
# need not sum to 1; `fixed_point_simplex` gives the units that are missing to the largest
# remainders, so that they do.

# %%
exported = {name: fixed_point(value) for name, value in parameters.items()}
weights = fixed_point_simplex(path.weights[-1])
one_by_one = fixed_point(path.weights[-1])
for name, text in exported.items():
    print(f"{name:12} {text}")
for asset, text in zip(market.assets, weights, strict=True):
    print(f"{asset:12} {text}")
print(f"sum          {sum(map(int, weights))}; rounded one by one {sum(map(int, one_by_one))}")

# %% [markdown]
# ## What this is, and what it is not
#
# - **The market was made for it.** Trends that last for months are what a momentum pool lives on.
#   Where there are none, what a search finds is chance: try `synthetic_market(drift=0)`.
# - **No fees**, neither paid nor earned, and perfect arbitrage: the cost of moving the weights is
#   in, everything else that happens to a real pool is not.
# - **One history is one sample.** Another seed is another market. Repeat the search on several, and
#   with the windows elsewhere, before believing that a memory of so many days is a good one.
# - **The test window can be used up.** Whoever comes back to the search after having seen it has
#   made it a second validation window.
#
# The campaign of the command line, 60 trials of the same pool with a report at the end:
#
# ```
# ax-jax run notebooks/momentum-pool.toml --report momentum-pool.html
# ```
