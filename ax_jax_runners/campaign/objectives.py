"""What a campaign optimises: expressions of the task's outputs, as Ax takes them.

An objective is maximised: ``"-rms_error"``, ``"gain - 0.1*power"``, several with commas. Outcome
constraints are linear: ``"rhat <= 1.1"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ax_jax_runners.errors import ConfigurationError, ParameterError
from ax_jax_runners.metrics.names import to_identifier
from ax_jax_runners.parameters.constraints import LinearConstraint, parse_constraint

if TYPE_CHECKING:
    from ax.core.optimization_config import OptimizationConfig


@dataclass(frozen=True)
class Goals:
    """Objectives to maximise and constraints to keep, as linear forms of outputs.

    Attributes:
        objectives: One linear form for each objective: pairs of output and weight.
        constraints: Each holds where the weighted sum of outputs is at most its bound.
    """

    objectives: tuple[tuple[tuple[str, float], ...], ...]
    constraints: tuple[LinearConstraint, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every output that decides, each once."""
        named = [name for form in self.objectives for name, _ in form]
        named += [name for constraint in self.constraints for name, _ in constraint.coefficients]
        return tuple(dict.fromkeys(named))

    @property
    def is_multi_objective(self) -> bool:
        return len(self.objectives) > 1

    def scores(self, outputs: Mapping[str, float]) -> tuple[float, ...]:
        """The value of every objective; larger is better."""
        return tuple(sum(weight * outputs[name] for name, weight in f) for f in self.objectives)

    def is_feasible(self, outputs: Mapping[str, float]) -> bool:
        """Whether the observed outputs keep every constraint."""
        return all(constraint.slack(outputs) >= 0 for constraint in self.constraints)


def read_goals(objective: str, outcome_constraints: Sequence[str], outputs: Sequence[str]) -> Goals:
    """Read an objective and constraints on a task's outputs.

    Args:
        objective: Linear expressions of outputs, separated by commas, to be maximised.
        outcome_constraints: Linear inequalities of outputs.
        outputs: The names that the task reports.

    Raises:
        ConfigurationError: An output that the task does not report, a non-linear expression, an
            output in two objectives, or a constraint on the only objective.
    """
    if not isinstance(objective, str) or not objective.strip():
        raise ConfigurationError(
            f"The objective is {objective!r}; name what to maximise, such as '-{outputs[0]}'."
        )
    forms = tuple(_read_form(objective, term.strip(), outputs) for term in objective.split(","))
    named = [name for form in forms for name, _ in form]
    for name in named:
        if named.count(name) > 1:
            raise ConfigurationError(
                f"Objective {objective!r}: output {name!r} stands in two objectives; name it once."
            )
    constraints = tuple(_read_constraint(text, outputs) for text in outcome_constraints)
    for text, constraint in zip(outcome_constraints, constraints, strict=True):
        _check_against_objectives(text, constraint, objective, forms)
    return Goals(forms, constraints)


def constrained_further(goals: Goals, conditions: Sequence[str], outputs: Sequence[str]) -> Goals:
    """The same goals with more constraints, which may be on the objective too.

    Raises:
        ConfigurationError: A condition that cannot be read, or names no output.
    """
    added = tuple(_read_constraint(text, outputs) for text in conditions)
    return replace(goals, constraints=(*goals.constraints, *added))


def ax_optimization_config(goals: Goals) -> OptimizationConfig:
    """The same goals for Ax, with output names that its expressions can hold."""
    from ax.api.utils.instantiation.from_string import optimization_config_from_string

    return optimization_config_from_string(
        ", ".join(_ax_sum(form) for form in goals.objectives),
        [_ax_inequality(constraint) for constraint in goals.constraints] or None,
    )


def _check_against_objectives(
    text: str,
    constraint: LinearConstraint,
    objective: str,
    forms: Sequence[Sequence[tuple[str, float]]],
) -> None:
    weights = {name: weight for form in forms for name, weight in form}
    constrained = [name for name, _ in constraint.coefficients if name in weights]
    if not constrained:
        return
    if len(forms) == 1 or len(constraint.coefficients) > 1:
        raise ConfigurationError(
            f"Outcome constraint {text!r} is on the objective {objective!r}; constrain other "
            "outputs, or drop it: the best arm already has the best objective."
        )
    name = constrained[0]
    if dict(constraint.coefficients)[name] * weights[name] > 0:
        better = "largest" if weights[name] > 0 else "smallest"
        raise ConfigurationError(
            f"Outcome constraint {text!r} keeps {name!r} from the {better} values, which the "
            f"objective {objective!r} looks for; turn it round, or drop it."
        )


def _read_form(objective: str, term: str, outputs: Sequence[str]) -> tuple[tuple[str, float], ...]:
    try:
        read = parse_constraint(f"{term} <= 0", outputs, fixed={})
    except ParameterError as error:
        raise ConfigurationError(
            f"Objective {objective!r}: {term!r} is not a linear expression of the outputs "
            f"{', '.join(outputs)}; correct the name, or add an output that computes it."
        ) from error
    if read is None or read.bound != 0:
        raise ConfigurationError(
            f"Objective {objective!r}: {term!r} has a constant term or no output; leave the "
            f"constant out. The outputs are {', '.join(outputs)}."
        )
    return read.coefficients


def _read_constraint(text: str, outputs: Sequence[str]) -> LinearConstraint:
    try:
        read = parse_constraint(text, outputs, fixed={})
    except ParameterError as error:
        detail = str(error).partition(": ")[2].replace("parameter", "output")
        raise ConfigurationError(f"Outcome constraint {text!r}: {detail}") from error
    if read is None or not math.isfinite(read.bound):
        raise ConfigurationError(
            f"Outcome constraint {text!r} names no output; the outputs are {', '.join(outputs)}."
        )
    return read


def _ax_sum(form: Sequence[tuple[str, float]]) -> str:
    terms = []
    for name, weight in form:
        sign = "-" if weight < 0 else "+"
        factor = "" if abs(weight) == 1 else f"{_plain(abs(weight))}*"
        terms.append(f"{sign} {factor}{to_identifier(name)}")
    text = " ".join(terms)
    return text[2:] if text.startswith("+ ") else f"-{text[2:]}"


def _ax_inequality(constraint: LinearConstraint) -> str:
    if len(constraint.coefficients) == 1:
        name, weight = constraint.coefficients[0]
        relation = "<=" if weight > 0 else ">="
        return f"{to_identifier(name)} {relation} {_plain(constraint.bound / weight)}"
    return f"{_ax_sum(constraint.coefficients)} <= {_plain(constraint.bound)}"


def _plain(number: float) -> str:
    # Exponents such as 1e-05 would be taken for a name with a hyphen.
    return format(Decimal(repr(number)), "f")
