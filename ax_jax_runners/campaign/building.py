"""Build the Ax experiment of a campaign from its runner and goals."""

from __future__ import annotations

from ax.core.experiment import Experiment

from ax_jax_runners.campaign.objectives import Goals, ax_optimization_config
from ax_jax_runners.metrics import OutputMetric
from ax_jax_runners.metrics.names import to_identifier
from ax_jax_runners.runners.base import TaskRunner


def build_experiment(name: str, runner: TaskRunner, goals: Goals) -> Experiment:
    """An experiment whose metrics are the outputs of the runner's task.

    Args:
        name: Name of campaign and experiment.
        runner: Holds the task: its space becomes the search space.
        goals: What to optimise; the outputs that it does not name become tracking metrics.
    """
    task = runner.bound_task
    better = {name: weight < 0 for form in goals.objectives for name, weight in form}
    for constraint in goals.constraints:
        for output, weight in constraint.coefficients:
            better.setdefault(output, weight > 0)
    metrics = {
        output: OutputMetric(to_identifier(output), lower_is_better=better.get(output))
        for output in task.outputs
    }
    return Experiment(
        name=name,
        search_space=task.space.to_ax(),
        optimization_config=ax_optimization_config(goals),
        metrics=list(metrics.values()),
        runner=runner,
    )
