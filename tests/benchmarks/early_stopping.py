"""Steps saved by stopping learning curves early, and whether the best arm survives it.

Forty learning curves of 100 steps (asymptote uniform on [0, 1], offset uniform on [0.5, 2], time
constant log-uniform on [5, 50], noise 0.02), eight at a time, reported every five steps. The rule
follows from the family and is the same for every seed: nothing is judged before step 20, somewhat
more than the typical time constant, sqrt(5 * 50) = 16; a curve stops when it was outside the best
40 % of all that got that far at three reports in a row, so that one noisy report does not decide.

The best arm is the one with the lowest loss at step 100 if all curves are completed: as it would
be observed, and without the noise. It is kept if it was not stopped. Regret is what the campaign's
best arm loses on the exact best, without noise.

    python tests/benchmarks/early_stopping.py [--seeds 10] [--first 0] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from rich.console import Console
from rich.table import Table

from ax_jax_runners import Campaign, problems
from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.problems.learning_curves import exact_loss
from ax_jax_runners.tasks.keys import arm_keys

ARMS = 40
AT_A_TIME = 8
STEPS = 100


def rule() -> PercentileEarlyStoppingStrategy:
    return PercentileEarlyStoppingStrategy(
        percentile_threshold=60.0, min_progression=20.0, min_curves=5, patience=10.0
    )


@dataclass(frozen=True)
class Result:
    """What one seed gave.

    Attributes:
        seed: The campaign's seed: of its arms and of the noise.
        saved: Fraction of all steps that were not run.
        stopped: Arms that were stopped early.
        keeps_observed: Whether the arm with the lowest observed last loss was completed.
        keeps_exact: Whether the arm with the lowest exact last loss was completed.
        regret: Exact last loss of the campaign's best arm, less the lowest of all.
        seconds: Of CPU time.
    """

    seed: int
    saved: float
    stopped: int
    keeps_observed: bool
    keeps_exact: bool
    regret: float
    seconds: float


def run_seed(seed: int, store: str) -> Result:
    """Run one campaign with the rule, and all its curves to the end without it."""
    started = time.process_time()
    task = problems.build("learning-curve", steps=STEPS)
    campaign = Campaign(
        f"curves-{seed}",
        task,
        objective="-loss",
        store=store,
        trials=ARMS,
        batch_size=AT_A_TIME,
        generation="sobol",
        early_stopping=rule(),
        seed=seed,
    )
    campaign.run(progress=False)
    seconds = time.process_time() - started
    trials = campaign.experiment.trials
    arms = [trial.arms[0].parameters for trial in trials.values()]
    steps = [arm_outcomes(trial)[trial.arms[0].name]["step"] for trial in trials.values()]
    observed = final_losses(task, arms, seed)
    exact = np.array([float(exact_loss(arm, STEPS)) for arm in arms])
    completed = [trial.status is TrialStatus.COMPLETED for trial in trials.values()]
    return Result(
        seed,
        1.0 - sum(steps) / (ARMS * STEPS),
        len(completed) - sum(completed),
        completed[int(observed.argmin())],
        completed[int(exact.argmin())],
        float(exact[campaign.best().trial_index] - exact.min()),
        seconds,
    )


def final_losses(task, arms: list, seed: int) -> np.ndarray:
    """Observed losses of all arms at the last step, with the campaign's own keys."""
    state = task.begin(arms, arm_keys(seed, [(index, 0) for index in range(len(arms))]))
    while not all(report.done for report in task.progress(state)):
        state = task.advance(state)
    return np.array([report.outputs["loss"][0] for report in task.progress(state)])


def show(results: list[Result]) -> None:
    table = Table("seed", "saved", "stopped", "best kept", "exact best kept", "regret", "CPU s")
    for result in results:
        table.add_row(
            str(result.seed),
            f"{result.saved:.1%}",
            str(result.stopped),
            "yes" if result.keeps_observed else "NO",
            "yes" if result.keeps_exact else "NO",
            f"{result.regret:.4f}",
            f"{result.seconds:.1f}",
        )
    count = len(results)
    kept = sum(result.keeps_observed for result in results)
    exact = sum(result.keeps_exact for result in results)
    saved = statistics.mean(result.saved for result in results)
    table.add_section()
    table.add_row(
        "all",
        f"{saved:.1%}",
        f"{statistics.mean(result.stopped for result in results):.1f}",
        f"{kept} of {count}",
        f"{exact} of {count}",
        f"{statistics.mean(result.regret for result in results):.4f}",
        f"{statistics.mean(result.seconds for result in results):.1f}",
    )
    console = Console()
    console.print(table)
    least = min(result.saved for result in results)
    reached = saved >= 0.4 and kept >= 0.9 * count
    console.print(
        f"saved {saved:.1%} on average, {least:.1%} at least; best kept in {kept} of {count} "
        f"(targets 40 % and 9 in 10, {'reached' if reached else 'MISSED'})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        results = [
            run_seed(seed, f"sqlite:///{folder}/{seed}.db")
            for seed in range(arguments.first, arguments.first + arguments.seeds)
        ]
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(each) for each in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
