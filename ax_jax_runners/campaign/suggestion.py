"""Ask a generation strategy for the next trials, at a cost that does not grow with the experiment.

Ax's own way refits a quasi-random node on all data for every batch and looks through the data of
every completed trial for pending ones.
"""

from __future__ import annotations

from collections.abc import Callable

from ax.adapter.adapter_utils import get_fixed_features_from_experiment
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.exceptions.core import OptimizationComplete
from ax.exceptions.generation_strategy import AxGenerationException
from ax.generation_strategy.generation_strategy import GenerationStrategy

from ax_jax_runners.campaign.generation import is_quasi_random
from ax_jax_runners.campaign.pending import pending_arms


def suggest_trials(
    strategy: GenerationStrategy,
    experiment: Experiment,
    count: int,
    *,
    should_stop: Callable[[], bool],
) -> list[list[GeneratorRun]]:
    """Generate the arms of up to ``count`` single-arm trials.

    Args:
        strategy: Moves on to its next node where it is due.
        experiment: What is known and in flight.
        count: How many trials are wanted; the node may allow fewer.
        should_stop: Asked after every arm; True ends the step with the arms so far.

    Returns:
        The generator runs of each trial.
    """
    strategy.experiment = experiment
    # The limit must be the next node's when this one has done its share.
    strategy._maybe_transition_to_next_node(raise_data_required_error=False)
    limit = strategy._curr.new_trial_limit()
    allowed = count if limit == -1 else max(1, min(count, limit))
    at_random = is_quasi_random(strategy._curr)
    pending = {} if at_random else pending_arms(experiment)
    fixed = None if at_random else get_fixed_features_from_experiment(experiment)
    runs: list[list[GeneratorRun]] = []
    while len(runs) < allowed and not (runs and should_stop()):
        try:
            suggested = strategy._gen_with_multiple_nodes(
                experiment=experiment,
                n=1,
                pending_observations=pending,
                fixed_features=fixed,
                first_generation_in_multi=not runs and _needs_fit(strategy),
            )
        except (AxGenerationException, OptimizationComplete):
            # A space of few points runs out in the middle of a batch: what was found counts.
            if not runs:
                raise
            break
        runs.append(suggested)
    return runs


def _needs_fit(strategy: GenerationStrategy) -> bool:
    """A quasi-random node is fitted once: new data mean nothing to it."""
    node = strategy._curr
    return not is_quasi_random(node) or any(
        spec._fitted_adapter is None for spec in node.generator_specs
    )
