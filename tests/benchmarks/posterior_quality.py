"""How near to the truth posteriors are: two-sample tests against reference posteriors.

Estimators with the default settings learn inference benchmarks from 10,000 simulations each; for
ten observations a classifier tells 10,000 draws from as many of the reference posterior (five
folds; 0.5: it cannot). The published figures are those of neural posterior estimation with as many
simulations in Lueckmann et al. (2021).

With ``--choose`` an Ax campaign looks for settings: other simulations, the validation loss alone,
no observation of the measurement. Its best arm is what the defaults were set to.

    python tests/benchmarks/posterior_quality.py [two-moons ...] [--estimator flow ...]
        [--seeds 3] [--observations 10] [--json figures.json]
    python tests/benchmarks/posterior_quality.py two-moons --estimator flow --choose [--trials 30]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ax_jax_runners import Campaign, Parameter, PosteriorTask
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


def choose(name: str, kind: str, trials: int, folder: Path) -> None:
    search: dict[str, Parameter] = {
        "learning_rate": Parameter("learning_rate", lower=5e-4, upper=1e-2, log_scale=True),
        "batch_size": Parameter("batch_size", choices=[64, 128, 256]),
        "layers": Parameter("layers", choices=[3, 4, 5, 6]),
        "width": Parameter("width", choices=[64, 128]),
        "weight_decay": Parameter("weight_decay", lower=1e-6, upper=1e-1, log_scale=True),
    }
    if kind == "flow":
        search["depth"] = Parameter("depth", choices=[2, 3])
        search["parameter_noise"] = Parameter(
            "parameter_noise", lower=1e-4, upper=3e-2, log_scale=True
        )
    else:
        search["time_exponent"] = Parameter("time_exponent", lower=0.0, upper=4.0)
    task = PosteriorTask(
        BenchmarkDataset(name, SIMULATIONS, CHOOSING),
        search=search,
        epochs=100,
        hyperparameters=Hyperparameters(estimator=kind, encoder=PLAIN),
    )
    campaign = Campaign(
        f"{name}-{kind}",
        task,
        objective="-validation_nll",
        store=f"sqlite:///{folder / 'settings.db'}",
        batch_size=4,
        trials=trials,
    )
    campaign.run()
    frame = campaign.to_frame().sort_values("validation_nll")
    CONSOLE.print(frame.head(8).to_string(index=False))


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
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="where a campaign is kept")
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
    for name, kind in wanted:
        if given.choose:
            with tempfile.TemporaryDirectory() as temporary:
                choose(name, kind, given.trials, given.folder or Path(temporary))
        else:
            scores += measure(name, kind, given.seeds, given.observations)
    if scores:
        report(scores)
    if given.json is not None:
        told: list[dict[str, Any]] = [asdict(score) for score in scores]
        given.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
