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
# # A posterior for every observation at once
#
# You have a simulator in JAX, a measurement, and want the parameters with their uncertainties. A
# Markov chain answers for one measurement and begins anew with the next. Here a network is trained
# on simulations once, and then draws from the posterior of any observation of the same kind at
# once, without ever asking for a likelihood: **neural posterior estimation** (Papamakarios
# and Murray 2016, NIPS 29; Lueckmann et al. 2017, NIPS 30; Greenberg et al. 2019, ICML 97). Such an
# answer must be checked before it is believed, and half of this page does that.
#
# The page runs in about two minutes, on a CPU. Real problems take more simulations and more epochs.

# %%
import _thread
import tempfile
import threading
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ax_jax_runners import Campaign, FeatureEvaluator, Parameter, ParameterSpace, PosteriorTask
from ax_jax_runners.posterior import (
    ArrayDataset,
    EncoderConfiguration,
    FlowConfiguration,
    FlowPosterior,
    ObservationBlock,
    OptimiserConfiguration,
    PersistentPosteriorEstimator,
    calibrate,
    classifier_two_sample_test,
    simulate,
)
from ax_jax_runners.posterior.calibration import check_predictions
from ax_jax_runners.posterior.plots import (
    plot_coverage,
    plot_losses,
    plot_posterior,
    plot_ranks,
)
from ax_jax_runners.problems.sbi.tempering import sample_tempered
from ax_jax_runners.runners import decode_outcomes
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

# Ax and GPyTorch warn of their own inner matters.
warnings.filterwarnings("ignore", module=r"(ax|gpytorch)\.")

# Everything lands here; for work of your own, take a folder that stays.
folder = Path(tempfile.mkdtemp(prefix="posterior-"))

# %% [markdown]
# ## The simulator
#
# A weight on a spring is let go and seen at 40 times. Unknown are the frequency, the time in which
# the swing decays, and the amplitude. Cameras fail: each recording has its own noise, which we
# know, and a gap of up to 6 s, somewhere. Both are simulated as well, because the network shall
# cope with any noise and any gap.

# %%
TIMES = np.linspace(0.0, 10.0, 40)  # s

prior = ParameterSpace(
    [
        Parameter("frequency", lower=0.2, upper=0.6),  # Hz
        Parameter("decay_time", lower=1.0, upper=20.0, log_scale=True),  # s
        Parameter("amplitude", lower=0.5, upper=2.0),  # cm
    ]
)


def motion(p):
    """Position [cm] at all times, without noise."""
    swing = jnp.cos(2 * jnp.pi * p["frequency"] * TIMES)
    return p["amplitude"] * jnp.exp(-TIMES / p["decay_time"]) * swing


def record(p, key):
    """What a camera writes down."""
    for_noise, for_level, for_begin, for_length = jax.random.split(key, 4)
    level = 0.2 * 2.5 ** jax.random.uniform(for_level)  # cm
    begin = jax.random.uniform(for_begin, minval=-3.0, maxval=10.0)
    end = begin + 6.0 * jax.random.uniform(for_length)
    position = motion(p) + level * jax.random.normal(for_noise, TIMES.shape)
    return {
        "position": position,
        "uncertainty": jnp.full(TIMES.shape, level),
        "seen": (begin > TIMES) | (end < TIMES),
    }


evaluator = FeatureEvaluator(record, prior, stochastic=True, dtype="float32")

# %% [markdown]
# `simulate` draws parameters from the prior and writes them and their features to a folder, shard
# by shard. Row k depends on the seed and k alone. So a run that is interrupted is called again and
# goes on behind its last whole shard; here a second thread presses Ctrl-C.

# %%
SIMULATIONS = 40_000


def press_stop(shards):
    """Interrupt the main thread once so many shards are written."""
    while len(list((folder / "simulations").glob("shard-*.parquet"))) < shards:
        time.sleep(0.001)
    _thread.interrupt_main()


def run():
    """The same call, as often as it takes."""
    return simulate(
        evaluator, prior, SIMULATIONS, directory=folder / "simulations", shard_rows=2_000
    )


impatient = threading.Thread(target=press_stop, args=(3,), daemon=True)
interrupted = False
try:
    impatient.start()
    run()
    impatient.join()
except KeyboardInterrupt:
    interrupted = True
there = len(list((folder / "simulations").glob("shard-*.parquet")))
print(f"interrupted: {interrupted}; {2_000 * there:,} rows are there")
simulations = run()
print(f"{len(simulations):,} simulations, {simulations.failed} failed")

# %% [markdown]
# The network takes plain vectors, or, as here, *blocks* that say what a number is: its time, its
# uncertainty, and whether it was measured at all.


# %%
def blocks(recordings):
    """One list of blocks for each recording."""
    columns = (recordings[name] for name in ("position", "uncertainty", "seen"))
    return [
        [ObservationBlock("position", "time_series", x, level, TIMES, seen.astype(bool))]
        for x, level, seen in zip(*columns, strict=True)
    ]


def gathered(reader):
    """Parameters and blocks of a whole data set."""
    batches = list(reader.iter_batches(4096))
    observations = [row for batch in batches for row in blocks(batch.observations)]
    return np.concatenate([batch.parameters for batch in batches]), observations


parameters, observations = gathered(simulations)
dataset = ArrayDataset(parameters, observations, space=prior)

# %%
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#4D4D4D"
LAYOUT = {
    "template": "plotly_white",
    "width": 900,
    "margin": {"l": 60, "r": 20, "t": 70, "b": 55},
    "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.08, "yanchor": "bottom"},
}
UNITS = {"frequency": "Hz", "decay_time": "s", "amplitude": "cm"}


@jax.jit
def motions(theta):
    """Positions (n, 40) without noise, of parameters (n, 3)."""
    return jax.vmap(lambda row: motion(prior.traced(row)))(theta)


def draw_recordings(rows, titles, theta=None):
    """Recordings side by side; with parameters, what these predict, noise included."""
    figure = make_subplots(1, len(rows), shared_yaxes=True, subplot_titles=titles)
    figure.update_annotations(font={"size": 13})
    for i, (block,) in enumerate(rows, start=1):
        at = {"row": 1, "col": i}
        if theta is not None:
            noise = np.random.default_rng(0).normal(size=(len(theta[i - 1]), len(TIMES)))
            predicted = np.asarray(motions(theta[i - 1])) + block.uncertainties * noise
            low, high = np.quantile(predicted, [0.025, 0.975], axis=0)
            figure.add_scatter(
                x=[*TIMES, *TIMES[::-1]],
                y=[*high, *low[::-1]],
                fill="toself",
                fillcolor="rgba(0,114,178,0.2)",
                line={"width": 0},
                name="95 % of predictions",
                showlegend=i == 1,
                **at,
            )
        figure.add_scatter(
            x=TIMES[block.mask],
            y=block.values[block.mask],
            error_y={"array": block.uncertainties[block.mask], "thickness": 1, "width": 0},
            mode="markers",
            marker={"color": GREY, "size": 5},
            name="recorded",
            showlegend=i == 1,
            **at,
        )
    figure.update_xaxes(title="time [s]", range=[-0.3, 10.3])
    figure.update_yaxes(title="position [cm]", col=1)
    return figure.update_layout(**LAYOUT, height=330)


first = [0, 1, 2]
titles = [
    ", ".join(f"{value:.2g} {unit}" for value, unit in zip(row, UNITS.values(), strict=True))
    for row in parameters[first]
]
draw_recordings([observations[i] for i in first], titles)

# %% [markdown]
# ## Training
#
# `FlowPosterior` puts a convolutional encoder in front of a conditional normalising flow and
# minimises minus the log density of the true parameters. A tenth of the rows is held back; the
# weights of the epoch that is best on them are kept.

# %%
FLOW = FlowConfiguration(layers=3, width=32)
ENCODER = EncoderConfiguration(embedding_dim=32, hidden_dim=64)
estimator = FlowPosterior(
    prior.dimension,
    flow=FLOW,
    encoder=ENCODER,
    optimiser=OptimiserConfiguration(learning_rate=1e-2, batch_size=256, epochs=14),
    task_metadata={"name": "spring", "version": "1"},
)
began = time.process_time()
trained = estimator.fit(dataset)
print(f"{time.process_time() - began:.0f} s of CPU time")
plot_losses(trained.history, kept_epoch=trained.validation_metrics["epoch"])

# %% [markdown]
# Where the two lines part, the network begins to know its training rows by heart, and its
# posteriors become too narrow. With a simulator as cheap as this one, the cure is more simulations.
#
# ## One observation
#
# A recording without a gap, of a weight whose parameters we know:

# %%
truth = {"frequency": 0.45, "decay_time": 6.0, "amplitude": 1.2}
LEVEL = 0.25  # cm
noise = LEVEL * np.random.default_rng(4).normal(size=len(TIMES))
theta = prior.pack(truth)


def recording(position, seen=None):
    """One observation."""
    seen = np.ones(len(TIMES), bool) if seen is None else seen
    return [
        ObservationBlock(
            "position", "time_series", position, np.full(len(TIMES), LEVEL), TIMES, seen
        )
    ]


position = np.asarray(motions(theta[None])[0]) + noise
observed = recording(position)
draws = estimator.draw([observed], 5_000)[0]

# %% [markdown]
# The likelihood of this simulator can be written down, so the posterior can be drawn without any
# network, by tempering a cloud of particles from the prior. The network knew nothing of that
# likelihood. A classifier tries to tell the two samples apart: 0.5 is chance, 1 is certainty.


# %%
def reference(observation, n=2_000):
    """Draws by the likelihood, one observation at a time."""
    [block] = observation

    def log_likelihood(unit):
        residual = (np.asarray(motions(prior.icdf(unit))) - block.values) / block.uncertainties
        return -0.5 * (residual[:, block.mask] ** 2).sum(axis=1)

    corners = np.zeros(prior.dimension), np.ones(prior.dimension)
    return prior.icdf(sample_tempered(log_likelihood, *corners, n, np.random.default_rng(0)))


by_likelihood = reference(observed)
c2st = classifier_two_sample_test(by_likelihood, draws[:2_000], folds=2).accuracy
print(f"classifier two-sample test: {c2st:.2f}")
plot_posterior(draws, prior.names, reference=by_likelihood, truth=theta)

# %%
summary = pd.DataFrame(
    {
        "truth": theta,
        "mean": draws.mean(axis=0),
        "standard deviation": draws.std(axis=0),
        "mean by likelihood": by_likelihood.mean(axis=0),
        "standard deviation by likelihood": by_likelihood.std(axis=0),
    },
    index=[f"{name} [{unit}]" for name, unit in UNITS.items()],
)
summary.round(3)

# %% [markdown]
# The network's draws are where they should be, and not yet exact: its frequency is wider than the
# likelihood allows. That is the price of a short training; more simulations and epochs lower it.
#
# ## Can it be believed?
#
# Usually there is no reference. What there always is: more simulations, with their true parameters.
# If the posterior is right, the truth's rank among its draws is uniform (simulation-based
# calibration, Talts et al. 2018), and regions of 90 % hold nine truths of ten. `calibrate` tests
# this on 300 fresh simulations.

# %%
fresh = simulate(evaluator, prior, 300, directory=folder / "fresh", seed=1)
fresh_parameters, fresh_observations = gathered(fresh)
report = calibrate(estimator, fresh_parameters, fresh_observations, prior=prior)
plot_ranks(report.ranks)

# %% [markdown]
# To see what failure looks like, we make one: a posterior whose draws are pulled to their mean, 0.7
# times as wide as they were. Anything with `draw` and `log_density` can be calibrated.


# %%
class Narrowed:
    """An overconfident posterior of some observations."""

    def __init__(self, posterior, observations, factor):
        self.posterior, self.factor = posterior, factor
        self.centre = posterior.draw(observations, 200, seed=9).mean(axis=1)

    def draw(self, observations, n, *, seed=0, space="physical"):
        wide = self.posterior.draw(observations, n, seed=seed, space=space)
        return self.centre[:, None] + self.factor * (wide - self.centre[:, None])

    def log_density(self, observations, parameters, *, space="physical"):
        wide = self.centre + (parameters - self.centre) / self.factor
        # The constant factor of the volume is the same for all.
        return self.posterior.log_density(observations, wide, space=space)


overconfident = Narrowed(estimator, fresh_observations, 0.7)
narrowed = calibrate(overconfident, fresh_parameters, fresh_observations, prior=prior)
pd.DataFrame(
    {
        name: {
            "p-value of the ranks": each.sbc_p_value,
            "p-value of TARP": each.tarp_p_value,
            "area of coverage": each.coverage_area,
            "passed": each.passed(),
        }
        for name, each in {"as trained": report, "0.7 times as wide": narrowed}.items()
    }
).T

# %%
plot_coverage({"as trained": report.coverage, "0.7 times as wide": narrowed.coverage})

# %%
plot_ranks(narrowed.ranks)

# %% [markdown]
# Truths crowd at the ends of the draws, where the density is low. Passing says less than failing:
# 300 rows do not see small faults, and an estimator that ignores the data and answers with the
# prior has uniform ranks too (of the tests here, TARP is the one that can see that).
#
# All this holds on average over the prior, and for observations like the simulated ones. A
# measurement of another kind gets an answer as well, and a confident one. The posterior predictive
# check asks the other way round: do simulations of the draws look like what was observed? Beside
# our recording we put the same one from a camera that slowly tilts, which our simulator never does.

# %%
tilted = position + 0.08 * TIMES  # cm
pair = [observed, recording(tilted)]
pair_draws = estimator.draw(pair, 2_000)


def noisy(theta):
    """The simulator at our level of noise, without gaps."""
    return np.asarray(motions(theta)) + LEVEL * np.random.default_rng(5).normal(
        size=(len(theta), 40)
    )


predictions = check_predictions(pair_draws, [block.values for (block,) in pair], noisy)
p_ours, p_tilted = predictions.discrepancy_p_values
titles = [f"ours: p {p_ours:.2f}", f"tilting camera: p {p_tilted:.4f}"]
draw_recordings(pair, titles, pair_draws)

# %% [markdown]
# ## All observations at once
#
# What took a training is there for every observation now. A hundred recordings, each with its own
# noise and gap, 1,000 draws each, in one call:

# %%
estimator.draw(fresh_observations[:100], 1_000)  # compiles
began = time.perf_counter()
many = estimator.draw(fresh_observations[:100], 1_000)
seconds = time.perf_counter() - began
low, middle, high = np.quantile(many, [0.05, 0.5, 0.95], axis=1)
inside = (low < fresh_parameters[:100]) & (fresh_parameters[:100] < high)
print(f"{seconds:.2f} s; 90 % intervals that hold the truth: {inside.mean():.0%}")

figure = make_subplots(1, 3, subplot_titles=[f"{n} [{u}]" for n, u in UNITS.items()])
figure.update_annotations(font={"size": 13})
for i in range(prior.dimension):
    x, edges = fresh_parameters[:100, i], [prior.lower[i], prior.upper[i]]
    figure.add_scatter(
        x=x,
        y=middle[:, i],
        error_y={
            "array": high[:, i] - middle[:, i],
            "arrayminus": middle[:, i] - low[:, i],
            "thickness": 1,
            "width": 0,
        },
        mode="markers",
        marker={"color": BLUE, "size": 4},
        row=1,
        col=i + 1,
    )
    figure.add_scatter(
        x=edges, y=edges, mode="lines", line={"color": GREY, "dash": "dash"}, row=1, col=i + 1
    )
figure.update_xaxes(title="truth")
figure.update_yaxes(title="median and 90 %", col=1)
for update in (figure.update_xaxes, figure.update_yaxes):
    update(type="log", tickvals=[1, 2, 5, 10, 20], col=2)
figure.update_layout(**LAYOUT, height=360, showlegend=False)

# %% [markdown]
# Intervals are short where a recording is good and long where it is not: the decay of a swing that
# outlives the recording cannot be known. To see one such thing alone, we take our recording and
# hide its first 3 s.

# %%
hidden = recording(position, seen=TIMES >= 3.0)
wide_draws = estimator.draw([hidden], 5_000)[0]
wide_reference = reference(hidden)
widths = pd.DataFrame(
    {
        "all seen": draws.std(axis=0),
        "first 3 s hidden": wide_draws.std(axis=0),
        "all seen, by likelihood": by_likelihood.std(axis=0),
        "hidden, by likelihood": wide_reference.std(axis=0),
    },
    index=summary.index,
)
widths.round(3)

# %%
figure = make_subplots(1, 3, subplot_titles=list(summary.index))
figure.update_annotations(font={"size": 13})
shown = (
    ("all seen", draws, BLUE, "solid"),
    ("all seen, by likelihood", by_likelihood, BLUE, "dot"),
    ("first 3 s hidden", wide_draws, VERMILION, "solid"),
    ("hidden, by likelihood", wide_reference, VERMILION, "dot"),
)
for i in range(3):
    together = np.concatenate([sample[:, i] for _, sample, _, _ in shown])
    edges = np.linspace(*np.quantile(together, [0.002, 0.998]), 31)
    for name, sample, color, dash in shown:
        figure.add_scatter(
            x=(edges[1:] + edges[:-1]) / 2,
            y=np.histogram(sample[:, i], edges, density=True)[0],
            name=name,
            legendgroup=name,
            showlegend=i == 0,
            line={"color": color, "dash": dash, "width": 1.6},
            row=1,
            col=i + 1,
        )
    figure.add_vline(x=theta[i], line={"color": GREY, "width": 1, "dash": "dash"}, row=1, col=i + 1)
figure.update_yaxes(title="density", col=1)
figure.update_layout(**LAYOUT, height=360)

# %% [markdown]
# Decay time and amplitude widen, in the network's answer as by the likelihood, though not by just
# the same factor.
#
# ## Training as trials
#
# Learning rate, width and the like were guesses. In a campaign a trial is a training, and what is
# maximised is the density of held-back parameters, in physical units, so that networks that learn
# in other coordinates can be compared: `unconstrained` are the logits of the prior's quantiles,
# which cannot leave the prior; `physical` are the parameters themselves, and draws can leak out.
# Eight trials of three epochs:

# %%
task = PosteriorTask(
    dataset,
    search={
        "learning_rate": Parameter("learning_rate", lower=1e-4, upper=2e-2, log_scale=True),
        "width": Parameter("width", choices=[8, 32]),
        "parameter_space": Parameter("parameter_space", choices=["unconstrained", "physical"]),
    },
    epochs=3,
    hyperparameters=Hyperparameters(
        flow=FLOW, encoder=ENCODER, optimiser=OptimiserConfiguration(batch_size=256)
    ),
    calibration_rows=100,
    calibration_draws=50,
)
campaign = Campaign(
    "spring",
    task,
    objective="-validation_nll",
    outcome_constraints=["leak_fraction <= 0.001"],
    store=f"sqlite:///{folder / 'campaigns.db'}",
    batch_size=4,
)
campaign.run(trials=8, progress=False)
frame = campaign.to_frame()
columns = [*task.space.names, "validation_nll", "leak_fraction", "sbc_p_value"]
frame[columns].sort_values("validation_nll").round(4)

# %%
figure = go.Figure()
best = campaign.best()
outcomes = {}
for trial in campaign.experiment.trials.values():
    outcomes |= decode_outcomes(trial.run_metadata)
for row in frame.sort_values("validation_nll").itertuples():
    steps, values, _ = zip(*outcomes[row.arm_name].curves["validation_nll"], strict=True)
    figure.add_scatter(
        x=steps,
        y=values,
        name=f"{row.learning_rate:.1e}, {row.width}, {row.parameter_space}",
        mode="lines+markers",
        line={
            "color": BLUE if row.parameter_space == "unconstrained" else VERMILION,
            "dash": "solid" if row.width == 32 else "dot",
            "width": 3 if row.arm_name == best.arm_name else 1.2,
        },
    )
figure.update_layout(**{**LAYOUT, "legend": {"title": "learning rate, width, space"}}, height=420)
figure.update_layout(xaxis_title="examples seen", yaxis_title="minus log density [nats]")
figure.update_xaxes(range=[0, 1.05 * max(steps)])

# %% [markdown]
# The learning rate decides most here, and networks in the physical space lose a share of their
# draws to where the prior is zero; the campaign's constraint keeps them from winning. (An arm may
# be stopped early by its curve: `early_stopping=`.) A longer campaign of this kind is the built-in
# problem `two-moons-npe`.
#
# Every finished arm has left its estimator in the store. The best one is taken out, saved, and
# registered under a name and a version, where others find it:

# %%
store = campaign.store
address = outcomes[best.arm_name].artifacts["estimator"]
winner = PosteriorTask.estimator(store.files.read_arrays(address)["estimator"])

registry = store.artifact_registry()
winner.task_name = "spring"
winner.save(folder / "winner", artifact_registry=registry, artifact_version="winner of 8")
estimator.save(folder / "spring", artifact_registry=registry, artifact_version="first")
pd.DataFrame([entry.describe() for entry in registry.list()])[
    ["name", "version", "parameter_space", "task_name", "created_at"]
]

# %%
found = registry.find("spring-flow", "first")
again = PersistentPosteriorEstimator.load(registry.fetch(found.digest, folder / "fetched"))
same = np.array_equal(again.draw([observed], 100), estimator.draw([observed], 100))
print(f"the same draws, to the last bit: {same}")

# %% [markdown]
# ## One density, several spaces
#
# A density depends on its coordinates. `draw` and `log_density` answer in physical units unless
# told otherwise, and then the factor between the two is the slope of the map. By hand, with u the
# prior's quantiles and z their logits:

# %%
few = draws[:200]
same_observation = [observed] * len(few)
u = prior.cdf(few)
z = np.log(u) - np.log1p(-u)
physical = estimator.log_density(same_observation, few)
unconstrained = estimator.log_density(same_observation, z, space="unconstrained")
slope = (np.log(u) + np.log1p(-u)).sum(axis=1)  # of u with z
difference = np.abs(physical - (unconstrained - slope + prior.log_prior(few))).max()
print(f"largest difference: {difference:.1e}")

# %% [markdown]
# ## What this is, and what it is not
#
# - It is an approximation for **all** observations that the prior and the simulator can produce.
#   For one observation with a known likelihood a sampler is more exact, and not dearer.
# - What was not simulated was not learned: noise, gaps and nuisances of the real instrument belong
#   into the simulator.
# - Calibration is an average over the prior. It cannot tell that one corner is wrong; look at the
#   observation that you have, by predictions and, where there is one, by a reference.
# - The campaign compared trainings of three epochs. What learns fastest is not always best at the
#   end.
