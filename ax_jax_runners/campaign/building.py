"""Build the Ax experiment of a campaign from its runner and goals."""

from __future__ import annotations

from ax.core.experiment import Experiment
from ax.early_stopping.strategies import BaseEarlyStoppingStrategy

from ax_jax_runners.campaign.early_stopping import check_watched, watched_outputs
from ax_jax_runners.campaign.objectives import Goals, ax_optimization_config
from ax_jax_runners.metrics import CurveMetric, OutputMetric
from ax_jax_runners.metrics.names import to_identifier
from ax_jax_runners.runners.base import TaskRunner


def build_experiment(
    name: str,
    runner: TaskRunner,
    goals: Goals,
    *,
    early_stopping: BaseEarlyStoppingStrategy | None = None,
) -> Experiment:
    """An experiment whose metrics are the outputs of the runner's task.

    Args:
        name: Name of campaign and experiment.
        runner: Holds the task: its space becomes the search space.
        goals: What to optimise; the outputs that it does not name become tracking metrics.
        early_stopping: The rule that ends trials early. With one, the outputs that it and the goals
            look at are curves: one row of data for each reported step.

    Raises:
        ConfigurationError: The rule looks at what it cannot judge.
    """
    task = runner.bound_task
    better = {name: weight < 0 for form in goals.objectives for name, weight in form}
    for constraint in goals.constraints:
        for output, weight in constraint.coefficients:
            better.setdefault(output, weight > 0)
    check_watched(early_stopping, goals, task.outputs)
    curves = watched_outputs(early_stopping, goals)
    metrics = {
        output: (CurveMetric if output in curves else OutputMetric)(
            to_identifier(output), lower_is_better=better.get(output)
        )
        for output in task.outputs
    }
    return Experiment(
        name=name,
        search_space=task.space.to_ax(),
        optimization_config=ax_optimization_config(goals),
        metrics=list(metrics.values()),
        runner=runner,
    )
