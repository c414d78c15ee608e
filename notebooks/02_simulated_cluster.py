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
# # A month of a cluster in seconds
#
# Trials of a real campaign take hours on a cluster, and how they are submitted decides what a month
# of it is worth. Should a new trial start whenever a slot is free, or should 64 go out together?
# Does a model that learns make up for fewer slots? `SimulatedBackendJaxRunner` answers before a
# single hour is spent. The results are real: JAX computes every trial. Only the time is virtual:
# the clock jumps from event to event, and nothing waits.

# %%
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import plotly.graph_objects as go

from ax_jax_runners import Campaign, SimulatedBackendJaxRunner, problems

# Ax and GPyTorch warn of their own inner matters.
warnings.filterwarnings("ignore", module=r"(ax|gpytorch)\.")

# Everything lands here; for a campaign of your own, take a folder that stays.
folder = Path(tempfile.mkdtemp(prefix="simulated-cluster-"))
store = f"sqlite:///{folder / 'campaigns.db'}"

# %% [markdown]
# ## The problem and the cluster
#
# The task is a test function with a known minimum, -3.32, in six parameters. Yours may be any task:
# the cluster knows nothing of it but how long it runs. Here a trial runs about four days, some of
# them twice as long; one in twenty is lost to the cluster, somewhere on its way. Times are in
# seconds, from 0 for every experiment.

# %%
HOUR, DAY = 3600.0, 86400.0
task = problems.build("hartmann6")
runtime = dist.LogNormal(np.log(100 * HOUR), 0.5)


def simulate(name, *, slots, runtime=runtime, **options):
    """A campaign on a cluster; it keeps every slot busy."""
    runner = SimulatedBackendJaxRunner(
        task, max_concurrency=slots, runtime=runtime, failure_rate=0.05
    )
    options = {"generation": "sobol", "batch_size": slots, **options}
    return Campaign(name, runner=runner, objective="-value", store=store, **options)


def timeline(campaign):
    """When each trial was queued, started and ended, in days."""
    frame = campaign.experiment.runner.timeline(campaign.experiment)
    times = ["queued", "started", "ended", "runtime"]
    frame[times] = frame[times] / DAY
    return frame


# %% [markdown]
# ## 64 slots, a new trial whenever one is free
#
# 300 quasi-random trials. `batch_size` is how many trials a campaign keeps in flight, so that none
# of the cluster's 64 slots stands empty.

# %%
free_slot = simulate("free-slot", slots=64).run(trials=300, progress=False)
schedule = timeline(free_slot)
schedule.head()

# %%
print(f"{schedule['ended'].max():.0f} days on the cluster, {len(schedule)} trials")
print(schedule["status"].value_counts().to_string())

# %% [markdown]
# Each bar is one trial, on the first slot that was free when it started.

# %%
COLOURS = {"COMPLETED": "#3b6ea5", "FAILED": "#c0504d"}
LAYOUT = {
    "template": "plotly_white",
    "width": 900,
    "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
}


def lanes(schedule):
    """The slot that each trial had."""
    free_from, found = [], []
    for start, end in zip(schedule["started"], schedule["ended"], strict=True):
        slot = next((i for i, time in enumerate(free_from) if time <= start), len(free_from))
        free_from[slot : slot + 1] = [end]
        found.append(slot)
    return found


def draw_bars(schedule, title):
    figure = go.Figure()
    schedule = schedule.sort_values("started").assign(slot=lambda frame: lanes(frame))
    for status, rows in schedule.groupby("status"):
        figure.add_bar(
            y=rows["slot"],
            x=rows["ended"] - rows["started"],
            base=rows["started"],
            orientation="h",
            width=0.9,
            name=status.lower(),
            customdata=rows["trial_index"],
            hovertemplate="trial %{customdata}: day %{base:.1f} to %{x:.1f}",
            marker={"color": COLOURS[status], "line": {"color": "white", "width": 0.5}},
        )
    figure.update_layout(**LAYOUT, title=title, height=480, barmode="overlay", xaxis_title="day")
    figure.update_yaxes(title="slot", autorange="reversed")
    return figure


draw_bars(schedule, "A new trial whenever a slot is free")

# %% [markdown]
# ## The same cluster in batches
#
# A script that submits 64 trials, waits for all of them, and submits the next 64 is easier to
# write. `run(trials=N)` returns when all N are done, which is just that.

# %%
batches = simulate("batches", slots=64)
for total in (64, 128):
    batches.run(trials=total, progress=False)
waiting = timeline(batches)
draw_bars(waiting, "Batches of 64")


# %% [markdown]
# The slowest trial of each batch holds up all the others. Utilisation is the share of slot time in
# which a trial runs; at the end of any campaign slots run empty, which counts here too.


# %%
def utilisation(schedule, slots):
    busy = (schedule["ended"] - schedule["started"]).sum()
    return busy / (slots * schedule["ended"].max())


for name, rows in (("free slot", schedule), ("batches", waiting)):
    days = rows["ended"].max()
    print(
        f"{name}: {len(rows)} trials in {days:.0f} days, {len(rows) / days:.1f} a day, "
        f"{utilisation(rows, 64):.0%} busy"
    )


# %% [markdown]
# ## Few slots and a model
#
# Random trials learn nothing from each other. Here are eight slots, an eighth of the cluster, with
# BoTorch's Gaussian process choosing each next trial from what is known when a slot becomes free.
# The generation costs real time, so 40 trials are enough for a tutorial.

# %%
learning = simulate("model", slots=8, generation="fast").run(trials=40, progress=False)
learned = timeline(learning)
print(f"{len(learned)} trials in {learned['ended'].max():.0f} days")


# %% [markdown]
# The best value against the cluster's time is what to compare by: trials that are still running
# have told nothing yet.


# %%
def progress(campaign):
    """Time of every result, in days, and the best value until then."""
    rows = timeline(campaign).merge(campaign.to_frame()[["trial_index", "value"]])
    rows = rows[rows["status"] == "COMPLETED"].sort_values("ended")
    return rows["ended"].to_numpy(), rows["value"].cummin().to_numpy()


figure = go.Figure()
for name, campaign in (
    ("64 slots, Sobol, free slot", free_slot),
    ("64 slots, Sobol, batches", batches),
    ("8 slots, model, free slot", learning),
):
    days, best = progress(campaign)
    figure.add_scatter(x=days, y=best, name=name, line={"shape": "hv"})
figure.add_hline(y=-3.32237, line={"dash": "dot", "color": "#8a97a6"})
figure.update_layout(**LAYOUT, height=420, xaxis_title="day", yaxis_title="best value so far")
figure

# %% [markdown]
# On this problem an eighth of the slots with a model ends nearer the minimum (dotted) than all of
# them without. On yours it may be otherwise: put your task in, and look.
#
# ## Runtimes that depend on the parameters
#
# Often the interesting corner is the slow one. A runtime may be a function of the parameters (or
# recorded runtimes to replay, by trial index). A function is stored by its name, and must be given
# again when the campaign is loaded, as `functions=[...]`.


# %%
def slow_corner(p):
    """Seconds; ten times as long where x1 is 1 as where it is 0."""
    return 24 * HOUR * 10.0 ** p["x1"]


corner = simulate("slow-corner", slots=16, runtime=slow_corner).run(trials=48, progress=False)
rows = timeline(corner).merge(corner.to_frame()[["trial_index", "x1"]])
figure = go.Figure()
figure.add_scatter(x=rows["x1"], y=rows["runtime"], mode="markers", marker={"color": "#3b6ea5"})
figure.update_layout(**LAYOUT, height=320, xaxis_title="x1", yaxis_title="runtime [days]")
figure

# %% [markdown]
# ## Stopped and resumed
#
# Everything that the cluster needs is stored with the trials, and everything is drawn from the seed
# and the trial's index. So a campaign that is stopped, or killed, goes on as if nothing had
# happened: every trial has the same times and the same values, to the last bit.

# %%
stopped = simulate("stopped", slots=64).run(trials=300, progress=False, timeout=1.0)
begun = stopped.trials_begun
resumed = Campaign.load("stopped", store=store).run(trials=300, progress=False)
same = timeline(resumed).equals(schedule)
print(f"stopped after {begun} trials; the same schedule as the first campaign: {same}")
