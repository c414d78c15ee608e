"""Supervised worker processes: each restartable alone, each trial bounded."""

from __future__ import annotations

from ax_jax_runners.runners.execution.payload import pack_task
from ax_jax_runners.runners.execution.processes.environment import WorkerOptions
from ax_jax_runners.runners.execution.processes.execution import ProcessExecution
from ax_jax_runners.runners.execution.processes.limits import Limits, read_memory

__all__ = ["Limits", "ProcessExecution", "WorkerOptions", "pack_task", "read_memory"]
