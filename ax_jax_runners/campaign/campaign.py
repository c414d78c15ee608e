"""A campaign: a task, an objective and a store; it runs, stops, resumes and tells what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from ax.api.client import Client
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import BaseEarlyStoppingStrategy
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy

from ax_jax_runners.campaign.attaching import Measured, attach_trial
from ax_jax_runners.campaign.designs import attach_points
from ax_jax_runners.campaign.driving import drive, reset_failed, trials_begun
from ax_jax_runners.campaign.founding import check_total, found_or_open, reopen, runner_for
from ax_jax_runners.campaign.history import import_history
from ax_jax_runners.campaign.loading import open_client
from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.campaign.options import RunOptions, check_timeout
from ax_jax_runners.campaign.progress import ProgressLine
from ax_jax_runners.campaign.results import Best, best_of, to_frame
from ax_jax_runners.campaign.selecting import select
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters import Design
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.store import Chosen, Selection, Store
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
        early_stopping: Ax strategy that ends long trials early, by the curves of their progress.
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
        early_stopping: BaseEarlyStoppingStrategy | None = None,
        global_stopping: BaseGlobalStoppingStrategy | None = None,
        timeout: float | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(outcome_constraints, str):
            raise ConfigurationError(
                f"outcome_constraints is the text {outcome_constraints!r}; give a list of texts."
            )
        check_total(trials)
        options = RunOptions(batch_size, timeout, global_stopping, early_stopping)
        opened = store if isinstance(store, Store) else Store.open(store)
        self._live = found_or_open(
            name,
            runner_for(task, runner, seed=seed, store=opened),
            store=opened,
            objective=objective,
            outcome_constraints=outcome_constraints,
            generation=generation,
            options=options,
            trials=trials,
            seed=seed,
        )
        self._total = trials or self._live.record.total_trials
        self._was_interrupted = False

    @classmethod
    def load(
        cls,
        name: str,
        task: Task | None = None,
        *,
        store: str | Store = "sqlite:///campaigns.db",
        classes: Sequence[type[TaskRunner]] = (),
        functions: Sequence[Callable[..., Any]] = (),
        accept_changed: bool = False,
    ) -> Self:
        """Open a stored campaign with its stored options.

        Args:
            name: Its name in the store.
            task: The task again, where it is not a built-in problem's. Without it the campaign can
                be read but not run.
            store: A database URL or an open `Store`.
            classes: The campaign's runner class, where it is one of your own.
            functions: The functions that its runner was given, such as a simulated runtime.
            accept_changed: Go on although the task's computation is no longer the same.

        Raises:
            CampaignNotFound: There is no campaign of that name.
            TaskChanged: The task computes something else than the stored one.
        """
        opened = store if isinstance(store, Store) else Store.open(store)
        self = cls.__new__(cls)
        self._live = reopen(
            name,
            task,
            store=opened,
            classes=classes,
            functions=functions,
            accept_changed=accept_changed,
        )
        self._total = self._live.record.total_trials
        self._was_interrupted = False
        return self

    def run(
        self,
        trials: int | None = None,
        *,
        timeout: float | None = None,
        take_over: bool = False,
        cache: bool = True,
        progress: bool | None = None,
    ) -> Self:
        """Run until there are ``trials`` trials in all, a stop is asked for, or time is up.

        Ctrl-C ends the run after the step in flight; a second one ends the process. Either way
        nothing recorded is lost, and `run` goes on from there.

        Args:
            trials: Absolute total, attached and failed ones included; default: the stored one.
            timeout: Seconds for this run; default: the campaign's.
            take_over: Take the campaign from another live process, which then fails with
                `LeaseLost` at its next write.
            cache: Take results that the store has already, of any campaign, instead of evaluating
                again: the same computation, parameters and, for random results, the same key.
            progress: Show a live line; default: where there is a terminal or a notebook.

        Raises:
            LeaseHeld: Another live process runs this campaign.
            LeaseLost: Another process took it over; nothing of it was changed since.
            CampaignError: Too many trials failed.
            StoreError: The database failed; what was computed is kept and written by the next run.
        """
        check_total(trials)
        check_timeout(timeout)
        total = trials or self._total or DEFAULT_TRIALS
        live = self._live
        self._was_interrupted = False
        if self.trials_begun >= total and not self.experiment.trials_by_status[TrialStatus.RUNNING]:
            return self
        with live.writing(take_over=take_over) as recorder:
            live.sweep()
            self._total = total
            timeout = timeout or live.options.timeout
            line = ProgressLine(self, total, started=time.monotonic(), show=progress)
            self._was_interrupted = drive(live, recorder, total, timeout, line, cache=cache)
        live.read_record()
        return self

    def attach(self, parameters: Mapping[str, Any], outputs: Measured | None = None) -> int:
        """Add an arm of your own: a starting point to run, or an earlier measurement.

        Args:
            parameters: A value for every free parameter; an earlier measurement may lie outside
                the bounds.
            outputs: Means by output name, or pairs of mean and standard error; None: the arm waits
                for the next `run`.

        Returns:
            The trial's index.
        """
        with self._live.writing() as recorder:
            task = self._live.runner.bound_task
            trial, rows = attach_trial(
                self.experiment, task.space, self.goals, self.outputs, parameters, outputs
            )
            recorder.save_trials(self.experiment, [trial], {trial.index: rows} if rows else {})
        return trial.index

    def attach_design(self, design: Design) -> tuple[int, ...]:
        """Add every point of a design as a trial that waits for the next `run`.

        Points whose arm is already there, from another design or from Ax, are left out. A run's
        total counts attached trials, as every other.

        Args:
            design: A grid, Sobol or Latin hypercube design of the task's parameters.

        Returns:
            The indices of the new trials.

        Raises:
            ParameterError: A point whose names or values are not those of the task's parameters.
            ConfigurationError: A point outside the bounds, or one that breaks a constraint.
        """
        with self._live.writing() as recorder:
            space = self._live.runner.bound_task.space
            trials = attach_points(self.experiment, space, self.goals, design)
            recorder.save_trials(self.experiment, trials, {})
        return tuple(trial.index for trial in trials)

    def import_history(self, path: str | Path) -> int:
        """Store the checkpoints of a run of quantammsim, so that `select` chooses among them, too.

        The file is the one that the original writes. Where the run was begun again, the later
        rows count. Numbers become the metrics ``objective``, ``train_objective`` and
        ``test_objective``; metrics of dictionaries keep their names, in the windows "train",
        "test" and "continuous_test". Importing the file of a run again replaces what it was.

        Args:
            path: A file of results, see `strategies.load_manually`.

        Returns:
            The index under which `select` reports it: a negative one, for it is no trial.

        Raises:
            DataFileMissing: There is no such file.
            DataFileError: It holds something else.
        """
        with self._live.writing() as recorder:
            return import_history(recorder, path)

    def retry_failed(self, *, progress: bool | None = None) -> Self:
        """Run every failed trial again, under its own index."""
        with self._live.writing() as recorder:
            again = reset_failed(self.experiment)
            if again:
                recorder.save_trials(self.experiment, again, {})
        return self.run(trials=max(len(self.experiment.trials), 1), progress=progress)

    def best(self) -> Best | tuple[Best, ...]:
        """The best observed feasible arm; the Pareto front for several objectives.

        Raises:
            NoFeasibleArm: No complete arm keeps the constraints.
        """
        return best_of(self.experiment, self.goals)

    def select(
        self,
        selection: str | Selection,
        *,
        metric: str | None = None,
        minimum: float = 0.0,
    ) -> Chosen | tuple[Chosen, ...] | None:
        """Choose among everything observed, checkpoints of long trials included.

        Args:
            selection: What to choose; or a name such as "best_train_objective", see
                `named_selection`. "best_objective" is by the campaign's own objective where no
                output is called so; before any trial, by that of an imported history.
            metric: For a name: the metric to choose by, in windows "train" and "test".
            minimum: For a name with a least train or test objective: that value.

        Raises:
            ConfigurationError: There is no selection of that name.
            UnknownMetric: A metric that nothing recorded has.
            NoFeasibleArm: Nothing keeps the conditions, and the selection does not say what then.
        """
        return select(self.store, self.record, selection, metric=metric, minimum=minimum)

    def to_frame(self) -> pd.DataFrame:
        """One row an arm: trial_index, arm_name, trial_status, the parameters, the outputs."""
        return to_frame(self.experiment, self.outputs)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file about the campaign so far."""
        from ax_jax_runners.campaign.report import write_report

        return write_report(self, Path(path))

    def client(self) -> Client:
        """An Ax `Client` on the same database, with a session of its own, for Ax's analyses."""
        return open_client(self.store, self.name, self._live.bundle)

    @property
    def name(self) -> str:
        return self._live.record.name

    @property
    def store(self) -> Store:
        """Its database and files."""
        return self._live.store

    @property
    def options(self) -> RunOptions:
        """How it is run: batch size, timeout, global stopping."""
        return self._live.options

    @property
    def experiment(self) -> Experiment:
        """The Ax experiment, live."""
        return self._live.experiment

    @property
    def generation_strategy(self) -> GenerationStrategy:
        """The Ax generation strategy, live."""
        return self._live.strategy

    @property
    def goals(self) -> Goals:
        """Objectives and constraints as linear forms of outputs."""
        return self._live.goals

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that the task reports."""
        return tuple(self._live.record.configuration["outputs"])

    @property
    def record(self) -> CampaignRecord:
        """The campaign's row in the store, as last read."""
        return self._live.record

    @property
    def total_trials(self) -> int | None:
        """The total that the next `run` aims at when it is given none."""
        return self._total

    @property
    def trials_begun(self) -> int:
        """Trials that are past waiting."""
        return trials_begun(self.experiment)

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended the last `run`."""
        return self._was_interrupted
