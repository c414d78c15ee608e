"""The best of the observed arms: one for one objective, the Pareto front for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.errors import NoFeasibleArm


@dataclass(frozen=True)
class Best:
    """The best observed feasible arm.

    Attributes:
        parameters: Its parameters by name.
        outputs: The means of all its outputs by name.
        trial_index: Index of its trial.
        arm_name: Its name in the experiment.
    """

    parameters: Mapping[str, Any]
    outputs: Mapping[str, float]
    trial_index: int
    arm_name: str


def best_among(observed: Iterable[Best], goals: Goals, *, name: str) -> Best | tuple[Best, ...]:
    """The best feasible one of the arms; for several objectives those that no other dominates.

    Args:
        observed: Completed arms with every output that the goals need, in trial order.
        goals: What is maximised and what must hold.
        name: The experiment's name, for the message.

    Raises:
        NoFeasibleArm: There is no arm, or none keeps the outcome constraints.
    """
    arms = list(observed)
    feasible = [arm for arm in arms if goals.is_feasible(arm.outputs)]
    if not feasible:
        raise NoFeasibleArm(
            f"Experiment {name!r}: {len(arms)} arms are complete and none of them is feasible; run "
            "more trials, or loosen the outcome constraints."
        )
    if not goals.is_multi_objective:
        return max(feasible, key=lambda arm: goals.scores(arm.outputs))
    scores = [goals.scores(arm.outputs) for arm in feasible]
    return tuple(
        arm
        for arm, mine in zip(feasible, scores, strict=True)
        if not any(_dominates(other, mine) for other in scores)
    )


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other
