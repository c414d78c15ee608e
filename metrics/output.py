"""One scalar output of a task as an Ax metric."""

from __future__ import annotations

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow

from ax_jax_runners.metrics.recorded import OutputNotRecorded, RecordedMetric


class OutputMetric(RecordedMetric):
    """The value of an output when its arm is completed, and nothing before."""

    @classmethod
    def is_available_while_running(cls) -> bool:
        """Return False: an output counts when its arm is completed."""
        return False

    def can_have_data(self, trial: BaseTrial) -> bool:
        """Whether the trial is completed."""
        return trial.status.is_completed

    def rows(self, trial: BaseTrial) -> list[DataRow]:
        """Return one row for each completed arm.

        Raises:
            OutputNotRecorded: No arm is completed, or one has no such output.
        """
        rows = []
        for name, arm in self.arms(trial):
            if arm["status"] == "completed":
                value = self.among(arm["outputs"])
                if value is None:
                    raise self.missing(trial, name, arm["outputs"])
                rows.append(self.row(trial, name, *value))
        if not rows:
            raise OutputNotRecorded(
                f"Trial {trial.index} has no completed arm, so output {self.name!r} has no value."
            )
        return rows
