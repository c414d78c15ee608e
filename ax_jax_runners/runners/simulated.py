"""The runner of a simulated cluster: real results, virtual time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import pandas as pd
from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from ax.utils.common.serialization import TClassDecoderRegistry, TDecoderRegistry

from ax_jax_runners.runners.base import TaskRunner, judge
from ax_jax_runners.runners.execution import Execution, InProcessExecution
from ax_jax_runners.runners.outcome import ArmOutcome, decode_outcomes
from ax_jax_runners.runners.recalling import Recalling
from ax_jax_runners.runners.simulation import (
    FUNCTIONS,
    FunctionResolver,
    HiddenResults,
    Plan,
    Runtime,
    RuntimeModel,
    Simulation,
    check_cluster,
    check_runtime,
    compute,
    decode_runtime,
    encode_runtime,
    runtime_model,
    sampled,
    timeline,
)
from ax_jax_runners.runners.simulation import sample_runtime_unif as sample_runtime_unif
from ax_jax_runners.tasks import Task, UnboundTask


@final
class SimulatedBackendJaxRunner(TaskRunner):
    """Computes trials in this process and shows their results when a cluster would have.

    The cluster runs ``max_concurrency`` trials at a time; the others wait, the earliest submitted
    first. Its clock starts at 0 s for every experiment, and nothing sleeps: a poll jumps to the
    next event, the end of a trial or of a slice of a long one. Slices are equally long. To keep
    slots busy, let as many trials be pending as there are slots (``batch_size`` of a campaign).

    Everything is drawn from ``seed`` and the trial's index, and what the cluster needs stands in
    the trials' run_metadata, so equal runners give equal histories, a resume included.

    Attributes:
        max_concurrency: Slots of the cluster.
        runtime: How long trials run; see the constructor.
        failure_rate: Probability that the cluster fails a trial.
        time_scaling: Runtimes are divided by it.
    """

    __slots__ = ("_model", "_runtime", "_simulations")

    computes_while_running = False
    deciding = ("seed", "max_concurrency", "runtime", "failure_rate", "time_scaling")

    def __init__(
        self,
        task: Task | UnboundTask,
        *,
        max_concurrency: int = 1,
        runtime: Runtime = None,
        failure_rate: float = 0.0,
        time_scaling: float = 1.0,
        seed: int = 0,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Keep the arguments; nothing is computed yet.

        Args:
            task: What one arm computes; it must come to an end by itself.
            max_concurrency: Trials that run at a time, at least 1.
            runtime: Seconds that a trial runs: None (uniform from 1 to 5 s), a number, a numpyro
                distribution of positive numbers, a function of the parameters (a dictionary of
                scalars; of a BatchTrial the longest arm counts), or recorded runtimes: a sequence
                by trial index that starts again after its last one, or a mapping.
            failure_rate: Probability from 0 to 1 that a trial fails at a uniform part of its
                runtime.
            time_scaling: Runtimes are divided by it.
            seed: Root of all keys and draws.
            directory: Folder where the arrays of finished arms are kept, or None.

        Raises:
            ConfigurationError: An argument that cannot be used; the message names it.
        """
        self.max_concurrency, self.failure_rate, self.time_scaling = check_cluster(
            max_concurrency, failure_rate, time_scaling
        )
        self._runtime = check_runtime(runtime)
        super().__init__(task, seed=seed, directory=directory)

    @property
    def _plan(self) -> Plan:
        return Plan(self.failure_rate, self.time_scaling, self.seed)

    @property
    def runtime(self) -> Runtime:
        """How long trials run."""
        return self._runtime

    def start_execution(self, task: Task) -> Execution:
        """Return an execution in this process; what is in flight is computed again on a resume."""
        return InProcessExecution(task, seed=self.seed, files=self.files)

    def run_multiple(self, trials: Iterable[BaseTrial]) -> dict[int, dict[str, Any]]:
        """Submit trials at the present virtual time and return their run_metadata by index.

        It holds ``runtime``, the sampled seconds before time scaling, and ``simulated``, what the
        cluster knows. The results are computed here, all together, and shown by polls.

        Raises:
            TaskNotBound: The task, or the runtime's function, was not given again on load.
            TaskChanged: The given one computes something else than the stored one.
            ConfigurationError: A recorded runtime is missing.
        """
        found: dict[int, dict[str, Any]] = {}
        for experiment, group in _by_experiment(trials):
            found |= self._submit(self._simulation(experiment), group)
        return found

    def recall(self, trial: BaseTrial, outcomes: Mapping[str, ArmOutcome]) -> None:
        """Take outcomes that are known already, of arms that are done after one slice.

        What a long arm shows at each event of the cluster is not in its final outcome.
        """
        super().recall(trial, {name: o for name, o in outcomes.items() if not o.curves})

    def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
        """Let virtual time pass up to the next event, and record what is new of these trials.

        No time passes while the end of a trial has not been reported, nor in the first poll after
        that, so that a free slot can be filled at once. A trial that runs, but is not on the
        cluster, is submitted. Bad arms of a BatchTrial are abandoned.

        Raises:
            TaskNotBound: An unfinished trial needs a task that was not given again on load.
        """
        statuses: dict[TrialStatus, set[int]] = {}
        for experiment, group in _by_experiment(trials):
            live = [trial for trial in group if not trial.status.is_terminal]
            simulation = self._simulation(experiment)
            self._poll(simulation, live)
            for trial in live:
                in_flight = simulation.is_in_flight(trial)
                status = TrialStatus.RUNNING if in_flight else _judged(trial)
                statuses.setdefault(status, set()).add(trial.index)
        return statuses

    def stop(self, trial: BaseTrial, reason: str | None = None) -> dict[str, Any]:
        """Stop a trial at the present virtual time; its slot is free. What was shown stays."""
        self._simulation(trial.experiment).stop(trial)
        return super().stop(trial, reason)

    def wait(self, seconds: float) -> None:
        """Return at once: virtual time may pass in the next poll."""
        for simulation in self._simulations.values():
            simulation.allow_time()

    def close(self) -> None:
        """End what runs; the next poll finds the clusters as after a resume."""
        super().close()
        for simulation in self._simulations.values():
            simulation.hold_time()

    def clock(self, experiment: Experiment) -> float:
        """Return the virtual seconds since the experiment's first submission."""
        return self._simulation(experiment).cluster.now

    def timeline(self, experiment: Experiment) -> pd.DataFrame:
        """Return when each submitted trial was queued, started and ended, in virtual seconds.

        Returns:
            trial_index, queued, started, ended (NaN where not yet), runtime (as sampled, before
            time scaling), status (Ax's, or QUEUED).
        """
        return timeline(experiment, self._simulation(experiment).cluster)

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """Return the constructor's arguments as JSON; functions by reference and digest."""
        return {**super().serialize_init_args(obj), "runtime": encode_runtime(obj.runtime)}

    @classmethod
    def deserialize_init_args(
        cls,
        args: dict[str, Any],
        decoder_registry: TDecoderRegistry | None = None,
        class_decoder_registry: TClassDecoderRegistry | None = None,
    ) -> dict[str, Any]:
        """Return the constructor's arguments; functions are found by the bundle's resolvers."""
        arguments = super().deserialize_init_args(args, decoder_registry, class_decoder_registry)
        resolver: Any = (decoder_registry or {}).get(FUNCTIONS)
        if not isinstance(resolver, FunctionResolver):
            resolver = FunctionResolver()
        arguments["runtime"] = decode_runtime(arguments.get("runtime"), resolver)
        return arguments

    def __getstate__(self) -> tuple[dict[str, Any], Task | UnboundTask]:
        arguments, task = super().__getstate__()
        return {**arguments, "runtime": self._runtime}, task

    def __setstate__(self, state: tuple[dict[str, Any], Task | UnboundTask]) -> None:
        arguments = dict(state[0])
        self._runtime = arguments.pop("runtime")
        super().__setstate__((arguments, state[1]))

    def _start_afresh(self, task: Task | UnboundTask) -> None:
        super()._start_afresh(task)
        self._model: RuntimeModel | None = None
        self._simulations: dict[int, Simulation] = {}

    def _simulation(self, experiment: Experiment) -> Simulation:
        known = self._simulations.get(id(experiment))
        if known is None or known.experiment() is not experiment:
            alive = {k: s for k, s in self._simulations.items() if s.experiment() is not None}
            known = Simulation(experiment, self.max_concurrency)
            self._simulations = {**alive, id(experiment): known}
        return known

    def _submit(
        self, simulation: Simulation, trials: Sequence[BaseTrial], *, afresh: bool = True
    ) -> dict[int, dict[str, Any]]:
        """Compute trials, put them into the queue, and return their run_metadata."""
        if self._model is None:
            self._model = runtime_model(self.runtime, self.seed)
        model, plan = self._model, self._plan
        now = simulation.cluster.now
        entries = [plan.submission(trial, sampled(model, trial), now) for trial in trials]
        results = self._compute([e.trial for e in entries if not e.is_refused], afresh=afresh)
        return simulation.submit(entries, results)

    def _compute(
        self, trials: Sequence[BaseTrial], *, afresh: bool = False
    ) -> dict[int, HiddenResults]:
        """Run trials to their end; unless ``afresh``, arms with a recorded result keep it."""
        known = {} if afresh else {self._key(t): decode_outcomes(t.run_metadata) for t in trials}
        requests = [request for trial in trials for request in self._requests(trial)]
        found = compute(Recalling(self.execution, self._known), requests, known)
        return {trial.index: found[self._key(trial)] for trial in trials}

    def _poll(self, simulation: Simulation, live: Sequence[BaseTrial]) -> None:
        lost = [trial for trial in live if simulation.lacks(trial)]
        if lost:
            found = self._submit(simulation, lost, afresh=False)
            for trial in lost:
                trial.update_run_metadata(found[trial.index])
        unknown = simulation.unknown()
        if unknown:
            simulation.learn(self._compute(unknown))
        simulation.pass_time(live)
        for trial in live:
            simulation.show(trial)


def _judged(trial: BaseTrial) -> TrialStatus:
    return judge(trial, decode_outcomes(trial.run_metadata))


def _by_experiment(
    trials: Iterable[BaseTrial],
) -> Iterable[tuple[Experiment, list[BaseTrial]]]:
    groups: dict[int, list[BaseTrial]] = {}
    for trial in trials:
        groups.setdefault(id(trial.experiment), []).append(trial)
    return [(group[0].experiment, group) for group in groups.values()]
