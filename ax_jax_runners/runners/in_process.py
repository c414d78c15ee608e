"""The runner that computes in this process."""

from __future__ import annotations

from typing import final

from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.execution import Execution, InProcessExecution
from ax_jax_runners.tasks import Task


@final
class JaxRunner(TaskRunner):
    """Runs trials in this process: all arms of all trials given at once are one call of the task.

    A plain evaluation is done when `run_multiple` returns. A long task does its first slice there
    and one more at every poll, all its trials together.
    """

    def start_execution(self, task: Task) -> Execution:
        """Return an execution in this process; arrays and states are kept in ``directory``."""
        return InProcessExecution.in_directory(task, seed=self.seed, directory=self.directory)
