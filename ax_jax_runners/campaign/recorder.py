"""Every step of a campaign, written in one transaction under the campaign's lease."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.registry_bundle import RegistryBundleBase
from sqlalchemy import Connection

from ax_jax_runners.campaign.evaluation_ids import EvaluationIds
from ax_jax_runners.campaign.outcome_rows import arm_outcomes as arm_outcomes
from ax_jax_runners.campaign.outcome_rows import (
    artifact_rows,
    cached_from,
    evaluation_rows,
    how_it_ended,
    lost_attempts,
    observation_rows,
)
from ax_jax_runners.store import (
    Store,
    attempts,
    campaigns,
    evaluations,
    events,
    leases,
    observations,
    trials,
)
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.leases import Lease

TrialData = Mapping[int, Sequence[DataRow]]


class Recorder:
    """Writes one campaign. Every write renews and checks the lease in its own transaction.

    A write that fails is kept and goes out with the next one, so that a database that comes back
    gets everything that was computed meanwhile.
    """

    def __init__(
        self, store: Store, record: CampaignRecord, lease: Lease, bundle: RegistryBundleBase
    ) -> None:
        self.store = store
        self.record = record
        self.lease = lease
        self.bundle = bundle
        self._unsaved: dict[int, BaseTrial] = {}
        self._unsaved_data: dict[int, Sequence[DataRow]] = {}
        self._evaluation_ids: EvaluationIds | None = None

    def save_candidates(
        self,
        experiment: Experiment,
        strategy: GenerationStrategy,
        *,
        new: Sequence[BaseTrial],
        existing: Sequence[BaseTrial],
    ) -> None:
        """Write new trials ahead of their run, and an open attempt for everything about to run."""
        # Known trials may be unwritten: those of a step whose transaction failed.
        unwritten = [trial for trial in (*existing, *new) if trial.db_id is None]
        runs = [
            run
            for trial in unwritten
            for run in trial.generator_runs
            if run._generation_node_name is not None
        ]
        about_to_run = [trial.index for trial in (*existing, *new)]

        def write(connection: Connection) -> trials.Ids:
            self._note_changes(connection, unwritten)
            assign = trials.write_trials(
                connection,
                encoder=self.bundle.encoder,
                experiment=experiment,
                trials=unwritten,
                strategy=strategy,
                strategy_runs=runs,
            )
            self._open_attempts(connection, about_to_run)
            return assign

        self.store.transact(write, lease=self.lease)()

    def save_trials(
        self,
        experiment: Experiment,
        changed: Iterable[BaseTrial],
        data: TrialData,
        *,
        strategy: GenerationStrategy | None = None,
        strategy_runs: Collection[GeneratorRun] = (),
    ) -> list[BaseTrial]:
        """Write states, run metadata, data, observations, artifacts and attempts together.

        Returns:
            The trials that were written: these, and what earlier failed writes left over.
        """
        self._unsaved.update({trial.index: trial for trial in changed})
        self._unsaved_data.update(data)
        saved, saved_data = list(self._unsaved.values()), dict(self._unsaved_data)
        ended = [trial for trial in saved if trial.status.is_terminal]
        evaluated = evaluation_rows(ended, self.evaluation_ids(experiment))

        def write(connection: Connection) -> trials.Ids:
            self._note_changes(connection, saved)
            assign = trials.write_trials(
                connection,
                encoder=self.bundle.encoder,
                experiment=experiment,
                trials=saved,
                strategy=strategy,
                strategy_runs=strategy_runs,
            )
            experiment_id = self.record.experiment_id
            trials.write_data(connection, experiment_id, saved_data)
            observations.write_observations(
                connection, experiment_id, observation_rows(ended, saved_data)
            )
            observations.write_artifacts(
                connection, experiment_id, artifact_rows(ended, self.store.files)
            )
            evaluations.write_evaluations(connection, experiment_id, evaluated)
            attempts.close_attempts(
                connection, experiment_id, {trial.index: how_it_ended(trial) for trial in ended}
            )
            return assign

        self.store.transact(write, lease=self.lease)()
        self._unsaved.clear()
        self._unsaved_data.clear()
        return saved

    def evaluation_ids(self, experiment: Experiment) -> EvaluationIds:
        """The names of the evaluations of the experiment's runner."""
        if self._evaluation_ids is None or self._evaluation_ids.runner is not experiment.runner:
            self._evaluation_ids = EvaluationIds(experiment.runner)
        return self._evaluation_ids

    def take_up_attempts(
        self, running: Sequence[int], waiting: Sequence[int], slices: Mapping[int, int]
    ) -> dict[int, int]:
        """Open an attempt of trials that run on from an earlier process.

        Args:
            running: Their indices.
            waiting: Indices of all trials to look at.
            slices: How many slices of a trial are frozen, by index.

        Returns:
            How many attempts in a row were lost with their process and without progress, by index
            of ``waiting``.
        """

        def write(connection: Connection) -> dict[int, int]:
            self._open_attempts(connection, running, slices)
            return attempts.lost_in_a_row(connection, self.record.experiment_id, waiting)

        return self.store.transact(write, lease=self.lease)

    def pause_attempts(self, running: Sequence[int]) -> None:
        """Close the attempts of trials that a later run goes on with."""
        if running:
            ended = dict.fromkeys(running, ("interrupted", "the run ended before the trial"))
            self.store.transact(
                lambda connection: attempts.close_attempts(
                    connection, self.record.experiment_id, ended
                ),
                lease=self.lease,
            )

    def flush(self, experiment: Experiment) -> None:
        """Write what an earlier failed write left over."""
        if self._unsaved:
            self.save_trials(experiment, (), {})

    def set_state(
        self,
        state: str,
        *,
        detail: str | None = None,
        options: Mapping[str, Any] | None = None,
        total_trials: int | None = None,
    ) -> None:
        """Record a change of the campaign's state, and that it happened."""

        def write(connection: Connection) -> None:
            campaigns.set_state(
                connection, self.record.id, state, options=options, total_trials=total_trials
            )
            events.record_event(connection, self.record.id, state, detail)

        self.store.transact(write, lease=self.lease)

    def release(self) -> None:
        """Give the lease back."""
        self.store.transact(lambda connection: leases.release(connection, self.lease))

    def _open_attempts(
        self,
        connection: Connection,
        indices: Sequence[int],
        slices: Mapping[int, int] | None = None,
    ) -> None:
        lost = attempts.open_attempts(
            connection,
            self.record.experiment_id,
            indices,
            token=self.lease.token,
            slices=slices or {},
        )
        events.record_lost(connection, self.record.id, lost)

    def _note_changes(self, connection: Connection, changed: Sequence[BaseTrial]) -> None:
        """Write an event for each change of a trial's status, before the change itself."""
        events.record_changes(
            connection,
            campaign_id=self.record.id,
            experiment_id=self.record.experiment_id,
            after={
                trial.index: (trial.status.name, trial.status_reason or cached_from(trial))
                for trial in changed
            },
            retried={trial.index: lost_attempts(trial) for trial in changed},
        )
