"""What was measured, so that a report can draw it beside what a task computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Measured:
    """One measured curve that corresponds to a feature of a task.

    Attributes:
        feature: Name of the feature that the simulator returns for the same quantity.
        x: Abscissa, shape (F,).
        x_label: What the abscissa is, with its unit.
        values: Measured values, real or complex, shape (F,).
    """

    feature: str
    x: np.ndarray
    x_label: str
    values: np.ndarray


def measured(task: Any) -> tuple[Measured, ...]:
    """The measured curves of a task; empty where its simulator has no attribute ``measured``.

    Any simulator may have one, not only those of the built-in problems: an object with ``__call__``
    and ``measured``, a tuple of `Measured`.
    """
    evaluator = getattr(task, "evaluator", None)
    return tuple(getattr(getattr(evaluator, "fn", None), "measured", ()))
