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
# # A campaign: fitting a measured antenna
#
# A ring-shaped slot in a metal sheet, mounted across a rectangular waveguide, lets a band of
# millimetre waves through and reflects the rest. What comes back was measured from 75 to 110 GHz:
# 101 complex reflection coefficients, in a file that ships with
# [scikit-rf](https://scikit-rf.org). Four numbers describe the antenna. We look for those that
# explain the measurement, without gradients and with few trials: Ax decides what to try, JAX
# computes it, and an SQLite file remembers it.
#
# Here are 32 trials, to be quick. The command line runs the same model over wider ranges, with 60
# trials:
#
# ```
# ax-jax run notebooks/ring-slot.toml --report ring-slot.html
# ```

# %%
import tempfile
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    problems,
)

# Ax and GPyTorch warn of their own inner matters.
warnings.filterwarnings("ignore", module=r"(ax|gpytorch)\.")

# Everything lands here; for a campaign of your own, take a folder that stays.
folder = Path(tempfile.mkdtemp(prefix="ring-slot-"))

# %% [markdown]
# ## The measurement
#
# The problem is built in, with its data. The reflection coefficient is a complex number for each
# frequency; its magnitude is usually shown in decibels. The dip near 86 GHz is where the slot
# resonates and lets the wave pass.

# %%
built_in = problems.build("ring-slot")
(curve,) = problems.measured(built_in)
frequency, measured = curve.x, curve.values  # GHz; complex
print(f"{len(frequency)} points from {frequency[0]:g} to {frequency[-1]:g} GHz")


# %%
def decibels(s11):
    return 20 * np.log10(np.abs(s11))


def draw_reflection(*curves):
    """Magnitude over frequency, and the path in the complex plane, of (name, s11, style)."""
    figure = make_subplots(
        1, 2, column_widths=[0.6, 0.4], subplot_titles=["Magnitude", "Complex plane"]
    )
    for name, s11, style in curves:
        style = {"name": name, "legendgroup": name, **style}
        figure.add_scatter(x=frequency, y=decibels(s11), row=1, col=1, **style)
        figure.add_scatter(x=s11.real, y=s11.imag, showlegend=False, row=1, col=2, **style)
    figure.update_xaxes(title="frequency [GHz]", row=1, col=1)
    figure.update_yaxes(title="|s11| [dB]", row=1, col=1)
    figure.update_xaxes(title="real part", row=1, col=2)
    figure.update_yaxes(title="imaginary part", scaleanchor="x2", row=1, col=2)
    figure.update_layout(
        template="plotly_white",
        width=900,
        height=400,
        margin={"l": 60, "r": 20, "t": 70, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.22},
    )
    return figure


DOTS = {"mode": "markers", "marker": {"size": 5, "color": "#8a97a6"}}
draw_reflection(("measured", measured, DOTS))

# %% [markdown]
# ## The model: a plain JAX function
#
# Near its resonance the slot is a lossy resonator across the guide, seen through a short piece of
# guide. Its admittance, relative to that of the guide, is
#
# $$y(f) = g + \mathrm{j}\,b\left(\frac{f}{f_0} - \frac{f_0}{f}\right) + 1, \qquad
#   s_{11} = \frac{1 - y}{1 + y}\,\mathrm{e}^{-2\mathrm{j}\beta(f)\,l_1}$$
#
# with the resonance $f_0$ [GHz], its sharpness $b$, the loss $g$, the length $l_1$ [mm] and the
# guide's propagation constant $\beta$. The built-in problem is this model. Writing it yourself
# takes a function of named parameters that returns named arrays:

# %%
SPEED_OF_LIGHT = 299.792458  # mm GHz
CUTOFF = SPEED_OF_LIGHT / (2 * 2.54)  # GHz; the guide is 2.54 mm wide
beta = 2 * np.pi * np.sqrt(frequency**2 - CUTOFF**2) / SPEED_OF_LIGHT  # rad/mm


def ring_slot(p):
    ratio = frequency / p["f0"]
    y = p["g"] + 1j * p["b"] * (ratio - 1 / ratio) + 1
    return {"s11": (1 - y) / (1 + y) * jnp.exp(-2j * beta * p["l1"])}


# %% [markdown]
# Parameters have priors, and what we know goes there: the dip says where the resonance is. A prior
# is any numpyro distribution; bounds truncate it, and bounds alone mean a uniform prior. Where a
# prior has no bounds, Ax searches between its 1 % and 99 % quantiles.

# %%
space = ParameterSpace(
    [
        Parameter("f0", dist.Normal(86, 2)),
        Parameter("b", dist.LogNormal(jnp.log(4.0), 0.5)),
        Parameter("g", lower=0.0, upper=1.0),
        Parameter("l1", lower=0.0, upper=1.0),
    ]
)
for parameter in space.parameters:
    print(f"{parameter.name:3} from {parameter.lower:6.2f} to {parameter.upper:6.2f}")

# %% [markdown]
# A task says what one trial computes: features, and scalar outputs of the features. Here they are
# the logarithm of the mean squared distance from the measurement, and the largest distance.


# %%
def distance(features):
    return jnp.abs(features["s11"] - measured)


task = FeatureTask(
    FeatureEvaluator(ring_slot, space),
    outputs={
        "log10_cost": lambda features: jnp.log10(jnp.mean(distance(features) ** 2)),
        "worst": lambda features: jnp.max(distance(features)),
    },
)

# %% [markdown]
# That is all. The evaluator compiles the function once, for batches of any size, in float64. It
# computes what the built-in model computes:

# %%
guess = {"f0": 88.0, "b": 3.0, "g": 0.2, "l1": 0.4}
theta = space.pack(guess)  # a vector, in the order of space.names
own, theirs = (t.evaluator.model_features(theta)["s11"] for t in (task, built_in))
np.testing.assert_allclose(own, theirs, rtol=1e-9)
print(f"{task.outputs} of {space.names}")

# %% [markdown]
# ## Run
#
# A campaign is a task, an objective and a store. Objectives are maximised, hence the minus sign.
# Your own guess can be the first trial.

# %%
store = f"sqlite:///{folder / 'campaigns.db'}"
campaign = Campaign("ring-slot", task, objective="-log10_cost", store=store, seed=0)
campaign.attach(guess)
campaign.run(trials=16)
campaign.to_frame().tail(3)

# %% [markdown]
# ## Stop and go on
#
# Every batch of trials is in the database before the next one begins. A run can end at any moment,
# by Ctrl-C, by `ax-jax stop` from another terminal or by a power cut, and goes on from there. Here
# we drop the campaign and load it. Our function has to be given again, because a database holds no
# code; for a built-in problem the name alone is enough. The number of trials is the total, so this
# runs 16 more.

# %%
del campaign
campaign = Campaign.load("ring-slot", task, store=store)
campaign.run(trials=32)
frame = campaign.to_frame()
frame["trial_status"].value_counts()

# %%
best = campaign.best()
for name, value in {**best.parameters, **best.outputs}.items():
    print(f"{name:10} {value:9.4f}")
print(f"found by trial {best.trial_index}")

# %% [markdown]
# ## Look at it
#
# The first trials are spread evenly over the box; then a Gaussian process, fitted to what is known,
# proposes what to try.

# %%
cost = 10 ** frame["log10_cost"]
figure = go.Figure()
figure.add_scatter(x=frame["trial_index"], y=cost, name="a trial", **DOTS)
figure.add_scatter(
    x=frame["trial_index"],
    y=cost.cummin(),
    name="best so far",
    line={"color": "#2f7ed8", "shape": "hv", "width": 2.5},
)
figure.update_layout(
    template="plotly_white",
    width=900,
    height=350,
    margin={"l": 60, "r": 20, "t": 50, "b": 50},
    legend={"orientation": "h", "x": 0, "y": 1.14},
    xaxis_title="trial",
    yaxis={"title": "mean squared distance", "type": "log", "dtick": 1},
)
figure

# %%
fitted = np.asarray(task.evaluator.model_features(space.pack(best.parameters))["s11"])
draw_reflection(
    ("measured", measured, DOTS),
    ("your guess", np.asarray(own), {"line": {"color": "#e8a06a", "dash": "dot"}}),
    ("fitted", fitted, {"line": {"color": "#2f7ed8", "width": 2.5}}),
)

# %% [markdown]
# A report is one HTML file that needs no network: send it to a colleague. To have the measured
# curve drawn beside the fitted one, name it on the function.

# %%
ring_slot.measured = (curve,)
report = campaign.report(folder / "ring-slot.html")
print(f"{report.name}: {report.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Ax's own analyses
#
# `campaign.client()` is an Ax `Client` on the same database, with everything that Ax can say about
# an experiment. How well does its model predict trials that it has not seen?

# %%
from ax.analysis.plotly.cross_validation import CrossValidationPlot

analysis = CrossValidationPlot(metric_names=["log10_cost"])
(cards,) = campaign.client().compute_analyses([analysis], display=False)
cards.flatten()[0].get_figure()

# %% [markdown]
# ## A plain Ax loop
#
# The runner and the metric also work without a campaign. Here the same runner is driven by Ax's own
# `Orchestrator` with Ax's own storage; `registry_bundle` tells that storage about our classes and
# your task. What `Campaign` adds are the exact record in one transaction a step, the lease that
# keeps two processes apart, and reports.

# %%
from ax.adapter.registry import Generators
from ax.core.experiment import Experiment
from ax.core.objective import Objective
from ax.core.optimization_config import OptimizationConfig
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions
from ax.storage.sqa_store import db
from ax.storage.sqa_store.structs import DBSettings

from ax_jax_runners import registry_bundle
from ax_jax_runners.metrics import OutputMetric

runner = campaign.experiment.runner
url = f"sqlite:///{folder / 'plain.db'}"
db.init_engine_and_session_factory(url=url, force_init=True)
db.create_all_tables(db.get_engine())
bundle = registry_bundle(tasks=[task])
settings = DBSettings(url=url, encoder=bundle.encoder, decoder=bundle.decoder)

experiment = Experiment(
    name="plain",
    search_space=space.to_ax(),
    optimization_config=OptimizationConfig(
        Objective(expression="-log10_cost", metric_name_to_signature={"log10_cost": "log10_cost"})
    ),
    metrics=[OutputMetric("log10_cost"), OutputMetric("worst")],
    runner=runner,
)
sobol = GenerationStep(generator=Generators.SOBOL, num_trials=-1, generator_kwargs={"seed": 0})
options = OrchestratorOptions(
    run_trials_in_batches=True,  # one compiled call for a batch of trials
    max_pending_trials=8,
    min_seconds_before_poll=0,  # results are there at once: do not wait
    init_seconds_between_polls=0,
)
loop = Orchestrator(
    experiment,
    GenerationStrategy(name="sobol", nodes=[sobol]),
    options,
    db_settings=settings,
)
loop.run_n_trials(8)

# %% [markdown]
# Loaded from Ax's tables, the experiment has its runner, with the task, and goes on:

# %%
again = Orchestrator.from_stored_experiment("plain", options, db_settings=settings)
assert again.experiment.runner == runner
again.run_n_trials(8)
again.experiment.to_df()[["trial_index", "trial_status", *space.names, "log10_cost"]].tail(3)

# %% [markdown]
# Next: [write your own task, runner or metric](extending.md).
