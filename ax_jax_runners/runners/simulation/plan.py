"""What a cluster has in store for a trial: its duration, and whether it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ax.core.base_trial import BaseTrial

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.runners.outcome import ArmOutcome, encode_outcomes
from ax_jax_runners.runners.simulation.cluster import Job
from ax_jax_runners.runners.simulation.draws import FAILURE, MOMENT, uniform
from ax_jax_runners.runners.simulation.records import decode_job, encode_job


@dataclass(frozen=True)
class Submission:
    """A trial on its way to the cluster.

    Attributes:
        trial: The trial.
        job: What the cluster knows of it.
        runtime: Sampled seconds, before time scaling; None: it has none.
        refusal: Why it cannot run; None: it can.
    """

    trial: BaseTrial
    job: Job
    runtime: float | None
    refusal: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether it failed before it began."""
        return self.refusal is not None

    def encode(self, outcomes: dict[str, ArmOutcome], now: float) -> dict[str, Any]:
        """Return the trial's run_metadata; a refused one has its refusal for an outcome."""
        if self.refusal is not None:
            outcomes = {arm.name: ArmOutcome.failed(self.refusal) for arm in self.trial.arms}
        return {**encode_job(self.job, self.runtime, now), **encode_outcomes(outcomes)}


@dataclass(frozen=True)
class Plan:
    """Draws the fate of trials; it depends on the seed, the trial's index and its attempts.

    Attributes:
        failure_rate: Probability that the cluster fails a trial, at a uniform part of its runtime.
        time_scaling: Runtimes are divided by it.
        seed: Root of the draws.
    """

    failure_rate: float
    time_scaling: float
    seed: int

    def submission(self, trial: BaseTrial, runtime: float | str, now: float) -> Submission:
        """Return what is submitted.

        Args:
            trial: The trial.
            runtime: Its runtime in seconds, or why it has none.
            now: The cluster's time.
        """
        earlier = decode_job(trial)
        attempt = 0 if earlier is None else earlier[0].attempt + 1
        if isinstance(runtime, str):
            job = Job(trial.index, now, 0.0, ended=now, attempt=attempt)
            return Submission(trial, job, None, runtime)
        span = runtime / self.time_scaling
        fails_after = None
        if uniform(self.seed, FAILURE, trial.index, attempt) < self.failure_rate:
            fails_after = span * uniform(self.seed, MOMENT, trial.index, attempt)
        job = Job(trial.index, now, span, fails_after, attempt=attempt)
        return Submission(trial, job, runtime)


def check_cluster(
    max_concurrency: Any, failure_rate: Any, time_scaling: Any
) -> tuple[int, float, float]:
    """Return slots, failure rate and time scaling as plain numbers.

    Raises:
        ConfigurationError: One of them cannot be used; the message names it.
    """
    if isinstance(max_concurrency, bool) or not hasattr(max_concurrency, "__index__"):
        raise ConfigurationError(
            f"max_concurrency is {max_concurrency!r}; give a whole number of slots."
        )
    if int(max_concurrency) < 1:
        raise ConfigurationError(f"max_concurrency is {max_concurrency}; give at least 1.")
    rate = _number("failure_rate", failure_rate)
    if not 0 <= rate <= 1:
        raise ConfigurationError(f"failure_rate is {rate}; give a probability from 0 to 1.")
    scaling = _number("time_scaling", time_scaling)
    if not 0 < scaling < math.inf:
        raise ConfigurationError(f"time_scaling is {scaling}; give a finite number above 0.")
    return int(max_concurrency), rate, scaling


def _number(name: str, value: Any) -> float:
    if isinstance(value, (bool, str)):
        raise ConfigurationError(f"{name} is {value!r}; give a number.")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is {value!r}; give a number.") from error
