"""What a campaign found: the best observed arms, and everything as a table."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from ax_jax_runners.campaign.best import Best as Best
from ax_jax_runners.campaign.best import best_among
from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.campaign.recorder import arm_outcomes


def best_of(experiment: Experiment, goals: Goals) -> Best | tuple[Best, ...]:
    """The best observed feasible arm; for several objectives the Pareto front.

    Raises:
        NoFeasibleArm: No arm is complete, or none keeps the outcome constraints.
    """
    return best_among(observed_arms(experiment, goals), goals, name=experiment.name)


def observed_arms(experiment: Experiment, goals: Goals) -> Iterator[Best]:
    """Completed arms that have every output the goals need, in the order of their trials.

    An arm that was stopped early is none of them: its last value is of an earlier step, and one
    noisy report on the way down a curve must not win against values of the end.
    """
    for trial in experiment.trials.values():
        if trial.status is not TrialStatus.COMPLETED:
            continue
        for arm in trial.arms:
            outputs = arm_outputs(trial, arm.name)
            if all(name in outputs for name in goals.outputs):
                yield Best(dict(arm.parameters), outputs, trial.index, arm.name)


def arm_outputs(trial: BaseTrial, arm_name: str) -> dict[str, float]:
    """The recorded means of one arm; empty when it failed or has not run."""
    outcome = arm_outcomes(trial).get(arm_name, {})
    if outcome.get("status") == "failed":
        return {}
    return {name: mean for name, (mean, _) in outcome.get("outputs", {}).items()}


def to_frame(experiment: Experiment, outputs: tuple[str, ...]) -> pd.DataFrame:
    """One row an arm: trial_index, arm_name, trial_status, the parameters, the outputs."""
    names = list(experiment.search_space.parameters)
    rows = []
    for trial in experiment.trials.values():
        for arm in trial.arms:
            found = arm_outputs(trial, arm.name)
            rows.append(
                {
                    "trial_index": trial.index,
                    "arm_name": arm.name,
                    "trial_status": trial.status.name,
                    **{name: arm.parameters.get(name) for name in names},
                    **{name: found.get(name) for name in outputs},
                }
            )
    columns = ["trial_index", "arm_name", "trial_status", *names, *outputs]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(outputs, "float64"))
