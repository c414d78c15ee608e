"""Where arms run: a small protocol and what follows it."""

from __future__ import annotations

from ax_jax_runners.runners.execution.frozen_arms import FrozenArms
from ax_jax_runners.runners.execution.in_process import InProcessExecution
from ax_jax_runners.runners.execution.protocol import ArmKey, ArmRequest, Execution, TrialKey

__all__ = ["ArmKey", "ArmRequest", "Execution", "FrozenArms", "InProcessExecution", "TrialKey"]
