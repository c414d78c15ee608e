"""Speed and mixing of random walks: against other ways to walk, other kernels, and on a neuron.

Times are process CPU seconds, the least of several repeats in which all that is compared takes
turns. Without a choice of parts all three are measured.

    python tests/benchmarks/random_walk.py [--speed] [--evaluations] [--neuron] [--repeats 5]
        [--json figures.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from neurons import single_rate
from rich.console import Console
from rich.table import Table
from walk_peers import RADIUS, Floor, numpy_walk, series_walk

from ax_jax_runners.exploration import RandomWalk
from ax_jax_runners.exploration.diagnostics import ess_from_jumps
from ax_jax_runners.problems.neurons import HodgkinHuxley, hodgkin_huxley
from ax_jax_runners.problems.regions import Ball

DIMENSIONS = (10, 40)
DTYPES = ("float32", "float64")
#: Iterations of one timed run, by particles.
ITERATIONS = {1: 100_000, 64: 8_000, 1024: 500}
SERIES_ITERATIONS = 1_000
STEP = 0.1
LARGEST_CHUNK = 256
#: Least ratios to the three peers at 1024 particles, by dimension.
GOALS = {10: (500.0, 0.8, 0.5), 40: (700.0, 1.2, 0.9)}
AIM_OF_NUMPY = 1.2
EVALUATIONS = 100_000
ESS_GOAL = 1_500.0
NEURON_GOAL = 4.0
KERNELS: dict[str, dict[str, Any]] = {
    "reflect, default settings": {},
    "self_loop": {"kernel": "self_loop"},
    "self_loop, shape learned": {"kernel": "self_loop", "adapt": True},
    "hit_and_run": {"kernel": "hit_and_run"},
    "redraw, steps 0 to 0.02": {"kernel": "redraw", "max_step_size": 0.02},
}
CONSOLE = Console(width=110, highlight=False)


def take_turns(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least CPU seconds of each call; the first round compiles and does not count."""
    least = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            taken = time.process_time() - start
            if turn:
                least[name] = min(least[name], taken)
    return least


def verdict(reached: float, goal: float) -> str:
    """Say whether a goal is reached."""
    return "reached" if reached >= goal else "MISSED"


# ---------------------------------------------------------------------- speed


def speed(repeats: int) -> list[dict[str, Any]]:
    """Measure particle-iterations per CPU second; print them and their ratios."""
    table = Table(title="Thousand particle-iterations per CPU second, trivial evaluator")
    for name in ("d", "particles", "dtype", "chunk"):
        table.add_column(name, justify="right")
    for name in ("walk", "(a) Series", "(b) NumPy", "(c) draws", "/ (a)", "/ (b)", "/ (c)"):
        table.add_column(name, justify="right", no_wrap=True)
    figures = []
    for dimension in DIMENSIONS:
        for particles, iterations in ITERATIONS.items():
            row = _rates(dimension, particles, iterations, repeats)
            for dtype in DTYPES:
                found = row[dtype]
                found |= {"d": dimension, "particles": particles, "dtype": dtype}
                figures.append(found)
                rates = (found["walk"], found["a"], found["b"], found["c"])
                table.add_row(
                    str(dimension),
                    str(particles),
                    dtype,
                    str(min(LARGEST_CHUNK, particles)),
                    *(f"{rate / 1e3:,.{1 if rate < 1e4 else 0}f}" for rate in rates),
                    f"{rates[0] / rates[1]:,.0f}",
                    f"{rates[0] / rates[2]:.2f}",
                    f"{rates[0] / rates[3]:.0%}",
                )
    CONSOLE.print(table)
    CONSOLE.print(
        "(a) a Python loop, one pandas Series per iteration, one particle; (b) vectorised NumPy of "
        "the same dtype; (c) only drawing d + 1 numbers per iteration with jax.random."
    )
    _judge(figures)
    return figures


def _rates(
    dimension: int, particles: int, iterations: int, repeats: int
) -> dict[str, dict[str, Any]]:
    """Return rates by dtype, all measured in turns."""
    ball = Ball(dimension, RADIUS)
    seed_point = np.full((1, dimension), 0.5)
    work: dict[str, int] = {"a": SERIES_ITERATIONS}
    calls: dict[str, Callable[[], Any]] = {
        "a": lambda: series_walk(dimension, SERIES_ITERATIONS, STEP)
    }
    for dtype in DTYPES:
        walk = RandomWalk(
            ball.evaluator(dtype, chunk=min(LARGEST_CHUNK, particles)),
            ball.constraints,
            kernel="self_loop",
            n_iterations=iterations,
            max_step_size=STEP,
        )
        floor = Floor(dimension, particles, dtype)
        drawn = -(-iterations // floor.ticks) * floor.ticks
        # A loop over single points is no faster with more of them.
        slow = iterations if particles > 1 else iterations // 5
        calls |= {
            f"walk {dtype}": lambda walk=walk: walk.run(
                seed_point, particles=particles, progress=False
            ),
            f"b {dtype}": lambda dtype=dtype, slow=slow: numpy_walk(
                dimension, particles, slow, STEP, dtype
            ),
            f"c {dtype}": lambda floor=floor, drawn=drawn: floor(drawn),
        }
        work |= {
            f"walk {dtype}": iterations * particles,
            f"b {dtype}": slow * particles,
            f"c {dtype}": drawn * particles,
        }
    seconds = take_turns(calls, repeats)
    rates = {name: work[name] / seconds[name] for name in calls}
    return {
        dtype: {"a": rates["a"], **{n: rates[f"{n} {dtype}"] for n in ("walk", "b", "c")}}
        for dtype in DTYPES
    }


def _judge(figures: list[dict[str, Any]]) -> None:
    for row in figures:
        if row["particles"] != max(ITERATIONS):
            continue
        goals = GOALS[row["d"]]
        ratios = [row["walk"] / row[peer] for peer in "abc"]
        parts = [
            f"({peer}) {ratio:,.2f} of {goal:g} {verdict(ratio, goal)}"
            for peer, ratio, goal in zip("abc", ratios, goals, strict=True)
        ]
        aim = f"; aim {AIM_OF_NUMPY:g} of (b) {verdict(ratios[1], AIM_OF_NUMPY)}"
        CONSOLE.print(
            f"d = {row['d']}, {row['particles']} particles, {row['dtype']}: "
            + ", ".join(parts)
            + (aim if goals[1] < AIM_OF_NUMPY else "")
        )


# ---------------------------------------------------------------------- mixing


def evaluations(repeats: int) -> list[dict[str, Any]]:
    """Measure effective draws per 1e5 evaluations, warm-up included; print them."""
    table = Table(title="Effective draws per 1e5 evaluations, ball r = 0.3, d = 10, 64 particles")
    for name in ("kernel", "smallest bulk ESS", "+-", "by squared jumps", "acceptance", "R-hat"):
        table.add_column(name, justify="left" if name == "kernel" else "right")
    figures = []
    for name, options in KERNELS.items():
        runs = [_mixing(options, seed) for seed in range(repeats)]
        mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        error = float(np.std([run["bulk"] for run in runs], ddof=1)) if repeats > 1 else np.nan
        mixes = mean["rhat"] < 1.1
        figures.append({"kernel": name, **mean, "deviation": error, "mixes": mixes})
        table.add_row(
            name,
            f"{mean['bulk']:,.0f}" if mixes else f"({mean['bulk']:,.0f})",
            f"{error:,.0f}",
            f"{mean['jumps']:,.0f}",
            f"{mean['acceptance']:.2f}",
            f"{mean['rhat']:.3f}",
        )
    CONSOLE.print(table)
    CONSOLE.print(
        f"Means and standard deviations of {repeats} walks of {EVALUATIONS:,} evaluations. In "
        "brackets: particles that do not mix; only the estimate by jumps counts there."
    )
    best = figures[0]["bulk"]
    CONSOLE.print(
        f"Default settings: {best:,.0f} of {ESS_GOAL:,.0f} {verdict(best, ESS_GOAL)}; "
        f"{best / figures[-1]['jumps']:.0f} times the old law."
    )
    return figures


def _mixing(options: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Return what one walk of all evaluations finds."""
    ball, particles = Ball(10, RADIUS), 64
    begun = ball.sample(seed, particles)

    def walked(iterations: int) -> Any:
        walk = RandomWalk(
            ball.evaluator("float32", chunk=particles),
            ball.constraints,
            n_iterations=iterations,
            seed=seed,
            **options,
        )
        return walk.run(begun, progress=False)

    # Kernels differ in evaluations per iteration.
    trial = walked(EVALUATIONS // (4 * particles))
    spent = trial.walk.warm_up_iterations
    each = trial.evaluations / (particles * (spent + trial.walk.n_iterations))
    result = walked(round(EVALUATIONS / (particles * each)) - spent)
    found = result.diagnostics()
    scale = EVALUATIONS / result.evaluations
    return {
        "bulk": float(found.bulk_ess.min()) * scale,
        "jumps": float(ess_from_jumps(result.unit_states)[0].min()) * scale,
        "acceptance": found.acceptance[0],
        "rhat": float(found.split_rhat.max()),
    }


# ---------------------------------------------------------------------- neuron


def neuron(repeats: int) -> list[dict[str, Any]]:
    """Measure evaluations per CPU second of walks on a neuron against one row at a time."""
    model, particles, iterations = HodgkinHuxley(), 256, 8
    table = Table(title=f"Hodgkin-Huxley neuron, {particles} particles, evaluations per CPU second")
    for name in ("dtype", "walk", "one row", "ratio", "goal"):
        table.add_column(name, justify="right")
    figures = []
    for dtype in DTYPES:
        walk = RandomWalk(
            model.evaluator(dtype, chunk=particles),
            model.constraints,
            n_iterations=iterations,
            max_step_size=0.05,
        )

        def run(walk: RandomWalk = walk) -> Any:
            return walk.run([model.seed_point], particles=particles, progress=False)

        count = run().evaluations + particles
        rate, single = 0.0, 0.0
        for _ in range(repeats):
            rate = max(rate, count / take_turns({"walk": run}, 1)["walk"])
            singles = single_rate(model, hodgkin_huxley, dtype, repeats=2)
            single = max(single, *singles.values())
        ratio = rate / single
        figures.append({"dtype": dtype, "walk": rate, "single": single, "ratio": ratio})
        reached = verdict(ratio, NEURON_GOAL)
        table.add_row(
            dtype, f"{rate:,.0f}", f"{single:,.0f}", f"{ratio:.1f}", f"{NEURON_GOAL:g} {reached}"
        )
    CONSOLE.print(table)
    return figures


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = {"speed": speed, "evaluations": evaluations, "neuron": neuron}
    for name in parts:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    CONSOLE.print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"JAX {jax.__version__}, NumPy {np.__version__}"
    )
    chosen = [name for name in parts if getattr(options, name)] or list(parts)
    figures = {name: parts[name](options.repeats) for name in chosen}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
