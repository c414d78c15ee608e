"""Speed of posterior estimators: beside the sbi package, between trials, and of every call.

Two moons, 10,000 simulations, 9,000 to train on and 1,000 to validate on, batches of 200; see
`posterior_peers` for how losses are compared. Every part runs in fresh processes without a cache of
compiled programs. XLA and torch have one thread there, but for arms together, which have all cores.
Seconds are the least of several turns of both sides; on a shared machine those of the processor say
more than those on the wall. Without a choice of parts all are measured; those beside sbi need
``pip install 'ax-jax-runners[bench]'``.

    python tests/benchmarks/posterior.py [--epochs] [--fit] [--asking] [--trials] [--together]
        [--checklist] [--quick] [--json figures.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posterior_peers.checklist import checklist
from posterior_peers.comparing import asking, epochs
from posterior_peers.goals import Row
from posterior_peers.measuring import Taken, alone
from posterior_peers.own import whole_fit
from posterior_peers.sharing import together, trials
from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=132, highlight=False)
#: Of this package's whole fit.
RATE, EPOCHS = 3e-3, 60
BESIDE_SBI = ("epochs", "fit", "asking")


def fit(quick: bool) -> list[Row]:
    """Measure whole fits, this package's before and after that of sbi."""
    from posterior_peers.sbi_side import sbi_fit

    last_epoch = 5 if quick else None
    before = alone(whole_fit, RATE, EPOCHS)
    peer = alone(sbi_fit, last_epoch)
    after = alone(whole_fit, RATE, EPOCHS)
    runs = (before, after)
    reached = [next((at for at in run["curve"] if at[2] <= peer["loss"]), None) for run in runs]
    CONSOLE.print(
        f"sbi: {peer['parameters']:,} weights, {peer['epochs']} epochs"
        f"{' (cut off)' if quick else ', stopped by itself'}, kept number {peer['best_epoch']}: "
        f"{peer['loss']:.3f} nat, by its own account {peer['own_loss']:.3f}. This package: "
        f"{min(loss for _, _, loss in before['curve']):.3f} nat after {EPOCHS} epochs at most."
    )
    other = Taken(peer["cpu"], peer["wall"])
    own = None
    if None not in reached:
        own = Taken(min(at[0] for at in reached if at), min(at[1] for at in reached if at))
    whole = Taken(min(run["cpu"] for run in runs), min(run["wall"] for run in runs))
    return [
        Row(f"fit to {peer['loss']:.3f} nat, compiling included", other, own, 5.0, note="never"),
        Row(f"fit with all {EPOCHS} epochs of its schedule", other, whole),
    ]


def beside(part: Callable[[bool], list[Row]], *, one_thread: bool = True) -> Any:
    """Return a part that runs in a process of its own."""
    return lambda quick: alone(part, quick, one_thread=one_thread)


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "epochs": beside(epochs),
    "fit": fit,
    "asking": beside(asking),
    "trials": beside(trials),
    "together": beside(together, one_thread=False),
    "checklist": beside(checklist),
}


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in PARTS:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few repeats; sbi is cut off")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    chosen = [name for name in PARTS if getattr(options, name)] or list(PARTS)
    if find_spec("sbi") is None:
        left_out = [name for name in chosen if name in BESIDE_SBI]
        chosen = [name for name in chosen if name not in BESIDE_SBI]
        if left_out:
            CONSOLE.print(f"sbi is not installed; left out: {', '.join(left_out)}.")
    CONSOLE.print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        f"{', quick' if options.quick else ''}"
    )
    rows: dict[str, list[Row]] = {}
    for name in chosen:
        rows[name] = PARTS[name](options.quick)
        CONSOLE.print(f"{name}: done, load {os.getloadavg()[0]:.1f}")
    table = Table(
        title="Posterior estimators on two moons: CPU seconds, and wall seconds in brackets"
    )
    table.add_column("what")
    for name in ("other", "this package", "ratio, CPU", "wall", "goal", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for found in rows.values():
        for row in found:
            table.add_row(*row.cells)
        table.add_section()
    CONSOLE.print(table)
    if options.json:
        figures = {name: [row.figures for row in found] for name, found in rows.items()}
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
