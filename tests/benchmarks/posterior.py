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
from posterior_peers.own import LEAKING, TIGHT, whole_fit
from posterior_peers.sharing import together, trials
from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=132, highlight=False)
#: This package's whole fits: the flow, the space of the parameters, and the epochs.
FITS = {
    "standardised as in sbi": (LEAKING, "physical", 60),
    "in logits, no leak": (TIGHT, "unconstrained", 80),
}
BESIDE_SBI = ("epochs", "fit", "asking")


def fit(quick: bool) -> list[Row]:
    """Measure whole fits, each of this package's before and after that of sbi."""
    from posterior_peers.sbi_side import sbi_fit

    last_epoch = 5 if quick else None
    runs = {name: [alone(whole_fit, *given)] for name, given in FITS.items()}
    peer = alone(sbi_fit, last_epoch)
    for name, given in FITS.items():
        runs[name].append(alone(whole_fit, *given))
    CONSOLE.print(
        f"sbi: {peer['parameters']:,} weights, {peer['epochs']} epochs"
        f"{' (cut off)' if quick else ', stopped by itself'}, kept number {peer['best_epoch']}: "
        f"{peer['loss']:.3f} nat, by its own account {peer['own_loss']:.3f}."
    )
    other = Taken(peer["cpu"], peer["wall"])
    rows = []
    for name, both in runs.items():
        losses = [loss for _, _, loss in both[0]["curve"]]
        there = next((at for at, loss in enumerate(losses) if loss <= peer["loss"]), None)
        CONSOLE.print(
            f"this package, {name}: {both[0]['parameters']:,} weights, {min(losses):.3f} nat after "
            f"{len(losses)} epochs, sbi's " + ("never." if there is None else f"after {there + 1}.")
        )
        own = None
        if there is not None:
            points = [run["curve"][there] for run in both]
            own = Taken(min(at[0] for at in points), min(at[1] for at in points))
        whole = Taken(min(run["cpu"] for run in both), min(run["wall"] for run in both))
        what = f"fit to {peer['loss']:.3f} nat, compiling included, {name}"
        rows.append(Row(what, other, own, 5.0, note="never"))
        rows.append(Row(f"all {len(losses)} epochs of its schedule", other, whole))
    return rows


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
