"""The course of one scalar output over the steps of a long trial, as an Ax metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow
from ax.core.map_metric import MapMetric

from ax_jax_runners.metrics.recorded import OutputNotRecorded, RecordedMetric


class NotReportedYet(OutputNotRecorded):
    """A trial that may still report an output for the first time."""


class CurveMetric(RecordedMetric, MapMetric):
    """An output at every reported step, of trials that run, were stopped early or are completed.

    Ax's rules for early stopping compare the curves. Its models see the last row of each trial and
    take the step as one more input: the value of a trial that was stopped early counts as one at
    the step where it was stopped, and predictions are for the last step.
    """

    recoverable_exceptions = {NotReportedYet}  # noqa: RUF012

    @classmethod
    def is_available_while_running(cls) -> bool:
        """Return True: rules for early stopping look at running trials."""
        return True

    def can_have_data(self, trial: BaseTrial) -> bool:
        """Whether the trial runs, was stopped early, or is completed."""
        return trial.status.expecting_data

    def rows(self, trial: BaseTrial) -> list[DataRow]:
        """Return one row for each arm and step, in the order of steps.

        An arm that was done at its first slice has the one row of its outputs.

        Raises:
            NotReportedYet: The trial runs and nothing is known of the output yet.
            OutputNotRecorded: A trial that has ended reported no such output.
        """
        rows = []
        for name, arm in self.arms(trial):
            points = {step: (mean, sem) for step, mean, sem in self._curve(arm)}
            value = self.among(arm["outputs"])
            if value is not None:
                points[arm["step"]] = tuple(value)
            if not points and arm["status"] == "completed":
                raise self.missing(trial, name, arm["outputs"])
            rows += [
                self.row(trial, name, *points[step], step=float(step)) for step in sorted(points)
            ]
        if rows:
            return rows
        kind = NotReportedYet if trial.status.is_running else OutputNotRecorded
        raise kind(f"Trial {trial.index} has reported no output {self.name!r}.")

    def _curve(self, arm: Mapping[str, Any]) -> Any:
        return self.among(arm.get("curves", {})) or ()
