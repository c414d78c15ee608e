"""A campaign: a task, an objective and a store; it runs, stops, resumes and tells what it found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from ax.api.client import Client
from ax.core.base_trial import TrialStatus
from ax.core.experiment import Experiment
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy
from ax.orchestration.orchestrator import FailureRateExceededError

from ax_jax_runners.campaign import identity, loading
from ax_jax_runners.campaign.attaching import Measured, attach_trial
from ax_jax_runners.campaign.building import build_experiment
from ax_jax_runners.campaign.generation import build_strategy
from ax_jax_runners.campaign.interruption import interruptible
from ax_jax_runners.campaign.objectives import Goals, read_goals
from ax_jax_runners.campaign.options import RunOptions
from ax_jax_runners.campaign.progress import ProgressLine
from ax_jax_runners.campaign.recorder import Recorder, take_lease
from ax_jax_runners.campaign.registration import create
from ax_jax_runners.campaign.registry import registry_bundle
from ax_jax_runners.campaign.results import Best, best_of, to_frame
from ax_jax_runners.campaign.scheduler import Scheduler, immediate_options
from ax_jax_runners.errors import CampaignError, CampaignExists, ConfigurationError
from ax_jax_runners.runners import JaxRunner
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store import Store, campaigns
from ax_jax_runners.store.campaigns import CampaignRecord
from ax_jax_runners.tasks import Task

DEFAULT_TRIALS = 20


class Campaign:
    """An adaptive experiment: Ax decides what to try, the task computes it, the store keeps it.

    Making a campaign stores it; nothing runs before `run`. The same name with the same
    configuration opens the stored one.

    Args:
        name: Its name in the store.
        task: What one trial computes, run in this process by a `JaxRunner`.
        runner: A runner that holds the task; instead of ``task``.
        objective: Linear expressions of the task's outputs to maximise: ``"-rms"``, ``"a, -b"``.
        outcome_constraints: Linear inequalities of outputs: ``"power <= 3"``.
        store: A database URL or an open `Store`.
        trials: Absolute number of trials that `run` aims at; None: 20, or what was stored.
        batch_size: Trials generated and run together.
        generation: ``"auto"``, ``"sobol"``, ``"fast"``, ``"quality"`` or an Ax GenerationStrategy.
        global_stopping: Ax strategy that ends the campaign early.
        timeout: Seconds after which a run starts nothing new.
        seed: Seed of the generation and of the runner's random numbers.

    Raises:
        ConfigurationError: An argument that cannot be used; the message names it.
        CampaignExists: The name is taken by a campaign with another configuration.
        StoreError: The database cannot be used.
    """

    def __init__(
        self,
        name: str,
        task: Task | None = None,
        *,
        runner: TaskRunner | None = None,
        objective: str,
        outcome_constraints: Sequence[str] = (),
        store: str | Store = "sqlite:///campaigns.db",
        trials: int | None = None,
        batch_size: int = 8,
        generation: str | GenerationStrategy = "auto",
        global_stopping: BaseGlobalStoppingStrategy | None = None,
        timeout: float | None = None,
        seed: int = 0,
    ) -> None:
        _check_name(name)
        _check_total(trials)
        if isinstance(outcome_constraints, str):
            raise ConfigurationError(
                f"outcome_constraints is the text {outcome_constraints!r}; give a list of texts."
            )
        opened = store if isinstance(store, Store) else Store.open(store)
        runner = _runner(task, runner, seed, opened)
        options = RunOptions(batch_size, timeout, global_stopping)
        goals = read_goals(objective, outcome_constraints, runner.task.outputs)
        configuration = identity.configuration(
            runner,
            objective=objective,
            outcome_constraints=outcome_constraints,
            generation=generation,
            seed=seed,
        )
        bundle = registry_bundle(tasks=(runner.task,))
        with opened.reading() as connection:
            record = campaigns.find_campaign(connection, name)
        if record is None:
            experiment = build_experiment(name, runner, goals)
            strategy = build_strategy(
                generation,
                search_space=experiment.search_space,
                batch_size=batch_size,
                seed=seed,
            )
            record = create(
                opened,
                experiment,
                strategy,
                bundle,
                configuration=configuration,
                options=options.to_json(bundle),
                total_trials=trials,
            )
            self._adopt(opened, record, experiment, strategy, bundle, goals, options, token=0)
            return
        differing = identity.differences(record.configuration, configuration)
        if differing:
            raise CampaignExists(
                f"Campaign {name!r} exists in {opened.description} with another configuration: "
                f"{'; '.join(differing)}. Choose another name, or load it with Campaign.load."
            )
        stored = loading.load(opened, record, bundle, runner)
        self._adopt(opened, record, *stored, bundle, goals, options, token=None)
        if trials is not None:
            self._total = trials

    @classmethod
    def load(
        cls,
        name: str,
        task: Task | None = None,
        *,
        store: str | Store = "sqlite:///campaigns.db",
        accept_changed: bool = False,
    ) -> Self:
        """Open a stored campaign with its stored options.

        Args:
            name: Its name in the store.
            task: The task again, where it is not a built-in problem's. Without it the campaign can
                be read but not run.
            store: A database URL or an open `Store`.
            accept_changed: Go on although the task's computation is no longer the same.

        Raises:
            CampaignNotFound: There is no campaign of that name.
            TaskChanged: The task computes something else than the stored one.
        """
        opened = store if isinstance(store, Store) else Store.open(store)
        with opened.reading() as connection:
            record = campaigns.load_campaign(connection, name)
        bundle = registry_bundle(
            tasks=() if task is None else (task,), accept_changed=accept_changed
        )
        loading.check_task(record, task, accept_changed=accept_changed)
        experiment, strategy = loading.load(opened, record, bundle)
        stored = record.configuration
        goals = read_goals(
            stored["objective"], stored["outcome_constraints"], tuple(stored["outputs"])
        )
        options = RunOptions.from_json(record.options, bundle)
        self = cls.__new__(cls)
        self._adopt(opened, record, experiment, strategy, bundle, goals, options, token=None)
        self._has_stored_runner = True
        return self

    def run(
        self,
        trials: int | None = None,
        *,
        timeout: float | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Run until there are ``trials`` trials in all, a stop is asked for, or time is up.

        Ctrl-C ends the run after the step in flight; a second one ends the process. Either way
        nothing recorded is lost, and `run` goes on from there.

        Args:
            trials: Absolute total, attached and failed ones included; default: the stored one.
            timeout: Seconds for this run; default: the campaign's.
            progress: Show a live line; default: where there is a terminal or a notebook.

        Raises:
            LeaseHeld: Another live process runs this campaign.
            CampaignError: Too many trials failed.
            StoreError: The database failed; what was computed is kept and written by the next run.
        """
        _check_total(trials)
        total = trials or self._total or DEFAULT_TRIALS
        if self.trials_begun >= total and not self._in_flight():
            return self
        recorder = self._take_over()
        finished = False
        try:
            self._total = total
            recorder.set_state(
                "running", options=self._options.to_json(self._bundle), total_trials=total
            )
            finished = self._drive(recorder, total, timeout or self._options.timeout, progress)
        except FailureRateExceededError as error:
            recorder.set_state("failed", detail=str(error))
            raise CampaignError(self._failure_sentence()) from error
        else:
            recorder.set_state("complete" if finished else "stopped")
        finally:
            recorder.release()
        return self

    def attach(self, parameters: Mapping[str, Any], outputs: Measured | None = None) -> int:
        """Add an arm of your own: a starting point to run, or an earlier measurement.

        Args:
            parameters: A value for every free parameter.
            outputs: Means by output name, or pairs of mean and standard error; None: the arm waits
                for the next `run`.

        Returns:
            The trial's index.
        """
        recorder = self._take_over()
        try:
            trial, rows = attach_trial(
                self.experiment, self._space(), self._goals, self.outputs, parameters, outputs
            )
            recorder.save_trials(self.experiment, [trial], {trial.index: rows} if rows else {})
        finally:
            recorder.release()
        return trial.index

    def retry_failed(self, *, progress: bool | None = None) -> Self:
        """Run every failed trial again, under its own index."""
        recorder = self._take_over()
        try:
            again = list(self.experiment.trials_by_status[TrialStatus.FAILED])
            for trial in again:
                trial._status = TrialStatus.CANDIDATE
                trial._status_reason = None
                trial._time_completed = None
                trial._run_metadata = {}
            if again:
                recorder.save_trials(self.experiment, again, {})
        finally:
            recorder.release()
        return self.run(trials=max(len(self.experiment.trials), 1), progress=progress)

    def best(self) -> Best | tuple[Best, ...]:
        """The best observed feasible arm; the Pareto front for several objectives.

        Raises:
            NoFeasibleArm: No complete arm keeps the constraints.
        """
        return best_of(self.experiment, self._goals)

    def to_frame(self) -> pd.DataFrame:
        """One row an arm: trial_index, arm_name, trial_status, the parameters, the outputs."""
        return to_frame(self.experiment, self.outputs)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file about the campaign so far."""
        from ax_jax_runners.campaign.report import write_report

        return write_report(self, Path(path))

    def client(self) -> Client:
        """An Ax `Client` on the same database, with a session of its own, for Ax's analyses."""
        return loading.open_client(self.store, self.name, self._bundle)

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def experiment(self) -> Experiment:
        """The Ax experiment, live."""
        return self._experiment

    @property
    def generation_strategy(self) -> GenerationStrategy:
        """The Ax generation strategy, live."""
        return self._strategy

    @property
    def goals(self) -> Goals:
        """Objectives and constraints as linear forms of outputs."""
        return self._goals

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that the task reports."""
        return tuple(self._record.configuration["outputs"])

    @property
    def record(self) -> CampaignRecord:
        """The campaign's row in the store, as last read."""
        return self._record

    @property
    def total_trials(self) -> int | None:
        """The total that the next `run` aims at when it is given none."""
        return self._total

    @property
    def trials_begun(self) -> int:
        """Trials that are past waiting."""
        waiting = self._experiment.trials_by_status[TrialStatus.CANDIDATE]
        return len(self._experiment.trials) - len(waiting)

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended the last `run`."""
        return self._was_interrupted

    def _adopt(
        self,
        store: Store,
        record: CampaignRecord,
        experiment: Experiment,
        strategy: GenerationStrategy,
        bundle: Any,
        goals: Goals,
        options: RunOptions,
        *,
        token: int | None,
    ) -> None:
        self.store = store
        self._record = record
        self._experiment = experiment
        self._strategy = strategy
        self._bundle = bundle
        self._goals = goals
        self._options = options
        self._total = record.total_trials
        # The lease that this object's state belongs to: any other writer makes it stale.
        self._token = token
        self._recorder: Recorder | None = None
        self._was_interrupted = False
        self._has_stored_runner = False

    def _take_over(self) -> Recorder:
        """Become the writer; read everything again when somebody else has written since."""
        lease = take_lease(self.store, self._record)
        if self._recorder is not None and lease.token == self._recorder.lease.token + 1:
            self._recorder.lease = lease
            self._recorder.flush(self._experiment)
            return self._recorder
        if self._token is None or lease.token != self._token + 1:
            runner = self._experiment.runner
            with self.store.reading() as connection:
                self._record = campaigns.load_campaign(connection, self.name)
            self._experiment, self._strategy = loading.load(
                self.store, self._record, self._bundle, runner
            )
        live = self._experiment.runner
        if self._has_stored_runner and isinstance(live, TaskRunner):
            # The stored folder is that of the store where the campaign began, which may be another.
            live.directory = str(self.store.files.folder) if self.store.files else None
        self._recorder = Recorder(self.store, self._record, lease, self._bundle)
        return self._recorder

    def _drive(
        self, recorder: Recorder, total: int, timeout: float | None, progress: bool | None
    ) -> bool:
        options = immediate_options(
            self._options.batch_size,
            global_stopping_strategy=self._options.global_stopping,
        )
        line = ProgressLine(self, total, started=time.monotonic(), show=progress)
        with line, interruptible(line.say_stopping) as asked:
            scheduler = Scheduler(
                self._experiment,
                self._strategy,
                options=options,
                recorder=recorder,
                seed=self._record.configuration["seed"],
            )
            reached = scheduler.run_to(
                total, timeout=timeout, should_stop=asked.is_set, on_progress=line.update
            )
            self._was_interrupted = asked.is_set()
            # A global stopping strategy or an exhausted space completes a campaign early.
            return reached or not scheduler.is_interrupted

    def _in_flight(self) -> bool:
        return bool(self._experiment.trials_by_status[TrialStatus.RUNNING])

    def _space(self) -> Any:
        runner = self._experiment.runner
        assert isinstance(runner, TaskRunner)
        return runner.task.space

    def _failure_sentence(self) -> str:
        failed = self._experiment.trials_by_status[TrialStatus.FAILED]
        reasons = [trial.status_reason for trial in failed if trial.status_reason]
        return (
            f"Campaign {self.name!r}: {len(failed)} of {self.trials_begun} trials failed, more "
            f"than nine in ten; the last reason: {reasons[-1] if reasons else 'none was given'}"
        )


def _runner(
    task: Task | None, runner: TaskRunner | None, seed: int, store: Store
) -> TaskRunner:
    if (task is None) == (runner is None):
        given = "neither" if task is None else "both"
        raise ConfigurationError(f"A campaign takes a task or a runner; {given} was given.")
    if runner is not None:
        if not isinstance(runner, TaskRunner):
            raise ConfigurationError(
                f"The runner is a {type(runner).__name__}, which holds no task; give one of "
                "ax_jax_runners.runners, or use the Scheduler."
            )
        return runner
    if not isinstance(task, Task):
        raise ConfigurationError(
            f"The task is a {type(task).__name__}; give a FeatureTask, or an object with space, "
            "outputs, begin, advance and progress."
        )
    folder = store.files.folder if store.files is not None else None
    return JaxRunner(task, seed=seed, directory=folder)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > 100 or "\x00" in name:
        raise ConfigurationError(
            f"Campaign name {name!r}: give a text of 1 to 100 characters that is not blank."
        )


def _check_total(trials: int | None) -> None:
    if trials is not None and (not isinstance(trials, int) or trials < 1):
        raise ConfigurationError(
            f"trials is {trials!r}; give the total number of trials, at least 1."
        )
