"""Sentences on values of an arm that are not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ax_jax_runners.evaluation import FeatureEvaluator

_SHOWN = 3


def describe_failure(
    theta: np.ndarray, results: Mapping[str, np.ndarray], evaluator: FeatureEvaluator
) -> str:
    """Say which values of one arm are not finite: parameters first, then causes, then effects.

    Args:
        theta: The arm's parameters, (d,) float64.
        results: Values (replicates, ...) by name: ``features``, ``features.<path>`` or
            ``outputs.<name>``.
        evaluator: What computed them.
    """
    with np.errstate(over="ignore"):
        used = theta.astype(evaluator.dtype).tolist()
    for name, value, number in zip(evaluator.space.names, theta.tolist(), used, strict=True):
        if not math.isfinite(number):
            return (
                f"Parameter {name!r} is {value}, which is not finite in {evaluator.dtype}; "
                "give a finite value."
            )
    # "features..." sorts before "outputs...".
    found = [
        _describe(name, results[name])
        for name in sorted(results)
        if not np.isfinite(results[name]).all()
    ]
    more = f"; and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
    return f"{'; '.join(found[:_SHOWN])}{more}."


def _describe(name: str, values: np.ndarray) -> str:
    kind, _, short = name.partition(".")
    what = f"{kind.removesuffix('s').capitalize()} {short or name!r}"
    bad = ~np.isfinite(values)
    first = values[bad][0]
    affected = int(bad.reshape(len(bad), -1).any(axis=1).sum())
    where = f" in {affected} of {len(bad)} replicates" if len(bad) > 1 else ""
    if bad[0].size == 1:
        return f"{what} is {first}{where}"
    return f"{what} has {int(bad.sum())} of {bad.size} entries not finite (first {first}){where}"
