"""What a report shows of a campaign: objectives as people read them, and every observed arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ax.core.base_trial import BaseTrial
from ax.core.parameter import ChoiceParameter, FixedParameter, Parameter, RangeParameter

from ax_jax_runners.campaign.objectives import Goals
from ax_jax_runners.campaign.results import Best, observed_arms
from ax_jax_runners.errors import NoFeasibleArm
from ax_jax_runners.parameters.constraints import LinearConstraint
from ax_jax_runners.parameters.designs import GRID
from ax_jax_runners.parameters.space_filling import LATIN_HYPERCUBE, SOBOL

if TYPE_CHECKING:
    from ax_jax_runners.campaign.campaign import Campaign

QUASI_RANDOM = "quasi-random"
MODEL = "model"
ATTACHED = "attached"

_QUASI_RANDOM_GENERATORS = {"Sobol", "Uniform"}
_DESIGNS = {GRID, SOBOL, LATIN_HYPERCUBE}


@dataclass(frozen=True)
class Goal:
    """One objective: an output itself where it stands alone, else the weighted sum.

    Attributes:
        label: The output's name, or the sum as text.
        form: Pairs of output and weight.
        larger_is_better: The direction of `value`.
    """

    label: str
    form: tuple[tuple[str, float], ...]
    larger_is_better: bool

    @classmethod
    def of(cls, form: tuple[tuple[str, float], ...]) -> Goal:
        """Read a linear form that is to be maximised."""
        if len(form) == 1:
            name, weight = form[0]
            return cls(name, form, weight > 0)
        return cls(_sum_text(form), form, True)

    @property
    def direction(self) -> str:
        return "larger is better" if self.larger_is_better else "smaller is better"

    def value(self, outputs: Mapping[str, float]) -> float:
        """The objective of an arm with these outputs, in the output's own sign and scale."""
        if len(self.form) == 1:
            return outputs[self.form[0][0]]
        return sum(weight * outputs[name] for name, weight in self.form)


@dataclass(frozen=True)
class ObservedArm:
    """A completed arm.

    Attributes:
        number: Its place among the observed arms, from 0.
        source: `QUASI_RANDOM`, `MODEL` or `ATTACHED`.
        node: Name of the generation node; empty for an attached arm.
        values: The value of every goal.
        feasible: Whether it keeps the outcome constraints.
    """

    number: int
    found: Best
    source: str
    node: str
    values: tuple[float, ...]
    feasible: bool

    @property
    def label(self) -> str:
        return f"trial {self.found.trial_index}, arm {self.found.arm_name}"


@dataclass(frozen=True)
class Findings:
    """Everything that the sections of a report have in common.

    Attributes:
        goals: The objectives.
        arms: Observed arms in the order of their trials.
        best: The best feasible arms: none, one, or a Pareto front in the order of the first goal.
        parameters: Ax's parameters by name; fixed ones included.
    """

    campaign: Campaign
    goals: tuple[Goal, ...]
    arms: tuple[ObservedArm, ...]
    best: tuple[Best, ...]
    parameters: Mapping[str, Parameter]

    @property
    def free(self) -> dict[str, RangeParameter | ChoiceParameter]:
        """The parameters that vary."""
        return {
            name: parameter
            for name, parameter in self.parameters.items()
            if isinstance(parameter, (RangeParameter, ChoiceParameter))
        }

    @property
    def fixed(self) -> dict[str, Any]:
        """The values of the parameters that do not vary."""
        return {
            name: parameter.value
            for name, parameter in self.parameters.items()
            if isinstance(parameter, FixedParameter)
        }

    def column(self, goal: int) -> np.ndarray:
        """The values of one goal over all observed arms, shape (arms,)."""
        return np.array([arm.values[goal] for arm in self.arms], dtype=float)


def collect(campaign: Campaign) -> Findings:
    """Read a campaign's experiment."""
    experiment, stated = campaign.experiment, campaign.goals
    goals = tuple(Goal.of(form) for form in stated.objectives)
    arms = []
    for number, found in enumerate(observed_arms(experiment, stated)):
        source, node = _source(experiment.trials[found.trial_index], found.arm_name)
        values = tuple(goal.value(found.outputs) for goal in goals)
        feasible = stated.is_feasible(found.outputs)
        arms.append(ObservedArm(number, found, source, node, values, feasible))
    return Findings(
        campaign=campaign,
        goals=goals,
        arms=tuple(arms),
        best=_best(campaign, goals[0]),
        parameters=dict(experiment.search_space.parameters),
    )


def constraint_texts(goals: Goals) -> list[tuple[str, Any]]:
    """Every outcome constraint as text, with itself."""
    return [(_inequality_text(item), item) for item in goals.constraints]


def _inequality_text(constraint: LinearConstraint) -> str:
    form, bound = constraint.coefficients, constraint.bound
    if all(weight < 0 for _, weight in form):
        # Nobody writes -power <= -3. What is added makes 0 of -0.
        turned = tuple((name, -weight) for name, weight in form)
        return f"{_sum_text(turned)} >= {-bound + 0.0:.6g}"
    return f"{_sum_text(form)} <= {bound:.6g}"


def _best(campaign: Campaign, first: Goal) -> tuple[Best, ...]:
    try:
        best = campaign.best()
    except NoFeasibleArm:
        return ()
    if isinstance(best, Best):
        return (best,)
    sign = -1.0 if first.larger_is_better else 1.0
    return tuple(sorted(best, key=lambda arm: sign * first.value(arm.outputs)))


def _source(trial: BaseTrial, arm_name: str) -> tuple[str, str]:
    for run in trial.generator_runs:
        if all(arm.name != arm_name for arm in run.arms):
            continue
        if run._generation_node_name is None and run._generator_key is None:
            break
        node = run._generation_node_name or run._generator_key or ""
        if node in _DESIGNS:
            return ATTACHED, node
        drawn = run._generator_key in _QUASI_RANDOM_GENERATORS
        return (QUASI_RANDOM if drawn else MODEL), node
    return ATTACHED, ""


def _sum_text(form: tuple[tuple[str, float], ...]) -> str:
    terms = []
    for name, weight in form:
        factor = "" if abs(weight) == 1 else f"{abs(weight):.6g} "
        terms.append(f"{'-' if weight < 0 else '+'} {factor}{name}")
    text = " ".join(terms)
    return text[2:] if text.startswith("+ ") else f"-{text[2:]}"
