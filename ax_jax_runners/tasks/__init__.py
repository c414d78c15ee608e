"""What one trial computes: the protocol, and tasks that follow it."""

from __future__ import annotations

from ax_jax_runners.tasks.features import FeatureTask
from ax_jax_runners.tasks.identity import TaskIdentity, task_identity, task_reference
from ax_jax_runners.tasks.posterior import PosteriorTask
from ax_jax_runners.tasks.protocol import Progress, Scalar, State, Task
from ax_jax_runners.tasks.random_walk import RandomWalkTask
from ax_jax_runners.tasks.stepwise import StepwiseTask
from ax_jax_runners.tasks.unbound import UnboundTask

__all__ = [
    "FeatureTask",
    "PosteriorTask",
    "Progress",
    "RandomWalkTask",
    "Scalar",
    "State",
    "StepwiseTask",
    "Task",
    "TaskIdentity",
    "UnboundTask",
    "task_identity",
    "task_reference",
]
