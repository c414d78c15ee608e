"""A campaign's state in this process, and the right to write it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ax.core.experiment import Experiment
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.registry_bundle import RegistryBundleBase

from ax_jax_runners.campaign.early_stopping import keep_curves
from ax_jax_runners.campaign.leasing import take_lease
from ax_jax_runners.campaign.loading import load
from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.campaign.options import RunOptions
from ax_jax_runners.campaign.recorder import Recorder
from ax_jax_runners.errors import CampaignError, StoreError
from ax_jax_runners.files import FileStore
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store import Store, campaigns
from ax_jax_runners.store.campaigns import CampaignRecord


@dataclass
class LiveCampaign:
    """Everything a campaign holds in memory.

    Attributes:
        store: Its database and files.
        record: Its row, as last read.
        experiment: The Ax experiment.
        strategy: The Ax generation strategy.
        bundle: The registries that read and write both.
        goals: Objectives and constraints.
        options: How it is run.
        token: The lease under which this state was written last; None: it was read, and may be
            behind by the time that it is written.
        has_stored_runner: Whether the runner was read rather than given.
    """

    store: Store
    record: CampaignRecord
    experiment: Experiment
    strategy: GenerationStrategy
    bundle: RegistryBundleBase
    goals: Goals
    options: RunOptions
    token: int | None = None
    has_stored_runner: bool = False
    _recorder: Recorder | None = field(default=None, init=False)

    @contextmanager
    def writing(self, *, take_over: bool = False) -> Iterator[Recorder]:
        """Hold the campaign's lease; read everything again when somebody else has written since.

        Args:
            take_over: Take the lease from a live process too, which then writes nothing more.

        Raises:
            LeaseHeld: A live process has the lease, and ``take_over`` is not set.
        """
        recorder = self._become_writer(take_over)
        try:
            yield recorder
        except StoreError:
            # The database may be out of reach, and then so is the lease: it ends with this process
            # or by its expiry. What was not saved is kept for the next time.
            raise
        except BaseException:
            recorder.release()
            raise
        recorder.release()

    @property
    def runner(self) -> TaskRunner:
        """The experiment's runner.

        Raises:
            CampaignError: It holds no task, so the campaign can only be read.
        """
        runner = self.experiment.runner
        if not isinstance(runner, TaskRunner):
            raise CampaignError(
                f"Campaign {self.record.name!r} has the runner {type(runner).__name__}, which "
                "holds no task; drive it by the Scheduler."
            )
        return runner

    def sweep(self) -> None:
        """Remove temporary files that killed writers left, of the store and of the runner."""
        folders = {files.folder for files in (self.store.files, self.runner.files) if files}
        for folder in folders:
            FileStore(folder).sweep()

    def read_record(self) -> None:
        """Read the campaign's row again."""
        with self.store.reading() as connection:
            self.record = campaigns.load_campaign(connection, self.record.name)

    def _become_writer(self, take_over: bool) -> Recorder:
        lease = take_lease(self.store, self.record, take_over=take_over)
        recorder = self._recorder
        if recorder is not None and lease.token == recorder.lease.token + 1:
            recorder.lease = lease
            recorder.flush(self.experiment)
            return recorder
        if self.token is None or lease.token != self.token + 1:
            self._read_again()
        if self.has_stored_runner and isinstance(self.experiment.runner, TaskRunner):
            # The stored folder is that of the store where the campaign began, maybe another one.
            folder = self.store.files.folder if self.store.files is not None else None
            self.experiment.runner.directory = None if folder is None else str(folder)
        self._recorder = Recorder(self.store, self.record, lease, self.bundle)
        return self._recorder

    def _read_again(self) -> None:
        self.read_record()
        runner = self.experiment.runner
        self.experiment, self.strategy = load(
            self.store,
            self.record,
            self.bundle,
            runner if isinstance(runner, TaskRunner) else None,
        )
        keep_curves(self.experiment, self.options.early_stopping, self.goals)
