"""One experiment on a simulated cluster: whether time may pass, and what is known by now."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment

from ax_jax_runners.runners.base import all_final
from ax_jax_runners.runners.outcome import KEY, ArmOutcome, decode_outcomes, encode_outcomes
from ax_jax_runners.runners.simulation.cluster import Job
from ax_jax_runners.runners.simulation.plan import Submission
from ax_jax_runners.runners.simulation.records import RUNTIME_KEY, encode_job, rebuilt
from ax_jax_runners.runners.simulation.results import HiddenResults


class Simulation:
    """The cluster of one experiment, and the results that time has not brought to light yet.

    Time passes in a poll only after a submission, a wait or another poll since a trial last
    ended, was stopped, or was read from storage. So whoever submits gets the chance to do so at
    the very time at which a slot became free, and a resumed run, which polls before it submits,
    submits when an uninterrupted one would have.

    Attributes:
        cluster: Its jobs and its time.
    """

    def __init__(self, experiment: Experiment, slots: int) -> None:
        """Rebuild the cluster from the experiment's trials; nothing is computed."""
        self.experiment = weakref.ref(experiment)
        self.cluster = rebuilt(slots, experiment.trials.values())
        self._results: dict[int, HiddenResults] = {}
        self._unknown = [job for job in self.cluster.jobs.values() if _is_open(job)]
        self._may_pass = False

    def allow_time(self) -> None:
        """Let time pass in the next poll."""
        self._may_pass = True

    def hold_time(self) -> None:
        """Let no time pass in the next poll."""
        self._may_pass = False

    def is_in_flight(self, trial: BaseTrial) -> bool:
        """Whether a trial runs or waits on the cluster."""
        job = self.cluster.jobs.get(trial.index)
        return job is not None and job.ended is None and not _is_idle(trial)

    def lacks(self, trial: BaseTrial) -> bool:
        """Whether a trial should be on the cluster, but is not: the process died on its way."""
        job = self.cluster.jobs.get(trial.index)
        if _is_idle(trial) or (job is not None and _is_open(job)):
            return False
        return not all_final(trial, decode_outcomes(trial.run_metadata))

    def submit(
        self, entries: Sequence[Submission], results: Mapping[int, HiddenResults]
    ) -> dict[int, dict[str, Any]]:
        """Put trials into the queue and return their run_metadata by index."""
        self._results.update(results)
        for entry in entries:
            if not entry.is_refused:
                entry.job.slices = results[entry.job.index].slices
        self.cluster.submit([entry.job for entry in entries])
        self._may_pass = True
        metadata = {}
        for entry in entries:
            entry.job.is_news = False
            outcomes = {} if entry.is_refused else results[entry.job.index].after(0)
            metadata[entry.job.index] = entry.encode(outcomes, self.cluster.now)
        return metadata

    def unknown(self) -> list[BaseTrial]:
        """The trials in flight whose results this process has not computed yet."""
        experiment = self.experiment()
        if not self._unknown or experiment is None:
            return []
        trials = []
        for job in self._unknown:
            if self.cluster.jobs[job.index] is not job or not _is_open(job):
                continue
            trial = experiment.trials[job.index]
            if trial.status.is_terminal:
                # Ax gave it up without telling the cluster, where it keeps its slot.
                self.cluster.follow(job, 1)
            else:
                trials.append(trial)
        self._unknown = []
        return trials

    def learn(self, results: Mapping[int, HiddenResults]) -> None:
        """Take the results of trials in flight."""
        self._results.update(results)
        for index, found in results.items():
            self.cluster.follow(self.cluster.jobs[index], found.slices)

    def pass_time(self, polled: Sequence[BaseTrial]) -> None:
        """Jump to the next event where time may pass; otherwise let it pass the next time.

        Args:
            polled: Time waits until the end of each of these has been told.
        """
        jobs = [self.cluster.jobs.get(t.index) for t in polled if not _is_idle(t)]
        if any(job is not None and job.ended is not None and not job.is_told for job in jobs):
            return
        if not any(job is not None and job.ended is None for job in jobs):
            return
        if not self._may_pass:
            self._may_pass = True
        elif self.cluster.advance():
            self._may_pass = False

    def show(self, trial: BaseTrial) -> None:
        """Record what is new of a trial."""
        job = self.cluster.jobs.get(trial.index)
        if job is None or _is_idle(trial):
            return
        if job.is_news:
            job.is_news = False
            results = self._results[trial.index]
            trial.update_run_metadata(
                self._encode(trial, job) | encode_outcomes(_known(job, results))
            )
        if job.ended is not None:
            job.is_told = True
            self._results.pop(trial.index, None)

    def stop(self, trial: BaseTrial) -> None:
        """End a trial now, if it is in flight, and record that; what was shown stays."""
        job = self.cluster.jobs.get(trial.index)
        if job is None or job.ended is not None:
            return
        self.cluster.stop(trial.index)
        job.is_news, job.is_told = False, True
        self._results.pop(trial.index, None)
        self._may_pass = False
        trial.update_run_metadata(self._encode(trial, job))

    def _encode(self, trial: BaseTrial, job: Job) -> dict[str, Any]:
        return encode_job(job, trial.run_metadata.get(RUNTIME_KEY), self.cluster.now)


def _is_open(job: Job) -> bool:
    """Whether a job's results are still to be shown."""
    return job.ended is None or job.is_news


def _is_idle(trial: BaseTrial) -> bool:
    """Whether a trial waits for its submission."""
    return trial.status.is_candidate and KEY not in trial.run_metadata


def _known(job: Job, results: HiddenResults) -> dict[str, ArmOutcome]:
    if job.ended is None:
        return results.after(job.shown)
    if job.fails_after is None:
        return results.after(results.slices)
    return results.failed_after(
        job.shown,
        f"Simulated failure of the cluster after {job.duration:.1f} of {job.span:.1f} s; "
        "retry the trial, or lower failure_rate.",
    )
