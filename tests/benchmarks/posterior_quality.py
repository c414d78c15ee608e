"""How near to the truth posteriors are: two-sample tests against reference posteriors.

Estimators with the default settings learn inference benchmarks from 10,000 simulations each; for
ten observations a classifier tells 10,000 draws from as many of the reference posterior (five
folds; 0.5: it cannot). The published figures are those of neural posterior estimation with as many
simulations in Lueckmann et al. (2021).

With ``--choose`` an Ax campaign looks for the settings with which all problems together are learned
best: other simulations, the validation loss alone, no observation of the measurement. Its best arm
is what the defaults were set to, in round numbers.

    python tests/benchmarks/posterior_quality.py [two-moons ...] [--estimator flow ...]
        [--seeds 3] [--observations 10] [--json figures.json]
    python tests/benchmarks/posterior_quality.py [two-moons ...] --estimator flow --choose
        [--trials 24] [--store sqlite:///settings.db]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ax_jax_runners import Campaign, Parameter, ParameterSpace, Progress
from ax_jax_runners.posterior import (
    EncoderConfiguration,
    FlowMatching,
    FlowPosterior,
    classifier_two_sample_test,
)
from ax_jax_runners.problems.posteriors import BenchmarkDataset
from ax_jax_runners.problems.sbi import SBI_PROBLEMS
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

CONSOLE = Console(width=120, highlight=False)
SIMULATIONS, DRAWS = 10_000, 10_000
#: (problem, estimator) -> largest mean accuracy, published mean accuracy.
GOALS = {
    ("two-moons", "flow"): (0.57, 0.606),
    ("two-moons", "flow_matching"): (0.60, 0.606),
    ("gaussian-linear", "flow"): (0.54, 0.552),
    ("gaussian-mixture", "flow"): (0.58, 0.615),
    ("slcp", "flow"): (0.87, 0.901),
}
#: Seeds of simulations to choose with, far from those of the measurement.
CHOOSING = 1000
#: The first seed of an observation.
OBSERVED = 2000
#: A vector of some numbers needs no network in front of the density.
PLAIN = EncoderConfiguration(vector_depth=0)


@dataclass(frozen=True)
class Score:
    """One estimator's draws for one observation."""

    problem: str
    estimator: str
    seed: int
    observation: int
    accuracy: float


def measure(name: str, kind: str, seeds: int, observations: int) -> list[Score]:
    problem = SBI_PROBLEMS[name]()
    scores = []
    for seed in range(seeds):
        started = time.process_time()
        make = FlowPosterior if kind == "flow" else FlowMatching
        estimator = make(problem.space.dimension, encoder=PLAIN, seed=seed)
        found = estimator.fit(BenchmarkDataset(name, SIMULATIONS, seed))
        told = found.validation_metrics
        CONSOLE.print(
            f"{name}, {kind}, seed {seed}: {told['validation_nll']:.3f} nat at epoch "
            f"{told['epoch']}, {time.process_time() - started:.0f} CPU s"
        )
        for number in range(observations):
            _, x = problem.observe(OBSERVED + number)
            reference = problem.reference_posterior(x, DRAWS, seed=number)
            drawn = estimator.draw(x[None], DRAWS, seed=number)[0]
            accuracy = classifier_two_sample_test(reference, drawn).accuracy
            scores.append(Score(name, kind, seed, number, accuracy))
        own = [score.accuracy for score in scores if score.seed == seed]
        CONSOLE.print(f"  {' '.join(f'{value:.3f}' for value in own)}")
    return scores


def estimator_for(name: str, given: Hyperparameters, seed: int) -> FlowPosterior | FlowMatching:
    """Return an untrained estimator for a problem."""
    dimension = SBI_PROBLEMS[name]().space.dimension
    trained: dict[str, Any] = {
        "encoder": given.encoder,
        "optimiser": given.optimiser,
        "regularisation": given.regularisation,
        "seed": seed,
    }
    if given.estimator == "flow":
        return FlowPosterior(dimension, flow=given.flow, **trained)
    return FlowMatching(dimension, field=given.velocity, **trained)


@dataclass(frozen=True)
class LearnAll:
    """A trial learns one problem after the other with the same settings.

    Attributes:
        problems: Their names.
        base: The settings that are not searched.
        space: Those that are.
    """

    problems: tuple[str, ...]
    base: Hyperparameters
    space: ParameterSpace

    @property
    def outputs(self) -> tuple[str, ...]:
        """The validation losses in nats, and their sum over problems."""
        return ("total", *(name.replace("-", "_") for name in self.problems))

    def begin(self, arms: Any, keys: Any) -> dict[str, np.ndarray]:
        """Note the settings; nothing is learned yet."""
        del keys
        return {
            "theta": np.stack([np.asarray(self.space.pack(arm)) for arm in arms]),
            "losses": np.full((len(arms), len(self.problems)), np.nan),
            "learned": np.zeros(len(arms), int),
        }

    def advance(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Learn the next problem with the settings of every arm."""
        state = {name: leaf.copy() for name, leaf in state.items()}
        for arm, theta in enumerate(state["theta"]):
            at = int(state["learned"][arm])
            if at == len(self.problems):
                continue
            values = dict(self.space.unpack(theta))
            given = self.base.with_values(values)
            estimator = estimator_for(self.problems[at], given, CHOOSING)
            found = estimator.fit(BenchmarkDataset(self.problems[at], SIMULATIONS, CHOOSING))
            state["losses"][arm, at] = found.validation_metrics["validation_nll"]
            state["learned"][arm] = at + 1
        return state

    def progress(self, state: dict[str, np.ndarray]) -> list[Progress]:
        """Tell the losses of the arms that have learned all."""
        found = []
        for losses, learned in zip(state["losses"], state["learned"], strict=True):
            done = int(learned) == len(self.problems)
            told = [float(losses.sum()), *map(float, losses)] if done else []
            outputs = {name: (loss, None) for name, loss in zip(self.outputs, told, strict=False)}
            found.append(Progress(int(learned), done, outputs))
        return found


def choose(names: list[str], kind: str, trials: int, store: str) -> None:
    """Look for the settings with which problems are learned best."""
    search = [
        Parameter("learning_rate", lower=1e-3, upper=1e-2, log_scale=True),
        Parameter("weight_decay", lower=1e-3, upper=1.0, log_scale=True),
        Parameter("average_decay", choices=[0.98, 0.99, 0.995]),
    ]
    base = Hyperparameters(estimator=kind, encoder=PLAIN)
    if kind == "flow":
        search += [
            Parameter("layers", choices=[4, 5, 6]),
            Parameter("bins", choices=[8, 12, 16]),
            Parameter("bound", lower=3.0, upper=8.0),
        ]
    else:
        search += [
            Parameter("batch_size", choices=[64, 128]),
            Parameter("time_exponent", lower=0.0, upper=3.0),
        ]
        # Enough steps for the density of a posterior that is as thin as a moon.
        base = replace(base, velocity=replace(base.velocity, integration_steps=128))
    campaign = Campaign(
        f"settings-{kind}",
        LearnAll(tuple(names), base, ParameterSpace(search)),
        objective="-total",
        store=store,
        batch_size=1,
        trials=trials,
    )
    campaign.run()
    frame = campaign.to_frame().sort_values("total")
    with pd.option_context("display.width", 200, "display.max_columns", None):
        CONSOLE.print(str(frame.head(10)))


def report(scores: list[Score]) -> None:
    table = Table("problem", "estimator", "mean", "lowest", "highest", "goal", "published", "")
    for (name, kind), (goal, published) in GOALS.items():
        own = [s.accuracy for s in scores if (s.problem, s.estimator) == (name, kind)]
        if own:
            mean = statistics.mean(own)
            figures = [f"{value:.3f}" for value in (mean, min(own), max(own), goal, published)]
            table.add_row(name, kind, *figures, "reached" if mean <= goal else "MISSED")
    CONSOLE.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", default=list(dict.fromkeys(n for n, _ in GOALS)))
    parser.add_argument("--estimator", choices=["flow", "flow_matching"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--observations", type=int, default=10)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--store", help="database of a campaign; one that was stopped goes on")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # Ax and GPyTorch warn of their own inner matters.
    warnings.filterwarnings("ignore", module=r"(ax|gpytorch|linear_operator)\.")
    wanted = [
        (name, kind)
        for name, kind in GOALS
        if name in given.problems and given.estimator in (None, kind)
    ]
    scores: list[Score] = []
    if given.choose:
        for kind in dict.fromkeys(kind for _, kind in wanted):
            with tempfile.TemporaryDirectory() as temporary:
                names = [name for name, own in wanted if own == kind]
                store = given.store or f"sqlite:///{Path(temporary) / 'settings.db'}"
                choose(names, kind, given.trials, store)
    else:
        for name, kind in wanted:
            scores += measure(name, kind, given.seeds, given.observations)
    if scores:
        report(scores)
    if given.json is not None:
        told: list[dict[str, Any]] = [asdict(score) for score in scores]
        given.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
