"""What one trial computes: the protocol, and tasks that follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ax_jax_runners.tasks.features import FeatureTask
from ax_jax_runners.tasks.identity import TaskIdentity, task_identity, task_reference
from ax_jax_runners.tasks.protocol import Progress, Scalar, State, Task
from ax_jax_runners.tasks.random_walk import RandomWalkTask
from ax_jax_runners.tasks.stepwise import StepwiseTask
from ax_jax_runners.tasks.unbound import UnboundTask

if TYPE_CHECKING:
    from ax_jax_runners.tasks.posterior import PosteriorTask

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


def __getattr__(name: str) -> Any:
    # Networks and their optimisers are loaded when they are asked for.
    if name == "PosteriorTask":
        from ax_jax_runners.tasks.posterior import PosteriorTask

        return PosteriorTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
