"""Files of results as the original writes them, and what they choose by reading the definitions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FINGERPRINT = {
    "chunk_period": 60,
    "tokens": ["BTC", "ETH"],
    "optimisation_settings": {"n_iterations": 100},
}
NAN = math.nan

Table = Sequence[Sequence[float]]


def row(step: int, sets: int, **told: Any) -> dict[str, Any]:
    """A checkpoint whose parameters tell their step, set and asset."""
    return {
        "log_k": [[100.0 * step + 10 * s + a for a in range(2)] for s in range(sets)],
        "logit_lamb": [[3.0 + s, 4.0 + s] for s in range(sets)],
        "subsidary_params": [],
        "step": step,
        "hessian_trace": [0.0] * sets,
        "local_learning_rate": [0.1] * sets,
        "iterations_since_improvement": [0] * sets,
        **told,
    }


def tabled(**tables: Table) -> list[dict[str, Any]]:
    """Rows, ten steps apart, of tables of objectives: a line a row, an entry a set."""
    count = len(next(iter(tables.values())))
    return [
        row(10 * i, len(next(iter(tables.values()))[i]), **{k: t[i] for k, t in tables.items()})
        for i in range(count)
    ]


def write(
    path: Path, rows: Sequence[Mapping[str, Any]], fingerprint: Mapping[str, Any] = FINGERPRINT
) -> Path:
    """Write JSON text encoded as JSON once more."""
    path.write_text(json.dumps(json.dumps([fingerprint, *rows])), encoding="utf-8")
    return path


def reference(method: str, minimum: float, tables: Mapping[str, Table]) -> Any:
    """The chosen (row, set), None where there is none; a list for each set."""

    def values(objective: str) -> dict[tuple[int, int], float]:
        return {
            (r, s): v
            for r, line in enumerate(tables[objective])
            for s, v in enumerate(line)
            if math.isfinite(v)
        }

    def best(found: Mapping[tuple[int, int], float]) -> Any:
        top = max(found.values(), default=NAN)
        return min((place for place, value in found.items() if value == top), default=None)

    if method == "last":
        return len(tables["objective"]) - 1, 0
    if "_min_" in method:
        target = method.removeprefix("best_").partition("_min_")[0]
        train, test = values("train_objective"), values("test_objective")
        chosen, beside = (train, test) if target == "train" else (test, train)
        return best({p: v for p, v in chosen.items() if beside.get(p, -math.inf) >= minimum})
    name = method.removeprefix("best_").partition("objective")[0] + "objective"
    found = values(name)
    if method.endswith("_of_last"):
        last = len(tables[name]) - 1
        return best({p: v for p, v in found.items() if p[0] == last})
    if method.endswith("_for_each_parameter_set"):
        sets = sorted({s for _, s in found})
        return [best({p: v for p, v in found.items() if p[1] == s}) for s in sets] or None
    return best(found)
