"""Simulators as compiled, vectorised, reproducible functions of parameter vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ax_jax_runners.evaluation.constraints import Constraint, Misfit, Violation
from ax_jax_runners.evaluation.evaluator import FeatureEvaluator
from ax_jax_runners.evaluation.validity import Evaluation

if TYPE_CHECKING:
    from ax_jax_runners.evaluation.paramrf import from_paramrf

__all__ = ["Constraint", "Evaluation", "FeatureEvaluator", "Misfit", "Violation", "from_paramrf"]


def __getattr__(name: str) -> Any:
    if name == "from_paramrf":
        from ax_jax_runners.evaluation.paramrf import from_paramrf

        return from_paramrf
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
