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

from ax_jax_runners.files import FileStore
from ax_jax_runners.metrics.names import from_identifier
from ax_jax_runners.store import Store, attempts, campaigns, events, leases, observations, trials
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.store.leases import Lease
from ax_jax_runners.store.observations import ArtifactAddress, Observation

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
            ended = [trial for trial in saved if trial.status.is_terminal]
            trials.write_data(connection, experiment_id, saved_data)
            observations.write_observations(
                connection, experiment_id, _observations(ended, saved_data)
            )
            observations.write_artifacts(connection, experiment_id, self._artifacts(ended))
            attempts.close_attempts(
                connection,
                experiment_id,
                {t.index: (t.status.name.lower(), t.status_reason) for t in ended},
            )
            return assign

        self.store.transact(write, lease=self.lease)()
        self._unsaved.clear()
        self._unsaved_data.clear()
        return saved

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
            after={trial.index: (trial.status.name, trial.status_reason) for trial in changed},
            retried={trial.index: _lost(trial) for trial in changed},
        )

    def _artifacts(self, ended: Sequence[BaseTrial]) -> list[ArtifactAddress]:
        files = self.store.files
        return [
            # A runner keeps an arm's arrays in one npz archive.
            ArtifactAddress(trial.index, arm, name, sha256, _size(files, sha256), "npz")
            for trial in ended
            for arm, outcome in arm_outcomes(trial).items()
            for name, sha256 in outcome.get("artifacts", {}).items()
        ]


def arm_outcomes(trial: BaseTrial) -> dict[str, Any]:
    """The outcomes that our runners put into the trial's metadata, by arm; else empty."""
    recorded = trial.run_metadata.get("ax_jax")
    return recorded.get("arms", {}) if isinstance(recorded, dict) else {}


def _lost(trial: BaseTrial) -> list[str]:
    """The sentences on attempts that the runner itself has repeated."""
    found = (outcome.get("lost", ()) for outcome in arm_outcomes(trial).values())
    # The arms of a trial run together, so that they share their lost attempts.
    return list(max(found, key=len, default=()))


def _observations(ended: Sequence[BaseTrial], data: TrialData) -> list[Observation]:
    rows: list[Observation] = []
    for trial in ended:
        outcomes = arm_outcomes(trial)
        for arm, outcome in outcomes.items():
            for name, (mean, sem) in outcome.get("outputs", {}).items():
                rows.append(Observation(trial.index, arm, name, mean, sem, outcome["status"]))
        if outcomes:
            continue
        # A runner that is not ours: what its metrics fetched is the record.
        for row in data.get(trial.index, ()):
            name = from_identifier(row.metric_name)
            rows.append(
                Observation(
                    trial.index,
                    row.arm_name,
                    name,
                    _finite(row.mean),
                    _finite(row.se),
                    "completed",
                    step=int(row.step or 0),
                )
            )
    return rows


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < float("inf") else None


def _size(files: FileStore | None, sha256: str) -> int:
    path = None if files is None else files.path(sha256)
    # A runner with a folder of its own keeps its files there.
    return path.stat().st_size if path is not None and path.exists() else 0
