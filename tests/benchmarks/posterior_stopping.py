"""What early stopping saves and costs where the trials are trainings of a posterior.

Thirty trials on learning rate, weight decay, noise on the parameters and batch size of a spline
flow for two moons, 5,000 simulations, 60 epochs each, two at a time, with and without the rule; the
same seeds, simulations and validation rows. All settings share two compiled programs, so that what
is saved is training. A curve is judged from epoch 15 on and stops when it is worse than the best
30 % of those that got that far; that was chosen with other seeds (13 and 14).

Epochs are those that were trained, of all trials; the loss is that of the campaign's best arm on
the validation rows, in nats.

    python tests/benchmarks/posterior_stopping.py [--seeds 3] [--trials 30] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from rich.console import Console
from rich.table import Table

from ax_jax_runners import Campaign, Parameter, PosteriorTask
from ax_jax_runners.campaign.recorder import arm_outcomes
from ax_jax_runners.posterior import EncoderConfiguration, FlowConfiguration
from ax_jax_runners.problems.posteriors import BenchmarkDataset
from ax_jax_runners.tasks.posterior.hyperparameters import Hyperparameters

CONSOLE = Console(width=110, highlight=False)
SIMULATIONS, EPOCHS, FIRST_JUDGED = 5_000, 60, 15
TRAINED = SIMULATIONS * 9 // 10
#: At most so much worse, in nats, for at most this share of the epochs.
LOSS_GOAL, EPOCHS_GOAL = 0.05, 0.60


def task() -> PosteriorTask:
    """Return the training of a small spline flow."""
    return PosteriorTask(
        BenchmarkDataset("two-moons", SIMULATIONS, 0),
        search={
            "learning_rate": Parameter("learning_rate", lower=1e-4, upper=3e-2, log_scale=True),
            "weight_decay": Parameter("weight_decay", lower=1e-5, upper=1.0, log_scale=True),
            "parameter_noise": Parameter("parameter_noise", lower=1e-3, upper=0.3, log_scale=True),
            "batch_size": Parameter("batch_size", choices=[64, 128]),
        },
        epochs=EPOCHS,
        hyperparameters=Hyperparameters(
            flow=FlowConfiguration(layers=4, width=32),
            encoder=EncoderConfiguration(vector_depth=0),
        ),
    )


def rule() -> PercentileEarlyStoppingStrategy:
    """Return what stops a trial."""
    return PercentileEarlyStoppingStrategy(
        percentile_threshold=70.0, min_progression=FIRST_JUDGED * TRAINED, min_curves=5
    )


@dataclass(frozen=True)
class Result:
    """What one campaign gave.

    Attributes:
        seed: The campaign's.
        stopping: Whether it had the rule.
        loss: Of its best arm.
        epochs: Of all its trials.
        stopped: Trials that were stopped early.
        seconds: Of CPU time.
    """

    seed: int
    stopping: bool
    loss: float
    epochs: float
    stopped: int
    seconds: float


def run(seed: int, stopping: bool, trials: int, folder: Path) -> Result:
    """Run one campaign."""
    started = time.process_time()
    campaign = Campaign(
        "stopping" if stopping else "all",
        task(),
        objective="-validation_nll",
        store=f"sqlite:///{folder / f'{seed}-{stopping}.db'}",
        trials=trials,
        batch_size=2,
        early_stopping=rule() if stopping else None,
        seed=seed,
    )
    campaign.run(progress=False)
    own = campaign.experiment.trials.values()
    examples = [arm_outcomes(trial)[trial.arms[0].name]["step"] for trial in own]
    return Result(
        seed,
        stopping,
        campaign.best().outputs["validation_nll"],
        sum(examples) / TRAINED,
        sum(trial.status.is_early_stopped for trial in own),
        time.process_time() - started,
    )


def report(results: list[Result]) -> None:
    """Print all campaigns in pairs, and what the rule saved and cost."""
    table = Table("seed", "loss, all", "loss, stopping", "worse by", "epochs", "stopped", "CPU s")
    pairs = []
    for seed in sorted({result.seed for result in results}):
        whole, short = sorted((r for r in results if r.seed == seed), key=lambda r: r.stopping)
        pairs.append((short.loss - whole.loss, short.epochs / whole.epochs))
        table.add_row(
            str(seed),
            f"{whole.loss:.3f}",
            f"{short.loss:.3f}",
            f"{pairs[-1][0]:+.3f}",
            f"{whole.epochs:.0f} -> {short.epochs:.0f} ({pairs[-1][1]:.0%})",
            str(short.stopped),
            f"{whole.seconds:.0f} -> {short.seconds:.0f}",
        )
    CONSOLE.print(table)
    worse, share = (statistics.median(values) for values in zip(*pairs, strict=True))
    reached = worse <= LOSS_GOAL and share <= EPOCHS_GOAL
    CONSOLE.print(
        f"medians: worse by {worse:+.3f} nat (goal {LOSS_GOAL}), {share:.0%} of the epochs (goal "
        f"{EPOCHS_GOAL:.0%}): {'reached' if reached else 'MISSED'}"
    )


def main() -> None:
    """Run all campaigns in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # Ax and GPyTorch warn of their own inner matters.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            for stopping in (False, True):
                results.append(run(seed, stopping, given.trials, Path(folder)))
                CONSOLE.print(str(results[-1]))
    report(results)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
