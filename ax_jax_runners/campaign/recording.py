"""The part of the Scheduler that says what of an experiment is fetched and written, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.trial_status import TrialStatus
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions

from ax_jax_runners.campaign.long_trials import LongTrials
from ax_jax_runners.campaign.metadata import is_immediate
from ax_jax_runners.campaign.recorder import Recorder, TrialData
from ax_jax_runners.runners.base import TaskRunner


class RecordingOrchestrator(Orchestrator):
    """Ax's Orchestrator, whose saves are steps of a `Recorder`.

    A step is written once, with its data, and at a cost that does not grow with the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        generation_strategy: GenerationStrategy,
        options: OrchestratorOptions,
        *,
        recorder: Recorder | None,
    ) -> None:
        """Keep the recorder; None: memory only."""
        self._recorder = recorder
        self._fetched: dict[int, list[DataRow]] = {}
        self._save_is_due = True
        self._long_trials = LongTrials()
        super().__init__(experiment, generation_strategy, options)

    def poll_and_process_results(self, poll_all_trial_statuses: bool = False) -> bool:
        """As Ax; ends trials beyond their time to live, and records how far the others are."""
        changed = super().poll_and_process_results(poll_all_trial_statuses)
        self._save_is_due = True
        expired = self._long_trials.expire(self.runner, self.running_trials)
        if expired:
            self._save_or_update_trials_in_db_if_possible(self.experiment, expired)
        if self._recorder is not None:
            under_way = self._long_trials.to_write(self.running_trials)
            if under_way:
                self._write(under_way)
        return changed or bool(expired)

    def _update_and_save_trials(
        self,
        existing_trials: list[BaseTrial],
        new_trials: list[BaseTrial],
        metadata: dict[int, dict[str, Any]],
        stage_only: bool,
        reduce_state_generator_runs: bool = False,
    ) -> None:
        self._save_is_due = not is_immediate(metadata)
        super()._update_and_save_trials(
            existing_trials, new_trials, metadata, stage_only, reduce_state_generator_runs
        )

    def _save_or_update_trials_and_generation_strategy_if_possible(
        self,
        experiment: Experiment,
        trials: list[BaseTrial],
        generation_strategy: GenerationStrategy,
        new_generator_runs: list[GeneratorRun],
        reduce_state_generator_runs: bool = False,
    ) -> None:
        # Immediate results are complete at the poll that follows at once and saves them; the
        # candidates themselves are in the database since before the run.
        if self._recorder is not None and self._save_is_due:
            self._recorder.save_trials(
                experiment,
                trials,
                {},
                strategy=generation_strategy,
                strategy_runs=new_generator_runs,
            )

    def _save_or_update_trials_in_db_if_possible(
        self,
        experiment: Experiment,
        trials: Sequence[BaseTrial],
        reduce_state_generator_runs: bool = False,
    ) -> bool:
        if self._recorder is None:
            return False
        # Running trials have new data at every poll; `LongTrials` says when they are written.
        self._write([trial for trial in trials if trial.status is not TrialStatus.RUNNING])
        return True

    def _write(self, trials: Sequence[BaseTrial]) -> None:
        """Write trials with their new data; what their runner keeps for a resume can go then."""
        if self._recorder is None or not trials:
            return
        data: TrialData = {
            trial.index: self._fetched.pop(trial.index)
            for trial in trials
            if trial.index in self._fetched
        }
        written = self._recorder.save_trials(self.experiment, trials, data)
        if isinstance(self.runner, TaskRunner):
            self.runner.release([trial for trial in written if trial.status.is_terminal])

    def _get_trial_indices_to_fetch(
        self, polled_status_to_trial_idcs: Mapping[TrialStatus, set[int]]
    ) -> set[int]:
        """As Ax, at a cost that does not grow, and without running trials that have nothing new."""
        before: dict[TrialStatus, set[int]] = {status: set() for status in TrialStatus}
        before[TrialStatus.RUNNING] = self.experiment.running_trial_indices
        found = self._identify_trial_indices_to_fetch(before, polled_status_to_trial_idcs)
        still = found & polled_status_to_trial_idcs.get(TrialStatus.RUNNING, set())
        running = self.experiment.get_trials_by_indices(still)
        return (found - still) | self._long_trials.with_news(running)

    def _get_recently_completed_trial_indices(self) -> set[int]:
        metrics = self.experiment.metrics.values()
        if any(metric.period_of_new_data_after_trial_completion() for metric in metrics):
            return super()._get_recently_completed_trial_indices()
        return set()

    def _fetch_and_process_trials_data_results(self, trial_indices: Iterable[int]) -> Any:
        results = super()._fetch_and_process_trials_data_results(trial_indices)
        for index, by_metric in results.items():
            rows = [row for r in by_metric.values() if r.is_ok() for row in r.unwrap()._data_rows]
            if rows:
                self._fetched[index] = rows
        return results

    def _abort_optimization(self, num_preexisting_trials: int) -> dict[str, Any]:
        # Results that are there but not polled yet would otherwise be computed again.
        if not self._save_is_due:
            self.poll_and_process_results()
        return super()._abort_optimization(num_preexisting_trials)
