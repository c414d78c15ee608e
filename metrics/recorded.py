"""What our metrics share: they read ``trial.run_metadata``, never a table of all data."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment
from ax.core.metric import Metric, MetricFetchE, MetricFetchResult
from ax.utils.common.result import Err, Ok

from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.metrics.names import from_identifier

# The key and the layout of the record that our runners leave in run_metadata.
_KEY = "ax_jax"


class OutputNotRecorded(AxJaxError, LookupError):
    """A trial's run_metadata holds no value of an output."""


class RecordedMetric(Metric):
    """Reads one output of a task from ``trial.run_metadata``.

    To write one: return the rows of a trial in `rows`, and say in `can_have_data` of which trials
    there may be any. An error that is not known is NaN for Ax, which then infers the noise; 0.0
    stays 0.0.
    """

    def __init__(self, name: str, *, lower_is_better: bool | None = None) -> None:
        """Name the metric like the output.

        Args:
            name: The output's name, or its identifier where Ax's expressions need one
                (`ax_jax_runners.metrics.names`).
            lower_is_better: Which direction is better; None leaves it open.
        """
        super().__init__(name=name, lower_is_better=lower_is_better)

    @abstractmethod
    def rows(self, trial: BaseTrial) -> list[DataRow]:
        """Return the trial's data, at least one row.

        Raises:
            OutputNotRecorded: There is none.
        """

    @abstractmethod
    def can_have_data(self, trial: BaseTrial) -> bool:
        """Whether the trial's status lets it have data of this metric."""

    def fetch_trial_data(self, trial: BaseTrial, **kwargs: Any) -> MetricFetchResult:
        """Return the trial's rows, or an error that names the known outputs."""
        try:
            rows = self.rows(trial)
        except OutputNotRecorded as error:
            return Err(MetricFetchE(message=str(error), exception=error))
        return Ok(Data(data_rows=rows))

    def bulk_fetch_trial_data(
        self, trial: BaseTrial, metrics: list[Metric], **kwargs: Any
    ) -> dict[str, MetricFetchResult]:
        """Return the result of each metric by signature."""
        return {metric.signature: metric.fetch_trial_data(trial) for metric in metrics}

    def fetch_data_prefer_lookup(
        self,
        experiment: Experiment,
        metrics: list[Metric],
        trials: list[BaseTrial] | None = None,
        **kwargs: Any,
    ) -> tuple[dict[int, dict[str, MetricFetchResult]], bool]:
        """Return results by trial index and signature, and whether there are any.

        Ax's own way looks every trial up in a table of all data first, at a cost that grows with
        the experiment; reading run_metadata costs less than the look-up.
        """
        candidates: Sequence[BaseTrial] = (
            list(experiment.trials.values()) if trials is None else trials
        )
        results = {
            trial.index: self.bulk_fetch_trial_data(trial, metrics)
            for trial in candidates
            if self.can_have_data(trial)
        }
        found = any(result.is_ok() for by_name in results.values() for result in by_name.values())
        return results, found

    def arms(self, trial: BaseTrial) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and record of every arm that counts: neither failed nor abandoned.

        Raises:
            OutputNotRecorded: No runner of ours ran the trial.
        """
        record = trial.run_metadata.get(_KEY)
        arms = record.get("arms") if isinstance(record, Mapping) else None
        if not isinstance(arms, Mapping):
            raise OutputNotRecorded(
                f"Trial {trial.index} has no outputs in its run_metadata; "
                "run it by a runner of ax_jax_runners."
            )
        left_out = (
            {arm.name for arm in trial.abandoned_arms} if isinstance(trial, BatchTrial) else set()
        )
        for name, arm in arms.items():
            if arm["status"] != "failed" and name not in left_out:
                yield name, arm

    def among(self, by_output: Mapping[str, Any]) -> Any:
        """Return what stands under this metric's output; None where nothing does."""
        if self.name in by_output:
            return by_output[self.name]
        return by_output.get(from_identifier(self.name))

    def missing(self, trial: BaseTrial, arm: str, outputs: Mapping[str, Any]) -> OutputNotRecorded:
        """Return the error of an arm that lacks this output, naming those that it has."""
        known = ", ".join(map(repr, outputs)) or "none"
        return OutputNotRecorded(
            f"Trial {trial.index}, arm {arm}: the task reports no output {self.name!r}; "
            f"its outputs are {known}."
        )

    def row(
        self, trial: BaseTrial, arm: str, mean: float, sem: float | None, step: float | None = None
    ) -> DataRow:
        """Return one row of Ax's data."""
        return DataRow(
            trial_index=trial.index,
            arm_name=arm,
            metric_name=self.name,
            metric_signature=self.signature,
            mean=mean,
            se=math.nan if sem is None else sem,
            step=step,
        )
