"""Results that the store has already, in place of an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ax.core.base_trial import BaseTrial

from ax_jax_runners.campaign.evaluation_ids import EvaluationIds, acts_on_its_surroundings
from ax_jax_runners.errors import StoreError
from ax_jax_runners.runners.base import TaskRunner
from ax_jax_runners.runners.outcome import ArmOutcome
from ax_jax_runners.store import Store
from ax_jax_runners.store.evaluations import Recorded, find_evaluations

_LOG = logging.getLogger(__name__)


class EvaluationCache:
    """Hands a runner the outcomes of arms that any campaign of a store has completed.

    An outcome is reused under the same evaluation id only, with all arrays that belong to it, and
    says where it comes from.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._may_skip: tuple[object, bool] | None = None

    def recall(self, ids: EvaluationIds, trials: Sequence[BaseTrial]) -> None:
        """Tell the runner what is known of trials that it is about to run.

        Args:
            ids: Names the evaluations of the runner.
            trials: The trials.
        """
        runner = ids.runner
        asked = {trial.index: ids.of_trial(trial) for trial in trials}
        wanted = sorted({each for by_arm in asked.values() for each in by_arm.values()})
        if not wanted or not isinstance(runner, TaskRunner):
            return
        try:
            with self._store.reading() as connection:
                recorded = find_evaluations(connection, wanted)
        except StoreError as error:
            _LOG.warning("Nothing is reused now, since the store cannot be read: %s", error)
            return
        known = {each: self._outcome(found, runner) for each, found in recorded.items()}
        if not any(known.values()) or not self._skips(runner):
            return
        for trial in trials:
            outcomes = {name: known.get(each) for name, each in asked[trial.index].items()}
            runner.recall(trial, {name: o for name, o in outcomes.items() if o is not None})

    def _skips(self, runner: TaskRunner) -> bool:
        """Whether a simulator need not run where its result is known."""
        task = runner.bound_task
        if self._may_skip is None or self._may_skip[0] is not task:
            self._may_skip = task, not acts_on_its_surroundings(task)
        return self._may_skip[1]

    @staticmethod
    def _outcome(recorded: Recorded, runner: TaskRunner) -> ArmOutcome | None:
        try:
            outcome = ArmOutcome.decode(recorded.record)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if outcome.status != "completed" or outcome.is_cut:
            return None
        files = runner.files
        kept = set(outcome.artifacts.values())
        if kept and (files is None or not all(files.path(each).exists() for each in kept)):
            return None
        return replace(outcome, lost=(), cached=recorded.source)
