"""The Scheduler (Ax `Orchestrator`) over our store: written ahead, saved once, never re-evaluated.

Where it differs from Ax's: candidates are committed before they run; a step is one transaction; a
storage error repeats the write and never the evaluation; nothing sleeps for immediate runners;
``timeout``, Ctrl-C and `stop` are honoured at the end of the slice or generation step in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.metric import Metric
from ax.core.runner import Runner
from ax.core.trial_status import TrialStatus
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.orchestration.orchestrator import Orchestrator
from ax.orchestration.orchestrator_options import OrchestratorOptions, TrialType

from ax_jax_runners.campaign.evaluation_cache import EvaluationCache
from ax_jax_runners.campaign.generation_step import generation_step
from ax_jax_runners.campaign.heartbeat import Heartbeat
from ax_jax_runners.campaign.metadata import why_not_storable
from ax_jax_runners.campaign.options import immediate_options
from ax_jax_runners.campaign.own_loggers import levels_kept
from ax_jax_runners.campaign.recorder import Recorder
from ax_jax_runners.campaign.recording import RecordingOrchestrator
from ax_jax_runners.campaign.registration import register, take_up
from ax_jax_runners.campaign.stop_conditions import StopConditions
from ax_jax_runners.campaign.suggestion import suggest_trials
from ax_jax_runners.errors import AxJaxError
from ax_jax_runners.store import Store
from ax_jax_runners.tasks import Task

_LONGEST_REASON = 10_000


class Scheduler(RecordingOrchestrator):
    """Drives an experiment by a generation strategy, as Ax's Orchestrator does, and stores it.

    Args:
        experiment: The experiment, with a runner and metrics.
        generation_strategy: Its generation strategy.
        store: Where everything is recorded; None: memory only. A new experiment is registered as a
            campaign under its name.
        options: Ax's options; None: batches of eight and no waiting.
        recorder: The writer of an experiment that a `Campaign` has registered already.
        seed: Seed of the model phase's random numbers.
        cache: Whether an evaluation that the store has already is reused.
    """

    def __init__(
        self,
        experiment: Experiment,
        generation_strategy: GenerationStrategy,
        *,
        store: Store | None = None,
        options: OrchestratorOptions | None = None,
        recorder: Recorder | None = None,
        seed: int = 0,
        cache: bool = True,
    ) -> None:
        self._stop_conditions = StopConditions()
        self._seed = seed
        self._is_under_lease = False
        super().__init__(
            experiment, generation_strategy, options or immediate_options(), recorder=recorder
        )
        if store is not None and recorder is None:
            self._recorder = register(store, experiment, generation_strategy)
        self._cache = None
        if cache and self._recorder is not None:
            self._cache = EvaluationCache(self._recorder.store)

    @classmethod
    def from_stored_experiment(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        experiment_name: str,
        options: OrchestratorOptions | None = None,
        *,
        store: Store,
        tasks: Iterable[Task] = (),
        classes: Iterable[type[Runner | Metric]] = (),
        functions: Iterable[Callable[..., Any]] = (),
        seed: int = 0,
    ) -> Scheduler:
        """Go on with an experiment that a Scheduler stored.

        Args:
            experiment_name: Its name.
            options: Ax's options, which are not stored; None: batches of eight and no waiting.
            store: Where it is.
            tasks: Its task, where that is not a built-in problem's.
            classes: Its runner and metric classes, where they are not of this package.
            functions: Functions that its runner names, a simulated runtime for example.
            seed: Seed of the model phase's random numbers.

        Raises:
            CampaignNotFound: There is none of that name.
            LeaseHeld: A live process writes it.
        """
        experiment, strategy, recorder = take_up(
            store, experiment_name, tasks=tasks, classes=classes, functions=functions
        )
        return cls(experiment, strategy, options=options, recorder=recorder, seed=seed)

    def run_to(
        self,
        total: int,
        *,
        timeout: float | None = None,
        should_stop: Callable[[], bool] | None = None,
        on_progress: Callable[[Scheduler], None] | None = None,
    ) -> bool:
        """Run until the experiment has ``total`` trials that left the candidate state.

        Args:
            total: Absolute number of trials; attached and failed ones count.
            timeout: Seconds after which nothing new is started.
            should_stop: Asked between steps; True ends the run.
            on_progress: Called after every change.

        Returns:
            Whether the total was reached.
        """
        self._stop_conditions = StopConditions(timeout=timeout, should_stop=should_stop)
        with self._under_lease():
            self.poll_and_process_results()
            remaining = max(total - self.trials_begun, 0)
            if remaining or self.running_trials:
                for _ in self.run_trials_and_yield_results(
                    max_trials=remaining,
                    idle_callback=on_progress,  # pyright: ignore[reportArgumentType]
                ):
                    pass
        return self.trials_begun >= total and not self.running_trials

    @property
    def trials_begun(self) -> int:
        """Trials of any state but candidate."""
        return len(self.experiment.trials) - len(self.candidate_trials)

    @property
    def is_interrupted(self) -> bool:
        """Whether a deadline, Ctrl-C or another process asked for the end of this run."""
        return self._stop_conditions.are_met

    # ---- Overrides of Ax's Orchestrator ----

    def _set_logger(self, options: OrchestratorOptions) -> None:
        """As Ax, whose setting would reach every logger whose name starts with "ax"."""
        with levels_kept():
            super()._set_logger(options)

    def run_trials_and_yield_results(
        self, *args: Any, **kwargs: Any
    ) -> Generator[dict[str, Any], None, None]:
        """As Ax, with the lease kept alive meanwhile, and ``timeout_hours`` seen in a wait too."""
        hours = kwargs.get("timeout_hours")
        seconds = None if hours is None else 3600 * hours
        with self._stop_conditions.within(seconds), self._under_lease():
            yield from super().run_trials_and_yield_results(*args, **kwargs)

    def should_abort_optimization(self, timeout_hours: float | None = None) -> bool:
        """As Ax, and for every reason of `is_interrupted`."""
        return super().should_abort_optimization(timeout_hours) or self.is_interrupted

    def wait_for_completed_trials_and_report_results(
        self, idle_callback: Callable[[Any], None] | None = None, force_refit: bool = False
    ) -> dict[str, Any]:
        """Poll until a trial has ended; waits in short pieces and ends when interrupted."""
        pause = float(self.options.init_seconds_between_polls or 0)
        # What is saved already can wait for the next run; a poll would let trials go on.
        while (
            self.pending_trials
            and not (self._save_is_due and self.is_interrupted)
            and not self.poll_and_process_results()
        ):
            if idle_callback is not None:
                idle_callback(self)
            if self._stop_conditions.rest(self.runner, pause):
                break
            pause *= self.options.seconds_between_polls_backoff_factor
        if idle_callback is not None:
            idle_callback(self)
        return self.report_results(force_refit=force_refit)

    def run_trials(
        self,
        new_trials: list[BaseTrial],
        existing_trials: list[BaseTrial],
        stage_only: bool = False,
    ) -> dict[int, dict[str, Any]]:
        """Evaluate once. Ax would evaluate again when saving fails; here only the save repeats."""
        waiting = [*existing_trials, *new_trials]
        if self._cache is not None and self._recorder is not None:
            self._cache.recall(self._recorder.evaluation_ids(self.experiment), waiting)
        try:
            metadata = self.runner.run_multiple(trials=waiting)
        except AxJaxError:
            raise
        except Exception as error:
            reason = f"The runner raised {type(error).__name__}: {error}"[:_LONGEST_REASON]
            for trial in waiting:
                trial.mark_as(TrialStatus.FAILED, unsafe=True, reason=reason)
            self._save_or_update_trials_in_db_if_possible(self.experiment, waiting)
            return {}
        refused = []
        for trial in waiting:
            found = metadata.get(trial.index)
            complaint = None if found is None else why_not_storable(found)
            if complaint is not None:
                del metadata[trial.index]
                trial.mark_as(TrialStatus.FAILED, unsafe=True, reason=complaint)
                refused.append(trial)
        if refused:
            self._save_or_update_trials_in_db_if_possible(self.experiment, refused)
        self._update_and_save_trials(
            existing_trials=existing_trials,
            new_trials=new_trials,
            metadata=metadata,
            stage_only=stage_only,
        )
        return metadata

    def poll_trial_status(
        self, poll_all_trial_statuses: bool = False
    ) -> dict[TrialStatus, set[int]]:
        """As Ax, without its decorator that would run a long slice again."""
        return Orchestrator.poll_trial_status.__wrapped__(self, poll_all_trial_statuses)  # pyright: ignore

    def _prepare_trials(self, max_new_trials: int) -> tuple[list[BaseTrial], list[BaseTrial]]:
        # A stopped trial may keep its worker for the rest of a slice; to Ax, no capacity and
        # nothing pending is an error.
        while not self.pending_trials and self.runner.poll_available_capacity() == 0:
            if self._stop_conditions.rest(self.runner, 0.05):
                return [], []
        existing, new = super()._prepare_trials(max_new_trials)
        # Attached trials count towards the total, too.
        existing = existing[: self._num_remaining_requested_trials or None]
        if self._recorder is not None and (existing or new):
            self._recorder.save_candidates(
                self.experiment, self.generation_strategy, new=new, existing=existing
            )
        # Everything is in the database now: to what follows, all of them are known trials.
        return [*existing, *new], []

    def _gen_new_trials_from_generation_strategy(
        self, num_trials: int, n: int | None = None
    ) -> list[list[GeneratorRun]]:
        with generation_step(self._seed, len(self.experiment.trials)):
            if self.options.trial_type is TrialType.BATCH_TRIAL:
                return super()._gen_new_trials_from_generation_strategy(num_trials, n)
            return suggest_trials(
                self.generation_strategy,
                self.experiment,
                num_trials,
                should_stop=lambda: self.is_interrupted,
            )

    def _check_if_failure_rate_exceeded(self, force_check: bool = False) -> bool:
        """As Ax, and of the whole experiment: one more trial that fails makes no failure of it."""
        if not super()._check_if_failure_rate_exceeded(force_check):
            return False
        rate = len(self.failed_abandoned_trial_indices) / len(self.experiment.trials)
        self._failure_rate_has_been_exceeded = rate > self.options.tolerated_trial_failure_rate
        return self._failure_rate_has_been_exceeded

    @contextmanager
    def _under_lease(self) -> Iterator[None]:
        """Keep the lease alive, and the attempts of trials that run across it in order."""
        recorder = self._recorder
        if recorder is None or self._is_under_lease:
            yield
            return
        recorder.flush(self.experiment)
        self._is_under_lease = True
        try:
            with Heartbeat(recorder.store, recorder.lease) as heartbeat:
                self._stop_conditions.heartbeat = heartbeat
                waiting = [*self.running_trials, *self.candidate_trials]
                self._write(self._long_trials.take_up(recorder, self.runner, waiting))
                yield
                recorder.pause_attempts([trial.index for trial in self.running_trials])
        finally:
            self._is_under_lease = False
