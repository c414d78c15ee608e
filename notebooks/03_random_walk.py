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
# # From one neuron model to the space of all of them
#
# A neuron model is fitted to recordings, and a set of parameters comes out. Others would have done
# as well: very different conductances can give the same behaviour (Prinz, Bucher and Marder 2004,
# Nature Neuroscience 7, 1345-1352). Whoever knows only one of them cannot tell what the data say
# about the cell from what was an accident of the fit. So we go on from the one: random walks, from
# the neuron that we have, through all that behave alike.
#
# The model is a cortical cell of regular spiking (Pospischil et al. 2008, Biological Cybernetics
# 99, 427-441) with seven unknown parameters. This page runs in a minute or two; it is computed in
# float32, which is enough for measured tolerances.

# %%
import tempfile
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ax_jax_runners import (
    Campaign,
    FeatureTask,
    Parameter,
    ParameterSpace,
    RandomWalkTask,
)
from ax_jax_runners.exploration import RandomWalk, Region
from ax_jax_runners.exploration.diagnostics import (
    connected_components,
    ess_from_jumps,
    estimate_volume,
    explored_range,
)
from ax_jax_runners.exploration.plots import plot_pairs, plot_range, plot_violations
from ax_jax_runners.problems.neurons import HodgkinHuxley
from ax_jax_runners.problems.neurons.membrane import integrator, steady_state

# Ax and GPyTorch warn of their own inner matters.
warnings.filterwarnings("ignore", module=r"(ax|gpytorch)\.")

# Everything lands here; for an exploration of your own, take a folder that stays.
folder = Path(tempfile.mkdtemp(prefix="neurons-"))
store = f"sqlite:///{folder / 'campaigns.db'}"

# %% [markdown]
# ## The neuron, and what it must do
#
# Three steps of current, 1, 2 and 4 uA/cm², for 400 ms each: the cell fires once at most, then
# slowly, then fast and adapting. What counts are features of the voltage, each with a mean, a
# standard deviation and a number of standard deviations that is tolerated, or with bounds. How far
# the worst feature is outside, in units of its standard deviation, is the **violation**: a
# compatible neuron has one of at most 0. NaN is never compatible.

# %%
neuron = HodgkinHuxley()
evaluator = neuron.evaluator(dtype="float32")
region = Region(evaluator, neuron.constraints)
seed_point = neuron.seed_point

features = evaluator.model_features(evaluator.space.pack(seed_point))
targets = pd.DataFrame(
    {
        "target": [constraint.sentence.partition("' ")[2] for constraint in region.constraints],
        "our neuron": [float(features[constraint.feature]) for constraint in region.constraints],
        "violation": [float(each) for each in region.violation.each(features).values()],
    },
    index=[constraint.feature for constraint in region.constraints],
)
targets.round(2)

# %% [markdown]
# Voltages in mV, rates in Hz, the latency in ms; the number at the end of a name is the current.
# While it walks, the simulator measures features and keeps no trace. For a look we step the same
# membrane ourselves.

# %%
LAYOUT = {
    "template": "plotly_white",
    "width": 900,
    "margin": {"l": 70, "r": 20, "t": 60, "b": 55},
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
}
BLUE, VERMILION = "#0072B2", "#D55E00"
UNITS = {name: "mS/cm²" for name in ("gNa", "gKd", "gM", "gL")}
UNITS |= {"EL": "mV", "VT": "mV", "tau_max": "ms"}
LOG_SCALE = [p.name for p in evaluator.space.parameters if p.log_scale]

time = np.arange(0.0, 500.0, neuron.dt)  # ms; the current begins after 100 ms


@jax.jit
def trace(values, current):
    """Voltage [mV] over the time."""
    step = integrator(values, neuron.dt)

    def advance(state, current):
        state = step(state, current)
        return state, state.voltage

    stimulus = jnp.where(time < 100.0, 0.0, current)
    return jax.lax.scan(advance, steady_state(values, neuron.dt), stimulus)[1]


def draw_traces(rows):
    """Traces under each other, of (title, parameters, current)."""
    figure = make_subplots(
        len(rows),
        1,
        shared_xaxes=True,
        vertical_spacing=0.32 / len(rows),
        subplot_titles=[title for title, _, _ in rows],
    )
    for i, (_, values, current) in enumerate(rows, start=1):
        line = {"color": BLUE, "width": 1.1}
        # Every fourth of 10,000 points: enough for the eye.
        figure.add_scatter(x=time[::4], y=trace(values, current)[::4], line=line, row=i, col=1)
    figure.update_annotations(font={"size": 13}, x=0.0, xanchor="left")
    figure.update_yaxes(range=[-95, 60], dtick=50, title="mV")
    figure.update_xaxes(range=[0, 500], dtick=100)
    figure.update_xaxes(title="time [ms]", row=len(rows))
    figure.update_layout(**LAYOUT, height=120 * len(rows) + 120, showlegend=False)
    return figure


draw_traces([(f"{current:g} uA/cm²", seed_point, current) for current in neuron.currents])

# %% [markdown]
# ## How rare are such neurons?
#
# The search box is wide. Draw from it by chance, uniformly on the scale on which each parameter is
# searched (logarithmic for conductances but gM, and for tau_max), and count.

# %%
space = evaluator.space
pd.DataFrame(
    {
        "from": space.lower,
        "to": space.upper,
        "unit": [UNITS[name] for name in space.names],
        "scale": ["logarithmic" if name in LOG_SCALE else "linear" for name in space.names],
        "our neuron": space.pack(seed_point),
    },
    index=space.names,
)

# %%
DRAWS = 16_384
unit = np.random.default_rng(0).random((DRAWS, region.box.dimension))
violations = region.violations(region.box.to_theta(unit))
by_chance = unit[violations <= 0]
fraction = len(by_chance) / DRAWS
fraction_error = np.sqrt(fraction * (1 - fraction) / DRAWS)
print(f"{len(by_chance)} of {DRAWS:,} are compatible: ({1e3 * fraction:.2f} ± ", end="")
print(f"{1e3 * fraction_error:.2f}) in a thousand; one in {1 / fraction:,.0f}")

# %%
plot_violations(violations)

# %% [markdown]
# The blue bar left of 0 is hard to see: that is the point. Most cells of the heap near 40 do not
# fire. They are judged by how far their voltage stays below a spike's peak, so that the violation
# has a slope where a count of spikes would be flat. Far to the right are those that fire a few
# times in quick succession and are blocked then.
#
# ## Finding one
#
# We have a neuron to begin with. If we had none, we would look for one. The violation tells of the
# worst feature only; a model of the search learns more from all that are outside together, on a
# logarithmic scale, since we care for the last steps and not for the first. A `FeatureTask` reports
# both, and Ax spends 32 evaluations on it. (The built-in problem `neuron-find` minimises the
# violation itself.)


# %%
def misfit(features):
    """Logarithm of the sum of all that is outside."""
    each = region.violation.each(features).values()
    return jnp.log(0.1 + sum(jnp.maximum(value, 0.0) for value in each))


finder = Campaign(
    "find",
    FeatureTask(evaluator, outputs={"misfit": misfit, "violation": region.violation}),
    objective="-misfit",
    store=store,
    batch_size=4,
    seed=4,
)
finder.run(trials=32, progress=False)
nearest = finder.to_frame()["violation"].min()
typical = np.median(violations.reshape(-1, 32).min(axis=1))
print(f"lowest violation {nearest:.2f}: {'compatible' if nearest <= 0 else 'not compatible yet'}")
print(f"the best of 32 draws by chance, in the median: {typical:.2f}")

# %% [markdown]
# Another seed may need ten trials more, or only come near. With a model that takes minutes to
# evaluate, this is how one would look for a neuron. Ours takes a fraction of a millisecond, so that
# even chance finds some. What the best trial still violates:

# %%
print(region.explain(space.pack(finder.best().parameters)))

# %% [markdown]
# ## One walk, two laws
#
# A particle stands at a compatible neuron, looks at a random place nearby, goes there if that
# neuron is compatible too, and stays if it is not. Older explorations took steps up to 0.02 of the
# search box, and drew again where a step led out of the box: `kernel="redraw"`. By default
# `RandomWalk` tunes the size of its steps in a warm-up, with a law that visits every part of the
# region equally often. 64 particles each, all from our neuron, and the same number of evaluations:

# %%
PARTICLES, BUDGET = 64, 500
older = RandomWalk(
    evaluator, neuron.constraints, kernel="redraw", max_step_size=0.02, n_iterations=BUDGET
)
default = RandomWalk(evaluator, neuron.constraints, n_iterations=BUDGET - 200)  # + warm-up of 200
walks = {
    "older law": older.run(seed_point, particles=PARTICLES, progress=False),
    "default": default.run(
        seed_point, particles=PARTICLES, directory=folder / "walk", progress=False
    ),
}

# %%
table = pd.DataFrame(
    {
        name: {
            "largest step": result.particles_frame()["step"].mean(),
            "acceptance": result.diagnostics().acceptance[0],
            "worst R-hat": result.diagnostics().split_rhat.max(),
            "mean explored range": result.diagnostics().explored_range.mean(),
            "evaluations": result.evaluations,
        }
        for name, result in walks.items()
    }
)
table.round(3)

# %%
figure = go.Figure()
for (name, result), color in zip(walks.items(), (VERMILION, BLUE), strict=True):
    first = result.walk.warm_up_iterations
    ranges = explored_range(result.unit_states)
    for i, line in enumerate(ranges.T):
        figure.add_scatter(
            x=first + 1 + np.arange(len(line)),
            y=line,
            name=name,
            legendgroup=name,
            showlegend=i == 0,
            hovertext=region.box.names[i],
            line={"color": color, "width": 1.4, "shape": "hv"},
        )
figure.add_vrect(
    x0=0,
    x1=default.warm_up_iterations,
    line_width=0,
    fillcolor=BLUE,
    opacity=0.06,
    annotation={"text": "warm-up of the default, not recorded", "font": {"color": BLUE}},
    annotation_position="inside top",
)
figure.update_layout(**LAYOUT, height=400, xaxis_title="evaluations of a particle")
figure.update_layout(
    title="Explored range, one line a parameter",
    yaxis={"title": "range [share of the search box]", "range": [0, 1.02]},
)
figure

# %% [markdown]
# The older walk nearly always accepts, because it hardly moves: its particles are still near where
# they began. **Acceptance is no goal.** The default refuses two steps of three, and its particles
# have spread over twice the range. What tells is R-hat: the spread of all particles together over
# the spread of each alone. At 1 each particle has seen what all have seen; below 1.01 is what one
# should ask for (Vehtari et al. 2021, Bayesian Analysis 16, 667-718). Neither walk is there, and
# 300 recorded iterations are no exploration yet.
#
# ## A real exploration
#
# The second walk was given a directory, so it can go on. Killed or finished, run it again: it goes
# on from its last checkpoint with the same random numbers, and a larger `n_iterations` makes it
# longer.

# %%
walk = RandomWalk(evaluator, neuron.constraints, n_iterations=1000)
result = walk.run(seed_point, particles=PARTICLES, directory=folder / "walk", progress=False)
same = np.array_equal(result.states[: BUDGET - 200], walks["default"].states)
print(f"{result.states.shape[0]} iterations of {result.states.shape[1]} particles")
print(f"the first {BUDGET - 200} are those of before, to the last bit: {same}")

# %% [markdown]
# A row of the table is a neuron and the number of iterations that a particle stayed there:

# %%
frame = result.to_frame()
print(f"{len(frame):,} compatible neurons")
columns = ["particle", "iteration", "multiplicity", "violation", *space.names, "rate_4"]
frame[columns].tail(3).round(3)

# %%
diagnostics = result.diagnostics()
diagnostics.to_frame().round(2)

# %% [markdown]
# `bulk_ess` says how many independent draws the states are worth, `autocorrelation_time` how many
# iterations of one particle make one. While R-hat is well above 1, as here, both are too
# optimistic, and the cure is simple: more iterations in the same directory. For this page, we look
# at what we have.

# %%
states = result.states
plot_pairs(
    states,
    space.names,
    parameters=["gNa", "gKd", "gM", "gL", "VT"],
    seed_points=space.pack(seed_point)[None],
    log_scale=LOG_SCALE,
    units=UNITS,
)

# %% [markdown]
# One neuron has become a region, and the region has a shape: some parameters can take nearly any
# value that the box holds, but not independently of the others: what compensates each other shows
# as a narrow band. How the range grew:

# %%
plot_range(result.unit_states, region.box.names)

# %% [markdown]
# Jumps late in such a picture say that there is more to find. Here are our neuron and three that
# are far from it and from each other, under the strongest current:

# %%
rows = result.unit_states[500::25].reshape(-1, region.box.dimension)
chosen = [region.box.to_unit(space.pack(seed_point))]
while len(chosen) < 4:
    distances = np.min([np.linalg.norm(rows - row, axis=1) for row in chosen], axis=0)
    chosen.append(rows[np.argmax(distances)])
unlike = [space.unpack(row) for row in region.box.to_theta(np.array(chosen))]
pd.DataFrame(unlike, index=["our neuron", "A", "B", "C"]).round(3)

# %%
draw_traces([(name, p, 4.0) for name, p in zip(("our neuron", "A", "B", "C"), unlike, strict=True)])

# %% [markdown]
# ### Is that all of it?
#
# Three checks from outside the walk. First, the neurons that chance had found know nothing of our
# walk. Are they connected with our neuron, by paths on which every neuron is compatible? Where no
# path is found, there may be an island, which no walk from here would reach.

# %%
visited = result.unit_states[250::250, ::4].reshape(-1, region.box.dimension)
points = np.concatenate([chosen[:1], by_chance, visited])


def inside(unit):
    return region.inside(region.box.to_theta(unit))


components = connected_components(points[inside(points)], inside)
print(f"{len(components.labels)} neurons, {components.count} component(s)", end="; ")
print(f"{components.evaluations:,} neurons tested on the paths")

# %% [markdown]
# Second, the mean of each parameter over the walk, without its first half, should be that of the
# independent draws, within the error of these. Coordinates are those of the search box, 0 to 1.

# %%
error = by_chance.std(axis=0, ddof=1) / np.sqrt(len(by_chance))
means = pd.DataFrame(
    {
        "walk": result.unit_states[500:].mean(axis=(0, 1)),
        f"{len(by_chance)} by chance": by_chance.mean(axis=0),
        "standard error": error,
    },
    index=region.box.names,
)
means.round(3)

# %% [markdown]
# Third, the volume of the region by another method. Subset simulation goes in from the whole box
# level by level, and so can tell volumes of far less than a millionth, where chance finds nothing.

# %%
volume = estimate_volume(
    region.unit_violations(), region.box.dimension, evaluations=40_000, seed=1, target=0.3
)
print(f"{volume.method}: ({1e3 * volume.volume:.2f} ± {1e3 * volume.standard_error:.2f}) ‰")
print(f"by chance:         ({1e3 * fraction:.2f} ± {1e3 * fraction_error:.2f}) ‰")

# %% [markdown]
# ### Reading the files
#
# The walk's directory holds parquet files and a manifest with their digests; nothing but NumPy,
# Arrow or pandas is needed to read them, also while a walk goes on. For what does not fit in
# memory, an Arrow dataset; for arrays by iteration and particle, xarray.

# %%
import pyarrow.dataset as ds

from ax_jax_runners.exploration.archive import ArchiveView

view = ArchiveView.read(folder / "walk")
print([shard.name for shard in view.shards])
rich = view.dataset().to_table(columns=["gNa", "VT"], filter=ds.field("gNa") > 100.0)
print(f"{rich.num_rows:,} of {view.rows:,} neurons have a gNa above 100 mS/cm²")

# %%
chains = view.to_xarray()
chains[["gNa", "VT"]].quantile([0.05, 0.5, 0.95], dim=("iteration", "particle")).to_dataframe()

# %% [markdown]
# ## Which walk is best?
#
# An exploration of a detailed model can take weeks, so its settings are worth a search. This is
# what `RandomWalkTask` is for: a trial is a walk with a fixed number of evaluations, and an arm is
# its settings. As the walks are too short to mix, what is maximised is what their jumps promise:
# the independent draws per 1,000 evaluations of the parameter that moves least. The variance that
# this needs is taken from the points that we know by now. Eight trials of 64 times 100 evaluations:

# %%
settings = ParameterSpace(
    [
        Parameter("max_step_size", lower=0.01, upper=1.0, log_scale=True),
        Parameter("step_ratio", lower=0.0, upper=1.0),  # the smallest step, as a share of that
        Parameter("kernel", choices=["self_loop", "reflect"]),
        Parameter("adapt", fixed=False),
        Parameter("seed_point", fixed=0),
    ]
)
known = states[500::10].reshape(-1, space.dimension)
task = RandomWalkTask(
    walk,
    seed_points=seed_point,
    evaluations=6_400,
    slices=4,
    known_points=known,
    space=settings,
)
campaign = Campaign(
    "which-walk", task, objective="log10_jump_ess_per_1000", store=store, batch_size=4
)
campaign.run(trials=8, progress=False)
shown = ["max_step_size", "step_ratio", "kernel", "acceptance", "log10_jump_ess_per_1000"]
campaign.to_frame()[shown].sort_values(shown[-1], ascending=False).round(3)

# %% [markdown]
# The same measure for the walk by the older law:

# %%
variance = region.box.to_unit(known).var(axis=0)
draws, _ = ess_from_jumps(walks["older law"].unit_states, variance=variance)
per_1000 = 1000 * draws.min() / walks["older law"].evaluations
found = 10 ** campaign.best().outputs["log10_jump_ess_per_1000"]
print(f"older law {per_1000:.3f}, best arm {found:.2f} draws per 1,000 evaluations: ", end="")
print(f"{found / per_1000:.0f} times as many; chance alone: {1000 * fraction:.2f}")

# %% [markdown]
# The smallest steps are accepted most and get nowhere, the longest are hardly ever accepted; the
# best are in between. What is maximised is a promise, no measurement: where slow directions hide in
# no single parameter, R-hat of a long walk has the last word.
#
# Chance alone is not bad here, since one in a thousand is not rare. It becomes hopeless with every
# constraint and parameter that is added, as it pays for the volume; a walk does not.
#
# The longer campaign, 40 trials of 32,000 evaluations over all kernels, adaptation of the proposals
# to the region's shape, and three seed points, is
#
# ```
# ax-jax run notebooks/neuron-explore.toml
# ```
#
# ## What this is, and what it is not
#
# - The states are **uniform on the compatible part of the search box**, on the scale on which it is
#   searched, once the walk has forgotten its beginning. That is a statement on parameters that
#   satisfy the constraints, not a posterior: a neuron in the middle of all tolerances counts as one
#   at their edge, and another box or another scale gives other densities.
# - Densities, means and correlations need the **chain states**: each neuron as often as the walk
#   stayed there, `states`, or `to_frame()` weighted with `multiplicity`. The rows of the table
#   alone, each neuron once, answer "which are compatible"; in a mean they count those too little
#   from which few steps succeed:

# %%
shares = pd.DataFrame(
    {
        "rows alone": frame[list(space.names)].mean(),
        "weighted": np.average(frame[list(space.names)], axis=0, weights=frame["multiplicity"]),
        "states": states.mean(axis=(0, 1)),
    },
    index=space.names,
)
shares.round(3)

# %% [markdown]
# - A region of several **islands** is explored on the island of the seed point. More seed points,
#   from chance or from campaigns, are the remedy; connected components are the check.
# - **R-hat near 1** is necessary and not sufficient. Particles that all missed the same corner
#   agree.
# - The explored range only grows, and hangs on single outliers. It is the weakest of the measures.
#
# If you come from the In Silico Framework's `RW`, or your evaluation function is not JAX:
# [from_isf.md](from_isf.md).
