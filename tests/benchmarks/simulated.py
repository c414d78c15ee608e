"""A month of a 64-slot cluster in seconds: wall time of simulated asynchronous campaigns.

Sobol trials of a six-parameter JAX function, runtimes log-normal about an hour, one trial in
twenty fails, SQLite. A trial is submitted whenever a slot becomes free.

    python tests/benchmarks/simulated.py [--trials 1000] [--slots 64] [--profile] [--json FILE]
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import os
import pstats
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from rich.console import Console
from rich.table import Table

from ax_jax_runners import (
    Campaign,
    FeatureEvaluator,
    FeatureTask,
    Parameter,
    ParameterSpace,
    SimulatedBackendJaxRunner,
    Store,
)

HOUR = 3600.0
GRID = np.linspace(0.0, 1.0, 201)


def response(parameters: dict) -> dict:
    a, b, c, d, e, f = (parameters[f"x{i}"] for i in range(6))
    x = jnp.asarray(GRID)
    return {"curve": a * jnp.exp(-b * x) + c * jnp.sin(6 * d * x + e) + f * x**2}


def rms(features: dict) -> Any:
    return jnp.sqrt(jnp.mean(features["curve"] ** 2))


SPACE = ParameterSpace([Parameter(f"x{i}", lower=0.1, upper=2.0) for i in range(6)])
TASK = FeatureTask(FeatureEvaluator(response, SPACE), outputs={"rms": rms})


@dataclass(frozen=True)
class Timing:
    """One simulated campaign.

    Attributes:
        trials: Trials of all states.
        wall: Seconds.
        cpu: Seconds of this process.
        last_block: Wall seconds of the last hundred trials begun.
        days: Simulated duration.
        failed: Trials that the cluster failed.
        utilisation: Busy share of all slots.
    """

    trials: int
    wall: float
    cpu: float
    last_block: float
    days: float
    failed: int
    utilisation: float


def run(folder: Path, trials: int, slots: int, *, profile: bool = False) -> tuple[Timing, Any]:
    runner = SimulatedBackendJaxRunner(
        TASK,
        max_concurrency=slots,
        runtime=dist.LogNormal(np.log(40 * HOUR), 0.6),
        failure_rate=0.05,
    )
    store = Store.open(f"sqlite:///{folder / 'campaign.db'}", artifacts=folder)
    campaign = Campaign(
        "simulated",
        runner=runner,
        objective="-rms",
        generation="sobol",
        batch_size=slots,
        store=store,
    )
    profiler = cProfile.Profile() if profile else None
    wall, cpu = time.perf_counter(), time.process_time()
    if profiler is not None:
        profiler.enable()
    campaign.run(trials=trials, progress=False)
    if profiler is not None:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
        pstats.Stats(profiler).sort_stats("cumtime").print_stats(70)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    frame: Any = runner.timeline(campaign.experiment)
    clock = runner.clock(campaign.experiment)
    busy = (frame["ended"] - frame["started"]).sum()
    began = [t.time_created for t in campaign.experiment.trials.values()]
    timing = Timing(
        trials,
        wall,
        cpu,
        (began[-1] - began[-101]).total_seconds() if trials > 100 else wall,
        clock / (24 * HOUR),
        int((frame["status"] == "FAILED").sum()),
        float(busy / (slots * clock)),
    )
    history = json.dumps([frame.to_dict(orient="list"), campaign.to_frame().to_dict(orient="list")])
    store.close()
    return timing, history


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    console = Console()
    table = Table("trials", "wall s", "CPU s", "ms/trial", "last 100", "simulated days", "busy")
    with tempfile.TemporaryDirectory() as temporary:

        def measure(name: str, trials: int) -> tuple[Timing, Any]:
            folder = Path(temporary) / name
            folder.mkdir()
            return run(folder, trials, arguments.slots)

        measure("warm", 2 * arguments.slots)
        if arguments.profile:
            (folder := Path(temporary) / "profile").mkdir()
            run(folder, arguments.trials, arguments.slots, profile=True)
            return 0
        timings, histories = [], {}
        for name, trials in (("a", arguments.trials), ("b", arguments.trials)):
            timing, histories[name] = measure(name, trials)
            timings.append(timing)
        for trials in (500, 2000):
            timings.append(measure(str(trials), trials)[0])
    for t in timings:
        table.add_row(
            str(t.trials),
            f"{t.wall:.1f}",
            f"{t.cpu:.1f}",
            f"{1000 * t.wall / t.trials:.1f}",
            f"{10 * t.last_block:.1f}",
            f"{t.days:.1f}",
            f"{t.utilisation:.0%}",
        )
    console.print(table)
    small, large = timings[-2:]
    growth = (large.wall / large.trials) / (small.wall / small.trials)
    same = histories["a"] == histories["b"]
    console.print(f"load average {os.getloadavg()[0]:.1f}")
    verdict = "reached" if timings[0].wall <= 60 else "MISSED"
    console.print(f"{arguments.trials} trials: {timings[0].wall:.1f} s (target 60, {verdict})")
    verdict = "reached" if growth < 1.5 else "MISSED"
    console.print(f"time per trial, 2,000 / 500: {growth:.2f} (target 1.5, {verdict})")
    console.print(f"same history twice: {'yes' if same else 'NO'}")
    if arguments.json:
        result = {"timings": [asdict(t) for t in timings], "growth": growth, "same": same}
        arguments.json.write_text(json.dumps(result, indent=2))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
