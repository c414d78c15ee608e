"""Designs as trials of an experiment, waiting to be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ax.core.arm import Arm

from ax_jax_runners.campaign.attaching import attach_trial
from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.parameters.designs import is_inside

if TYPE_CHECKING:
    from ax.core.base_trial import BaseTrial
    from ax.core.experiment import Experiment

    from ax_jax_runners.campaign.objectives import Goals
    from ax_jax_runners.parameters import Design, ParameterSpace


def attach_points(
    experiment: Experiment, space: ParameterSpace, goals: Goals, design: Design
) -> list[BaseTrial]:
    """Add a trial for every point of a design that no arm of the experiment has.

    The generator runs have the design's label as the name of their node and of their generator.

    Args:
        experiment: Gets the trials.
        space: The task's parameters, which complete and check the points.
        goals: Those of the campaign.
        design: The points.

    Returns:
        The new trials, in the design's order.

    Raises:
        ParameterError: A point lacks a parameter, or has one that is unknown or of another type.
        ConfigurationError: A point lies outside the bounds or breaks a constraint; nothing is
            added.
    """
    arms = [Arm(parameters=space.unpack(space.pack(point))) for point in design]
    outside = [point for point in design if not is_inside(space, point)]
    if outside:
        raise ConfigurationError(
            f"{len(outside)} of the design's {len(design)} points lie outside the bounds or break "
            f"a constraint, the first at {outside[0]}; attach design.within(space)."
        )
    known = set(experiment.arms_by_signature)
    trials = []
    for arm in arms:
        if arm.signature not in known:
            known.add(arm.signature)
            trial, _ = attach_trial(
                experiment, space, goals, (), arm.parameters, None, label=design.label
            )
            trials.append(trial)
    return trials
