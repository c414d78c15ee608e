"""Speed of the feature evaluator against plain ``jit(vmap)`` of the same function.

Both sides run interleaved in one process; times are process CPU seconds, medians of several
repeats. Every target is printed with what was reached.

    python tests/benchmarks/features.py [--repeats 7] [--json figures.json] [--paramrf]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ax_jax_runners.evaluation import FeatureEvaluator
from ax_jax_runners.parameters import Parameter, ParameterSpace

POINTS = 201
C = 299792458.0
Z0 = 50.0
SIZES = (1, 64, 4096)


def _scattering(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> dict[str, jax.Array]:
    """Turn the ABCD parameters of a reciprocal two-port into S11 and S21."""
    total = a + b / Z0 + c * Z0 + d
    return {"s11": (a + b / Z0 - c * Z0 - d) / total, "s21": 2 / total}


def rlc_ladder(values: dict[str, Any]) -> dict[str, jax.Array]:
    """S11 and S21 of three series R-L, shunt C sections, a cascade of ABCD matrices."""
    w = 2 * jnp.pi * jnp.linspace(1e7, 1e9, POINTS)
    one, zero = jnp.ones(POINTS, dtype=complex), jnp.zeros(POINTS, dtype=complex)
    a, b, c, d = one, zero, zero, one
    for i in range(3):
        z = values[f"r{i}"] + 1j * w * values[f"l{i}"] * 1e-9
        y = 1j * w * values[f"c{i}"] * 1e-12
        b, d = a * z + b, c * z + d
        a, c = a + b * y, c + d * y
    return _scattering(a, b, c, d)


def ladder_in_reals(values: dict[str, Any]) -> dict[str, jax.Array]:
    """Reflection of the ladder into 50 ohm in pairs of reals: as cheap as a model can be made."""
    w = 2 * jnp.pi * jnp.linspace(1e7, 1e9, POINTS)
    r, x = jnp.full(POINTS, Z0), jnp.zeros(POINTS)
    for i in range(3):
        size = r * r + x * x
        g, b = r / size, -x / size + w * values[f"c{i}"] * 1e-12
        size = g * g + b * b
        r, x = g / size + values[f"r{i}"], -b / size + w * values[f"l{i}"] * 1e-9
    size = (r + Z0) ** 2 + x * x
    return {"re": ((r - Z0) * (r + Z0) + x * x) / size, "im": 2 * Z0 * x / size}


def lossy_line(values: dict[str, Any]) -> dict[str, jax.Array]:
    """S11 and S21 of a lossy line between shunt capacitances, complex arithmetic."""
    f = jnp.linspace(1e7, 1e10, POINTS)
    w = 2 * jnp.pi * f
    er, zn = values["er"], values["zn"]
    alpha_c = values["a"] * jnp.sqrt(f / 1e9) * jnp.log(10.0) / 20
    alpha_d = jnp.pi * f * jnp.sqrt(er) * values["tand"] / C
    series = 2 * zn * alpha_c + 1j * w * zn * jnp.sqrt(er) / C
    shunt = 2 * alpha_d / zn + 1j * w * jnp.sqrt(er) / (zn * C)
    gamma, zc = jnp.sqrt(series * shunt), jnp.sqrt(series / shunt)
    gl = gamma * values["length"]
    a, b, c = jnp.cosh(gl), zc * jnp.sinh(gl), jnp.sinh(gl) / zc
    y1, y2 = 1j * w * values["c1"] * 1e-12, 1j * w * values["c2"] * 1e-12
    a, b, c, d = a + b * y2, b, y1 * a + c + (y1 * b + a) * y2, y1 * b + a
    return _scattering(a, b, c, d)


def _ranges(**bounds: tuple[float, float]) -> ParameterSpace:
    return ParameterSpace([Parameter(n, lower=a, upper=b) for n, (a, b) in bounds.items()])


LADDER = _ranges(
    **{f"r{i}": (0.1, 5.0) for i in range(3)},
    **{f"l{i}": (1.0, 20.0) for i in range(3)},
    **{f"c{i}": (0.5, 10.0) for i in range(3)},
)
LINE = _ranges(
    zn=(40, 60), length=(0.01, 0.2), er=(1, 4), a=(0.1, 2), tand=(1e-4, 1e-2), c1=(0, 1), c2=(0, 1)
)


def plain_program(evaluator: FeatureEvaluator) -> Callable[[np.ndarray], Any]:
    """Return jit(vmap) of the evaluator's function, its results fetched as numpy arrays."""
    program = jax.jit(jax.vmap(lambda row: evaluator.fn(evaluator.space.traced(row))))

    def call(theta: np.ndarray) -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, program(theta))

    return call


def interleaved(
    sides: dict[str, Callable[[], Any]], *, repeats: int, seconds: float = 0.15
) -> dict[str, float]:
    """Return the median CPU seconds of one call of each side, measured in turns."""
    counts = {}
    for name, call in sides.items():
        call()
        start = time.process_time()
        call()
        counts[name] = max(1, int(seconds / max(1e-6, time.process_time() - start)))
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, call in sides.items():
            start = time.process_time()
            for _ in range(counts[name]):
                call()
            taken[name].append((time.process_time() - start) / counts[name])
    return {name: statistics.median(values) for name, values in taken.items()}


def throughput(
    name: str, fn: Callable[..., Any], space: ParameterSpace, *, repeats: int
) -> list[dict[str, Any]]:
    """Measure both programs and plain jit(vmap) at every batch size."""
    one = FeatureEvaluator(fn, space)
    buckets = FeatureEvaluator(fn, space, reproducible=False)
    plain = plain_program(one)
    theta = one.icdf(np.random.default_rng(0).random((max(SIZES), space.dimension)))
    rows = []
    for size in (1, 8, 64, 512, 4096):
        batch = theta[:size]
        seconds = interleaved(
            {
                "plain": lambda batch=batch: plain(batch),
                "reproducible": lambda batch=batch: one.model_features(batch),
                "buckets": lambda batch=batch: buckets.model_features(batch),
            },
            repeats=repeats,
        )
        rows.append({"model": name, "batch": size, **{k: size / v for k, v in seconds.items()}})
    return rows


def stream(fn: Callable[..., Any], space: ParameterSpace, *, calls: int) -> dict[str, float]:
    """Time a stream of random batch sizes 1 to 64 from a cold start, compiling included."""
    random = np.random.default_rng(1)
    sizes = random.integers(1, 65, size=calls)
    theta = FeatureEvaluator(None, space).icdf(random.random((64, space.dimension)))
    seconds = {}
    for name in ("reproducible", "buckets", "plain"):
        jax.clear_caches()
        evaluator = FeatureEvaluator(fn, space, reproducible=name == "reproducible")
        call = plain_program(evaluator) if name == "plain" else evaluator.model_features
        start = time.process_time()
        for size in sizes:
            call(theta[:size])
        seconds[name] = time.process_time() - start
    return seconds


def paramrf_ratio(*, repeats: int) -> list[dict[str, Any]]:
    """Compare the buckets with plain jit(vmap) on a ParamRF model, and their values."""
    import pmrf as prf
    from pmrf.objectives import Feature

    from ax_jax_runners.evaluation import from_paramrf

    resistor = prf.models.Resistor(prf.Bounded(1.0, 100.0, value=20.0, name="r"))
    inductor = prf.models.Inductor(prf.Bounded(1.0, 10.0, value=2.0, scale=1e-9, name="l"))
    capacitor = prf.models.Capacitor(prf.Bounded(0.1, 10.0, value=2.0, scale=1e-12, name="c"))
    model = resistor**inductor**capacitor
    frequency = prf.Frequency(1.0, 1000.0, POINTS, "MHz")
    aliases = ["s11", "s21"]
    evaluator = from_paramrf(model, frequency=frequency, features=aliases, reproducible=False)
    names = evaluator.space.names

    def simulate(row: jax.Array) -> dict[str, jax.Array]:
        values = dict(zip(names, row, strict=True))
        trial = prf.unwrap(prf.update(model, values, on_invalid="nan"))
        return {alias: Feature(alias)(trial, frequency) for alias in aliases}

    program = jax.jit(jax.vmap(simulate))
    theta = evaluator.icdf(np.random.default_rng(0).random((64, len(names))))
    found = []
    # At 512 rows the plain program can hang: see _SOLVERS in ax_jax_runners/evaluation/programs.py.
    for size in (1, 8, 64):
        batch = theta[:size]

        def plain(batch: np.ndarray = batch) -> Any:
            with jax.enable_x64(True):
                return jax.tree.map(np.asarray, program(batch))

        seconds = interleaved(
            {"plain": plain, "ours": lambda batch=batch: evaluator.model_features(batch)},
            repeats=repeats,
        )
        ours, theirs = evaluator.model_features(batch), plain()
        error = max(
            float(np.max(np.abs(a - b) / np.abs(b)))
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
        )
        found.append({"batch": size, "ratio": seconds["plain"] / seconds["ours"], "error": error})
    return found


def table(header: list[str], rows: list[list[Any]]) -> None:
    """Print rows as an aligned plain table."""
    cells = [header, *[[f"{x:,.3g}" if isinstance(x, float) else str(x) for x in r] for r in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print()


def judge(
    figures: list[dict[str, Any]], streams: dict[str, Any], pmrf: list[dict[str, Any]]
) -> list[list[Any]]:
    """Compare the figures with the targets."""
    verdicts: list[tuple[str, float, float, bool]] = []
    for model in streams:
        by_size = {row["batch"]: row for row in figures if row["model"] == model}
        for size in (64, 4096):
            row = by_size[size]
            best = max(other["plain"] for other in by_size.values())
            verdicts.append(
                (
                    f"{model}: reproducible / plain at {size}",
                    row["reproducible"] / row["plain"],
                    0.7,
                    True,
                )
            )
            verdicts.append(
                (
                    f"{model}: reproducible at {size} / plain at its best size",
                    row["reproducible"] / best,
                    0.7,
                    True,
                )
            )
        for program in ("reproducible", "buckets"):
            rates = {size: row[program] for size, row in by_size.items()}
            verdicts.append(
                (
                    f"{model}: {program} at 4096 / its best size",
                    rates[4096] / max(rates.values()),
                    0.9,
                    True,
                )
            )
        for program in ("reproducible", "buckets"):
            ratio = streams[model]["plain"] / streams[model][program]
            verdicts.append((f"{model}: stream, {program} faster than plain", ratio, 10.0, True))
    for row in pmrf:
        verdicts.append((f"ParamRF: ours / plain at {row['batch']}", row["ratio"], 0.95, True))
        verdicts.append((f"ParamRF: relative error at {row['batch']}", row["error"], 1e-12, False))
    return [
        [
            what,
            value,
            f"{'>=' if above else '<='} {target:g}",
            "reached" if (value >= target if above else value <= target) else "missed",
        ]
        for what, value, target, above in verdicts
    ]


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--calls", type=int, default=200, help="calls of the stream")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--paramrf", action="store_true", help="compare with a ParamRF model too")
    options = parser.parse_args()
    models = {
        "rlc ladder": (rlc_ladder, LADDER),
        "ladder, reals": (ladder_in_reals, LADDER),
        "lossy line": (lossy_line, LINE),
    }
    figures, streams = [], {}
    for name, (fn, space) in models.items():
        figures += throughput(name, fn, space, repeats=options.repeats)
    print(f"Evaluations per CPU second, {POINTS} points, float64, {platform.machine()}")
    header = ["model", "batch", "plain", "reproducible", "buckets"]
    table(header, [[row[key] for key in header] for row in figures])
    for name, (fn, space) in models.items():
        streams[name] = stream(fn, space, calls=options.calls)
    print(f"CPU seconds of {options.calls} calls of 1 to 64 rows, compiling included")
    table(["model", *streams["rlc ladder"]], [[k, *v.values()] for k, v in streams.items()])
    pmrf = paramrf_ratio(repeats=options.repeats) if options.paramrf else []
    verdicts = judge(figures, streams, pmrf)
    table(["target", "found", "wanted", ""], verdicts)
    if options.json:
        content = {"throughput": figures, "stream": streams, "paramrf": pmrf, "targets": verdicts}
        options.json.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
