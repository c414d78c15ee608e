"""Arms that a model must not suggest again: those in flight, and those that failed."""

from __future__ import annotations

from copy import deepcopy

from ax.core.experiment import Experiment
from ax.core.observation import ObservationFeatures
from ax.core.trial_status import TrialStatus

_WITHOUT_DATA = (
    TrialStatus.CANDIDATE,
    TrialStatus.STAGED,
    TrialStatus.RUNNING,
    TrialStatus.ABANDONED,
    # Ax leaves failed trials out. A simulator that fails somewhere fails there again, and a model
    # that has no data from that place would suggest it for ever.
    TrialStatus.FAILED,
)


def pending_arms(experiment: Experiment) -> dict[str, list[ObservationFeatures]]:
    """The arms without data, for every metric; costs nothing for those that have data.

    Args:
        experiment: Its trials by status are looked at, not its data: a completed trial of ours has
            all its outputs, and one that lacks them is abandoned when its data are fetched.
    """
    found = [
        ObservationFeatures.from_arm(
            arm=arm,
            trial_index=trial.index,
            metadata=trial._get_candidate_metadata(arm_name=arm.name),
        )
        for status in _WITHOUT_DATA
        for trial in experiment.trials_by_status[status]
        for arm in trial.arms
        if experiment.search_space.check_membership(arm.parameters)
    ]
    # Ax transforms them in place, metric by metric.
    return {name: deepcopy(found) for name in experiment.metrics} if found else {}
