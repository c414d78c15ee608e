"""Adaptive experiment campaigns for JAX simulators: Ax decides, JAX computes, SQL remembers.

The public names load on first use, so ``import ax_jax_runners`` imports neither torch nor JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.campaign import Campaign, Scheduler, registry_bundle
    from ax_jax_runners.evaluation import FeatureEvaluator
    from ax_jax_runners.parameters import Parameter, ParameterSpace
    from ax_jax_runners.runners import (
        JaxRunner,
        SimulatedBackendJaxRunner,
        SingleRunningTrialJaxRunner,
        SingleRunningTrialMixin,
        SyntheticJaxRunner,
        WorkerJaxRunner,
    )
    from ax_jax_runners.store import Selection, Store
    from ax_jax_runners.tasks import (
        FeatureTask,
        PosteriorTask,
        Progress,
        RandomWalkTask,
        StepwiseTask,
        Task,
    )

__version__ = "0.1.0"

_HOMES = {
    "Campaign": "campaign",
    "FeatureEvaluator": "evaluation",
    "FeatureTask": "tasks",
    "JaxRunner": "runners",
    "Parameter": "parameters",
    "ParameterSpace": "parameters",
    "PosteriorTask": "tasks",
    "Progress": "tasks",
    "RandomWalkTask": "tasks",
    "Scheduler": "campaign",
    "Selection": "store",
    "SimulatedBackendJaxRunner": "runners",
    "SingleRunningTrialJaxRunner": "runners",
    "SingleRunningTrialMixin": "runners",
    "StepwiseTask": "tasks",
    "Store": "store",
    "SyntheticJaxRunner": "runners",
    "Task": "tasks",
    "WorkerJaxRunner": "runners",
    "registry_bundle": "campaign",
}

__all__ = [
    "Campaign",
    "FeatureEvaluator",
    "FeatureTask",
    "JaxRunner",
    "Parameter",
    "ParameterSpace",
    "PosteriorTask",
    "Progress",
    "RandomWalkTask",
    "Scheduler",
    "Selection",
    "SimulatedBackendJaxRunner",
    "SingleRunningTrialJaxRunner",
    "SingleRunningTrialMixin",
    "StepwiseTask",
    "Store",
    "SyntheticJaxRunner",
    "Task",
    "WorkerJaxRunner",
    "registry_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
