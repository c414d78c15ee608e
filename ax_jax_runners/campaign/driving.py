"""One run of a campaign, from its first state in the store to its last."""

from __future__ import annotations

from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from ax.orchestration.orchestrator import FailureRateExceededError

from ax_jax_runners.campaign.interruption import interruptible
from ax_jax_runners.campaign.live import LiveCampaign
from ax_jax_runners.campaign.progress import ProgressLine
from ax_jax_runners.campaign.recorder import Recorder
from ax_jax_runners.campaign.scheduler import Scheduler
from ax_jax_runners.errors import AxJaxError, CampaignError, StoreError

_LONGEST_DETAIL = 10_000


def drive(
    live: LiveCampaign,
    recorder: Recorder,
    total: int,
    timeout: float | None,
    line: ProgressLine,
    *,
    cache: bool,
) -> bool:
    """Run a campaign until it has ``total`` trials, and record how that ended.

    Args:
        live: The campaign.
        recorder: Writes to its store, under its lease.
        total: Trials in all.
        timeout: Seconds after which nothing new is started.
        line: Shows what happens.
        cache: Whether to take results that the store has already.

    Returns:
        Whether Ctrl-C or SIGTERM ended it.

    Raises:
        CampaignError: Too many trials failed.
        StoreError: The database failed; the state in it is left as it was.
    """
    recorder.set_state("running", options=live.options.to_json(live.bundle), total_trials=total)
    try:
        with line, interruptible(line.say_stopping) as asked:
            scheduler = Scheduler(
                live.experiment,
                live.strategy,
                options=live.options.for_orchestrator(),
                recorder=recorder,
                seed=live.record.configuration["seed"],
                cache=cache,
            )
            try:
                reached = scheduler.run_to(
                    total, timeout=timeout, should_stop=asked.is_set, on_progress=line.update
                )
            finally:
                live.runner.close()
    except StoreError:
        raise
    except FailureRateExceededError as error:
        sentence = _failure_sentence(live)
        recorder.set_state("failed", detail=sentence)
        raise CampaignError(sentence) from error
    except BaseException as error:
        detail = str(error) if isinstance(error, AxJaxError) else repr(error)
        recorder.set_state("stopped", detail=detail[:_LONGEST_DETAIL])
        raise
    # A global stopping strategy or an exhausted space completes a campaign early.
    finished = reached or not scheduler.is_interrupted
    recorder.set_state("complete" if finished else "stopped")
    return asked.is_set()


def reset_failed(experiment: Experiment) -> list[BaseTrial]:
    """Make every failed trial wait for the next run, under its own index; return them."""
    again: list[BaseTrial] = list(experiment.trials_by_status[TrialStatus.FAILED])  # pyright: ignore
    for trial in again:
        trial._status = TrialStatus.CANDIDATE
        trial._status_reason = None
        trial._time_completed = None
        # What a runner counts across attempts stays; the failed outcomes go.
        trial._run_metadata.pop("ax_jax", None)
    return again


def trials_begun(experiment: Experiment) -> int:
    """Return how many trials are past waiting."""
    return len(experiment.trials) - len(experiment.trials_by_status[TrialStatus.CANDIDATE])


def _failure_sentence(live: LiveCampaign) -> str:
    failed = live.experiment.trials_by_status[TrialStatus.FAILED]
    reasons = [trial.status_reason for trial in failed if trial.status_reason]
    return (
        f"Campaign {live.record.name!r}: {len(failed)} of {trials_begun(live.experiment)} trials "
        f"failed, more than nine in ten; the last reason: "
        f"{reasons[-1] if reasons else 'none was given'}"
    )
