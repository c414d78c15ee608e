"""Supervised worker processes: each restartable alone, each trial bounded."""

from __future__ import annotations

from ax_jax_runners.runners.execution.processes.environment import WorkerOptions
from ax_jax_runners.runners.execution.processes.execution import ProcessExecution
from ax_jax_runners.runners.execution.processes.limits import Limits, read_memory
from ax_jax_runners.runners.execution.processes.payload import pack_task

__all__ = ["Limits", "ProcessExecution", "WorkerOptions", "pack_task", "read_memory"]
