"""Ax runners that hold a task: when and where trials run.

The names load on first use: a worker process imports what is below and needs no Ax.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ax_jax_runners.runners.base import TaskRunner
    from ax_jax_runners.runners.binding import TaskResolver
    from ax_jax_runners.runners.in_process import JaxRunner
    from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes, encode_outcomes
    from ax_jax_runners.runners.simulated import SimulatedBackendJaxRunner, sample_runtime_unif
    from ax_jax_runners.runners.single import (
        SingleRunningTrialJaxRunner,
        SingleRunningTrialMixin,
    )
    from ax_jax_runners.runners.synthetic import SyntheticJaxRunner
    from ax_jax_runners.runners.workers import WorkerJaxRunner

_HOMES = {
    "ArmOutcome": "outcome",
    "JaxRunner": "in_process",
    "SimulatedBackendJaxRunner": "simulated",
    "SingleRunningTrialJaxRunner": "single",
    "SingleRunningTrialMixin": "single",
    "SyntheticJaxRunner": "synthetic",
    "TaskResolver": "binding",
    "TaskRunner": "base",
    "WorkerJaxRunner": "workers",
    "decode_outcomes": "outcome",
    "encode_outcomes": "outcome",
    "sample_runtime_unif": "simulated",
}

__all__ = [
    "ArmOutcome",
    "JaxRunner",
    "SimulatedBackendJaxRunner",
    "SingleRunningTrialJaxRunner",
    "SingleRunningTrialMixin",
    "SyntheticJaxRunner",
    "TaskResolver",
    "TaskRunner",
    "WorkerJaxRunner",
    "decode_outcomes",
    "encode_outcomes",
    "sample_runtime_unif",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
