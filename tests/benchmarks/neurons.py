"""Evaluations per CPU second of the neurons, vectorised and one at a time.

Width 1 is the plain compiled program of one row, without chunks or padding; its block of steps is
shortened to what suits it best. The other widths go through the evaluator. Times are process CPU
seconds, the least of several repeats.

    python tests/benchmarks/neurons.py [--repeats 3] [--json figures.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ax_jax_runners.problems.neurons import FitzHughNagumo, HodgkinHuxley, Izhikevich
from ax_jax_runners.problems.neurons import fitzhugh_nagumo as fitzhugh
from ax_jax_runners.problems.neurons import hodgkin_huxley as hodgkin

WIDTHS = (64, 256, 1024)
LARGEST_CHUNK = 256
NEURONS = {
    "hodgkin-huxley": (HodgkinHuxley(), hodgkin),
    "izhikevich": (Izhikevich(), None),
    "fitzhugh-nagumo": (FitzHughNagumo(), fitzhugh),
}
TARGET = 4.0


def least_seconds(call: Callable[[], Any], *, repeats: int) -> float:
    """Return the least CPU seconds of one call, after one that compiles."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def single_rate(neuron: Any, module: Any, dtype: str, *, repeats: int) -> dict[str, float]:
    """Return evaluations per CPU second of one row, by the block of steps it was compiled with."""
    evaluator = neuron.evaluator(dtype)
    row = evaluator.icdf(np.full(neuron.space.dimension, 0.5))
    usual = None if module is None else module.BLOCK
    rates = {}
    for block in (None,) if usual is None else (1, 2, usual):
        if module is not None:
            module.BLOCK = block
        try:
            with jax.enable_x64(dtype == "float64"):
                program = jax.jit(lambda theta: evaluator.row_features(theta))
                seconds = least_seconds(
                    lambda program=program: jax.block_until_ready(program(row)), repeats=repeats
                )
        finally:
            if module is not None:
                module.BLOCK = usual
        rates[f"block {block}"] = 1.0 / seconds
    return rates


def batch_rate(neuron: Any, width: int, dtype: str, *, repeats: int) -> float:
    """Return evaluations per CPU second of a batch."""
    evaluator = neuron.evaluator(dtype, chunk=min(width, LARGEST_CHUNK))
    theta = evaluator.icdf(np.random.default_rng(0).random((width, neuron.space.dimension)))
    return width / least_seconds(lambda: evaluator.model_features(theta), repeats=repeats)


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures = []
    print(f"Evaluations per CPU second, {platform.machine()}, JAX {jax.__version__}")
    print(
        f"{'neuron':>16} {'dtype':>8} {'1':>9}" + "".join(f"{w:>9}" for w in WIDTHS) + "  256 / 1"
    )
    for name, (neuron, module) in NEURONS.items():
        for dtype in ("float32", "float64"):
            singles = single_rate(neuron, module, dtype, repeats=options.repeats)
            single = max(singles.values())
            rates = {w: batch_rate(neuron, w, dtype, repeats=options.repeats) for w in WIDTHS}
            ratio = rates[256] / single
            cells = "".join(f"{rates[w]:9,.0f}" for w in WIDTHS)
            print(f"{name:>16} {dtype:>8} {single:9,.0f}{cells} {ratio:8.1f}", flush=True)
            figures.append(
                {"neuron": name, "dtype": dtype, "single": singles, "batch": rates, "ratio": ratio}
            )
    reached = min(row["ratio"] for row in figures if row["neuron"] == "hodgkin-huxley")
    verdict = "reached" if reached >= TARGET else "missed"
    print(f"Hodgkin-Huxley, 256 against 1: {reached:.1f}, wanted >= {TARGET:g}: {verdict}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
